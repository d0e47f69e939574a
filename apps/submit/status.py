"""The progress of a run, read from its files, as values and as lines for people.

The scheduler is only asked which tasks wait. Without its answer the rest is the same.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core import MissingInputError, counted
from ...core.runs import RunEntry, read_run
from .plan import MERGE, SINGLE, STAGES, Folder, Plan, Unit, read_folders, read_plans, typed
from .submission import Queued, ask

_WORKING = ("running", "queued")
_STUCK = ("failed", "interrupted")

_ENDS = "its log ends with:"

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
        not started, queued, running, interrupted, failed or done.
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
    """

    command: str
    state: str
    unit: str
    units: int
    done: int
    folders: tuple[tuple[str, bool], ...] = ()
    shards: tuple[ShardState, ...] = ()
    reason: str = ""


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
    if not run.is_dir():
        raise MissingInputError(f"{run}: no such folder")
    plan = next(reversed(read_plans(run)), None)
    queued = ask(plan)  # before the files are read: a job that ends in between has written all its files
    entries = read_run(run) if (run / "run.json").is_file() else []
    whole = "reproduce" in queued or any(entry.command == "reproduce" for entry in entries)
    commands = [command for command in STAGES if (command == "reproduce") == whole]  # which contains the others
    known = [_stage(run, command, entries, queued.get(command, Queued())) for command in commands]
    known += [_single(of) for command, of in queued.items() if command in SINGLE]
    stages = _left_alone([stage for stage in known if stage is not None], queued)
    state = _whole([stage.state for stage in stages])
    read = (stage.command for stage in stages if stage.state == "failed" or stage.reason.startswith(_ENDS))
    failed = next(read, None)
    failures = run / "failures.csv"
    log = (queued[failed].log if failed in queued else None) or run / "run.json"
    return RunStatus(
        run=str(run),
        state=state,
        exit_code=_exit_code(state, queued),
        stages=stages,
        failed_images=failures.read_bytes().count(b"\n") - 1 if failures.is_file() else 0,
        log=str(log) if failed is not None else "",
        full=state in _STUCK and shutil.disk_usage(run).free < _FULL_BYTES,
        then=_then(run, state, stages, plan, recorded={entry.command for entry in entries}),
    )


def _whole(states: Sequence[str]) -> str:
    order = (_WORKING, _STUCK, ("ready to merge", "not started"))
    whole = (state for kinds in order for state in states if state in kinds)
    return next(whole, "done" if states else "not started")


def _left_alone(stages: Sequence[Stage], queued: Mapping[str, Queued]) -> tuple[Stage, ...]:
    """Return the stages; if no job is left, the first submitted one that is not done is failed or interrupted."""
    first = next((stage for stage in stages if stage.state != "done" and stage.command in queued), None)
    if first is None or first.state not in ("not started", "interrupted") or not queued[first.command].over:
        return tuple(stages)
    failure, line = queued[first.command].failure(), queued[first.command].last_line
    state = "failed" if failure else "interrupted"
    ends = f"{_ENDS} {line}" if line else "no job is left that does it"
    reason = "" if first.shards else failure or ends
    return tuple(replace(stage, state=state, reason=reason) if stage is first else stage for stage in stages)


def _exit_code(state: str, queued: Mapping[str, Queued]) -> int:
    if state in ("done", *_WORKING):
        return 0 if state == "done" else 3
    if state in _STUCK or any(own.over for own in queued.values()):
        return 1
    submitted = any(own.stage is not None and own.stage.jobs for own in queued.values())
    return 3 if state == "ready to merge" or submitted else 4


def _then(run: Path, state: str, stages: Sequence[Stage], plan: Plan | None, *, recorded: set[str]) -> str:
    if state in _WORKING:
        return f"bchisto status {shlex.quote(str(run))} --watch"
    lacking = next((stage for stage in stages if stage.state != "done"), None)
    if lacking is None:
        return ""
    if plan is not None:
        return plan.line if plan.cwd == str(Path.cwd()) else f"cd {shlex.quote(plan.cwd)} && {plan.line}"
    if lacking.command not in recorded:  # it was only checked, so no record has its options
        return ""
    config, out = (shlex.quote(str(path)) for path in (run / "run.json", run))
    return f"bchisto {typed(lacking.command)} --config {config} --out {out}"  # the run may have been moved


