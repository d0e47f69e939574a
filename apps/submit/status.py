"""The progress of a run, read from its files, as values and as lines for people.

The scheduler is only asked which tasks wait. Without its answer the rest is the same.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core import MissingInputError, converted, counted
from ...core.runs import RunEntry
from .plan import MERGE, STAGES, Folder, JobStage, Unit, read_plans, typed
from .scheduler import NOT_ASKED
from .submission import ENDS, Queued, ask

_CODES = {
    "running": 3,
    "queued": 3,
    "failed": 1,
    "unknown": 3,
    "interrupted": 1,
    "ready to merge": 3,
    "not started": 4,
    "done": 0,
}
"""The exit code of a state, by what people must know first."""

_WORKING = ("running", "queued")

_FULL_BYTES = 1_000_000
"""Free space below which work that ended without its results probably had too little."""


@dataclass(frozen=True)
class ShardState:
    """A shard of a stage.

    Attributes
    ----------
    shard : str
        ``K/N``; empty for a stage without shards.
    state : str
        not started, queued, running, interrupted, failed or done; unknown if files do not tell, nor Slurm.
    units, done : int
    reason : str
        The scheduler's reason; the error, or the signal, that ended it.
    """

    shard: str
    state: str
    units: int
    done: int
    reason: str = ""


@dataclass(frozen=True)
class Stage:
    """One command's work in a run.

    Attributes
    ----------
    command : str
    state : str
        State as of a shard; or ready to merge, if all units are done but not merged.
    unit : str
        Name of the units.
    units, done : int
        Numbers of units that are not merged: all, and done.
    folders : tuple of (str, bool)
        Feature files, or cross-validation schemes; and whether each is merged.
    shards : tuple of ShardState
    reason : str
        As of a shard, of the job that does or merges all of it.
    output : str
        Name of the folder or table that it makes.
    """

    command: str
    state: str
    unit: str
    units: int
    done: int
    folders: tuple[tuple[str, bool], ...] = ()
    shards: tuple[ShardState, ...] = ()
    reason: str = ""
    output: str = ""


@dataclass(frozen=True)
class RunStatus:
    """The progress of a run.

    Attributes
    ----------
    run : str
    state : str
        State of the stage in progress; without one, of the first that is stuck, or not done.
    exit_code : int
        0 done, 1 failed or interrupted, 3 in progress, 4 nothing yet.
    stages : tuple of Stage
    failed_images : int
        Rows of ``failures.csv``.
    log : str
        The log to read if something failed; else empty.
    full : bool
        Whether the work stopped and the disk is full.
    then : str
        The command that continues; empty if all is done.
    """

    run: str
    state: str
    exit_code: int
    stages: tuple[Stage, ...]
    failed_images: int
    log: str
    full: bool
    then: str


def read_status(run: Path) -> RunStatus:
    """Read the progress of a run. Nothing is written.

    Raises
    ------
    MissingInputError
        There is no such folder.
    InputError
        ``run.json`` or a list of units is damaged.
    """
    run = converted(run, "run", Path)
    if not run.is_dir():
        kind = "not a" if run.exists() else "no such"
        raise MissingInputError(
            f"{run}: {kind} folder; give that of a run, or of a table of predict"
        )
    asked = list(
        ask(read_plans(run))
    )  # before files are read: a job that ends in between has written all its files
    planned = [(queued.stage.command, queued.stage.run) for queued in asked]
    whole = "reproduce" in dict(planned) or bool(JobStage("reproduce", [], str(run)).records())
    commands = [
        command for command in STAGES if (command == "reproduce") == whole
    ]  # which contains the others
    further = [
        Queued(JobStage(name, [], str(run))) for name in commands if (name, str(run)) not in planned
    ]
    known = [
        (queued, stage) for queued in (*further, *asked) if (stage := _stage(queued)) is not None
    ]
    known.sort(key=lambda item: (*STAGES, item[1].command).index(item[1].command))
    stages = tuple(stage for _, stage in known)
    state = min((stage.state for stage in stages), key=[*_CODES].index, default="not started")
    read = (
        queued
        for queued, stage in known
        if stage.state == "failed" or stage.reason.startswith(ENDS)
    )
    failed, failures = next(read, None), run / "failures.csv"
    return RunStatus(
        run=str(run),
        state=state,
        exit_code=_CODES[state],
        stages=stages,
        failed_images=failures.read_bytes().count(b"\n") - 1 if failures.is_file() else 0,
        log="" if failed is None else str(failed.log or run / "run.json"),
        full=_CODES[state] == 1 and shutil.disk_usage(run).free < _FULL_BYTES,
        then=_then(run, state, known),
    )


def _then(run: Path, state: str, known: Sequence[tuple[Queued, Stage]]) -> str:
    if state in (*_WORKING, "unknown"):
        return f"bchisto status {'./' * str(run).startswith('-')}{shlex.quote(str(run))} --watch"
    lacking = next((queued for queued, stage in known if stage.state != "done"), None)
    if lacking is None:
        return ""
    if (plan := lacking.plan) is not None:
        return (
            plan.line
            if plan.cwd == str(Path.cwd())
            else f"cd {shlex.quote(plan.cwd)} && {plan.line}"
        )
    if not lacking.stage.records():  # it was only checked, so no record has its options
        return ""
    config, out = (shlex.quote(str(path)) for path in (run / "run.json", run))
    return f"bchisto {typed(lacking.stage.command)} --config {config} --out {out}"  # the run may have been moved


def _stage(queued: Queued) -> Stage | None:
    """Return the stage of a command; None if the run has nothing of it."""
    own, folders, entries = queued.stage, queued.stage.folders(), queued.stage.since()
    if queued.plan is None and not folders and not entries:
        return None
    latest = _latest(entries, shards=own.shards if queued.tasks.keys() - {MERGE} else 0)
    shards = [_shard(entry, shard, folders, queued) for shard, entry in latest.items()]
    units = [unit for folder in folders for unit in folder.units]
    merge, reason = queued.tasks.get(MERGE, ("", ""))
    if "" in latest:
        merge, reason = (single := shards.pop()).state, single.reason
    state = _stage_state(own, [*(shard.state for shard in shards), merge], units)
    if state == "done":
        left = 0 if own.command == "featurize" else own.left_out()  # whose list is named below
        reason = (
            f"without {counted(left, 'image')} that cannot be used, see {own.listed}"
            if left
            else ""
        )
    elif queued.answered is False and state != "running":
        state, reason = (
            ("failed", end) if (end := queued.failure(MERGE)) else ("unknown", NOT_ASKED)
        )
    elif (
        queued.over
        and state not in ("running", "failed")
        and not any(entry.outcome == "ok" for entry in entries)
    ):
        state, reason = (
            "failed" if queued.failure() else "interrupted",
            "" if shards else queued.end(),
        )
    return Stage(
        command=own.command,
        state=state,
        unit=next((folder.unit for folder in folders if folder.unit), "units"),
        units=len(units),
        done=sum(unit.done for unit in units),
        folders=tuple((folder.name, folder.complete) for folder in folders),
        shards=tuple(shards),
        reason="" if queued.tasks.keys() - {MERGE} else reason,  # the merge waits for these
        output=Path(own.run).absolute().name,
    )


def _latest(entries: Sequence[RunEntry], *, shards: int) -> dict[str, RunEntry | None]:
    """Return the last record of each shard, in order; of a command that was last run without shards, only that one."""
    if not shards and (not entries or not entries[-1].shard):
        return {"": entries[-1] if entries else None}
    count = shards or int(entries[-1].shard.partition("/")[2])
    last = {entry.shard: entry for entry in entries}
    return {
        shard: last.get(shard) for number in range(1, count + 1) if (shard := f"{number}/{count}")
    }


def _shard(
    entry: RunEntry | None, shard: str, folders: Sequence[Folder], queued: Queued
) -> ShardState:
    index, count = map(int, shard.split("/")) if shard else (1, 1)
    task = str(index) if shard else MERGE
    units = [unit for folder in folders for unit in folder.of_shard(index, count)]
    done = sum(unit.done for unit in units)
    whole = done == len(
        units
    )  # without it, a call that ended well lacks units that were added since
    states = {"running": "running", "error": "failed", "ok": "done" if whole else "interrupted"}
    if task in queued.tasks:
        state, reason = queued.tasks[task]
    elif entry is None:
        state, reason = "done" if units and whole else "not started", ""
    elif entry.status == "not checked" and not queued.answered:
        state, reason = (
            "running",
            f"since {entry.started}, on a machine that is not asked from here",
        )
    else:
        state = states.get(entry.status, "interrupted")
        reason = (
            entry.error if state == "failed" else queued.failure(task) * (state == "interrupted")
        )
    state = "unknown" if queued.answered is False and state not in ("running", "done") else state
    return ShardState(shard, state, len(units), done, reason)


def _stage_state(stage: JobStage, states: Sequence[str], units: Sequence[Unit]) -> str:
    if working := [state for state in _WORKING if state in states]:
        return working[0]
    if stage.is_done():
        return "done"
    if "failed" in states:
        return "failed"
    if units and all(unit.done for unit in units):
        return "ready to merge"
    begun = any(unit.done or unit.epochs for unit in units)
    return "interrupted" if begun or {*states} - {"not started", ""} else "not started"


def status_lines(status: RunStatus) -> list[str]:
    """Return a status as lines for people."""
    lines = [f"{status.run}: {status.state}"]
    commands = [stage.command for stage in status.stages]
    for stage in status.stages:
        name = (
            f"{stage.command} {stage.output}"
            if commands.count(stage.command) > 1
            else stage.command
        )
        parts = [f"{name}: {stage.state}" + (f" ({stage.reason})" if stage.reason else "")]
        if stage.units:
            parts.append(f"{stage.unit} done: {stage.done} of {stage.units}")
        whole = sum(complete for _, complete in stage.folders)
        if stage.folders:
            kind = "feature files" if stage.command == "featurize" else "folders"
            parts.append(f"{kind} complete: {whole} of {len(stage.folders)}")
        lines.append("; ".join(parts))
        lines += [f"  {line}" for line in _shard_lines(stage)]
    if status.failed_images:
        lines.append(
            f"failed images: {status.failed_images}, listed in {Path(status.run) / 'failures.csv'}"
        )
    if status.full:
        lines.append(f"the disk of {status.run} is full; make room first")
    if status.log:
        lines.append(f"read: {status.log}")
    if status.then:
        lines.append(f"next: {status.then}")
    return lines


def _shard_lines(stage: Stage) -> list[str]:
    """Return a line for shards of the same state and reason: a run may have hundreds."""
    alike: dict[tuple[str, str], list[str]] = {}
    for shard in stage.shards:
        alike.setdefault((shard.state, shard.reason), []).append(shard.shard.partition("/")[0])
    count = len(stage.shards)
    return [
        f"{'shard' if len(numbers) == 1 else 'shards'} {_spans(list(map(int, numbers)))} of {count}: {state}"
        + (f" ({reason})" if reason else "")
        for (state, reason), numbers in alike.items()
    ]


def _spans(numbers: Sequence[int]) -> str:
    """Return numbers in order as text.

    Examples
    --------
    >>> _spans([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    begins = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    spans = zip(begins, ends, strict=True)
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in spans)