def _single(queued: Queued) -> Stage | None:
    """Return the stage of a planned command that one job does, from its own record."""
    assert queued.stage is not None
    command, own = queued.stage.command, queued.stage.records()
    states = {"ok": "done", "error": "failed", "not checked": "running"}
    state = states.get(own[-1].status, own[-1].status) if own else "not started"
    left = queued.stage.left_out()
    reason = (
        own[-1].error if state == "failed" else f"without {counted(left, 'image')} that cannot be used" * (left > 0)
    )
    state, reason = queued.tasks.get(MERGE, (state, reason))
    return Stage(command, state, "units", 0, 0, reason=reason)


def _stage(run: Path, command: str, entries: Sequence[RunEntry], queued: Queued) -> Stage | None:
    """Return the stage of a command; None if the run has nothing of it."""
    folders = list(read_folders(run, command))
    own = [entry for entry in entries if entry.command == command]
    if not folders and not own and queued.stage is None:
        return None
    latest = _latest(own, shards=queued.shards)
    shards = [_shard(entry, shard, folders, queued) for shard, entry in latest.items()]
    units = [unit for folder in folders for unit in folder.units]
    merge, reason = queued.tasks.get(MERGE, ("", ""))
    if "" in latest:
        single = shards.pop()
        merge, reason = single.state, single.reason
    return Stage(
        command=command,
        state=_stage_state(folders, [*(shard.state for shard in shards), merge], units),
        unit=next((folder.unit for folder in folders if folder.unit), "units"),
        units=len(units),
        done=sum(unit.done for unit in units),
        folders=tuple((folder.name, folder.complete) for folder in folders),
        shards=tuple(shards),
        reason="" if queued.tasks.keys() - {MERGE} else reason,  # the merge waits for these
    )


def _latest(entries: Sequence[RunEntry], *, shards: int) -> dict[str, RunEntry | None]:
    """Return the last record of each shard, in order; of a command that was last run without shards, only that one."""
    if not shards and (not entries or not entries[-1].shard):
        return {"": entries[-1] if entries else None}
    count = shards or int(entries[-1].shard.partition("/")[2])
    last = {entry.shard: entry for entry in entries}
    return {shard: last.get(shard) for number in range(1, count + 1) if (shard := f"{number}/{count}")}


def _shard(entry: RunEntry | None, shard: str, folders: Sequence[Folder], queued: Queued) -> ShardState:
    index, count = map(int, shard.split("/")) if shard else (1, 1)
    task = str(index) if shard else MERGE
    units = [unit for folder in folders for unit in folder.of_shard(index, count)]
    done = sum(unit.done for unit in units)
    reason = ""
    if task in queued.tasks:
        state, reason = queued.tasks[task]
    elif entry is None:
        state = "done" if units and done == len(units) else "not started"
    elif entry.status == "not checked" and not queued.answered:
        state, reason = "running", f"since {entry.started}, on a machine that is not asked from here"
    elif entry.status == "running":
        state = "running"
    elif entry.status == "ok":
        state = "done" if done == len(units) else "interrupted"  # it lacks units that were added since
    elif entry.status == "error":
        state, reason = "failed", entry.error
    else:
        state, reason = "interrupted", queued.failure(task)
    return ShardState(shard, state, len(units), done, reason)


def _stage_state(folders: Sequence[Folder], states: Sequence[str], units: Sequence[Unit]) -> str:
    for state in _WORKING:
        if state in states:
            return state
    if folders and all(folder.complete for folder in folders):
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
    for stage in status.stages:
        parts = [f"{stage.command}: {stage.state}" + (f" ({stage.reason})" if stage.reason else "")]
        if stage.units:
            parts.append(f"{stage.unit} done: {stage.done} of {stage.units}")
        whole = sum(complete for _, complete in stage.folders)
        if stage.folders:
            kind = "feature files" if stage.command == "featurize" else "folders"
            parts.append(f"{kind} complete: {whole} of {len(stage.folders)}")
        lines.append("; ".join(parts))
        lines += [f"  {line}" for line in _shard_lines(stage)]
    if status.failed_images:
        lines.append(f"failed images: {status.failed_images}, listed in {Path(status.run) / 'failures.csv'}")
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
