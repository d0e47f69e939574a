"""The progress of a run, read from its files, as values and as lines for people.

The scheduler is only asked which tasks wait. Without its answer the rest is the same.
"""

from __future__ import annotations

import functools
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core import MissingInputError, by_key, converted, counted
from ...core.jobs import is_running
from ...core.runs import RunEntry
from .plan import (
    MERGE,
    STAGES,
    Folder,
    JobStage,
    Plan,
    Unit,
    last_stages,
    read_plans,
    typed,
    units_of,
)
from .scheduler import NOT_ASKED, Job, queue

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

_WAITING = dict.fromkeys(
    ("PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"), "queued"
)
"""Slurm's words for a job that waits, which does not run."""

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
    reason : str
        The scheduler's reason; the error, or the signal, that ended it.
    """

    shard: str
    state: str
    reason: str


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
    folders: tuple[tuple[str, bool], ...]
    shards: tuple[ShardState, ...]
    reason: str
    output: str


@dataclass(frozen=True)
class RunStatus:
    """The progress of a run.

    Attributes
    ----------
    run : str
    state : str
        Of the states of its stages that which people must know first: one in progress, then the most severe; if some
        stages are done and the others were not started, interrupted.
    exit_code : int
        0 done, 1 failed or interrupted, 3 in progress, 4 nothing yet.
    stages : tuple of Stage
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
    works = _read_works(run)
    stages = tuple(work.shown for work in works)
    states = {stage.state for stage in stages}
    state = next((state for state in _CODES if state in states), "not started")
    if state == "not started" and "done" in states:  # as a stage of which some shards are done
        state = "interrupted"
    return RunStatus(
        run=str(run),
        state=state,
        exit_code=_CODES[state],
        stages=stages,
        log=_log_to_read(run, works),
        full=state in ("failed", "interrupted") and shutil.disk_usage(run).free < _FULL_BYTES,
        then=_then(run, state, works),
    )


@dataclass(frozen=True)
class _Work:
    """What the plan, the queue and files show of a command's work in a run.

    Attributes
    ----------
    stage : JobStage
    plan : Plan or None
        None if it was not submitted.
    tasks : mapping
        By shard or ``merge``, the state (running or queued) and the scheduler's reason.
    answered : bool or None
        Whether Slurm answered, so that only `tasks` run or wait; None if it got no job of it.
    is_abandoned : bool
        Whether it is its turn, but none of the tasks of its plan is in the queue any more, so that nothing continues.
    """

    stage: JobStage
    plan: Plan | None = None
    tasks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    answered: bool | None = None
    is_abandoned: bool = False

    @functools.cached_property
    def folders(self) -> list[Folder]:
        """Its folders."""
        return self.stage.folders()

    @functools.cached_property
    def entries(self) -> list[RunEntry]:
        """Its records since it was submitted."""
        return self.stage.since()

    @functools.cached_property
    def errors(self) -> dict[str, str]:
        """The error of each task that failed; that of `MERGE` is the last."""
        return self.plan.errors(self.stage) if self.plan else {}

    @property
    def last_task(self) -> str:
        """The task to read of: one that failed, or else the one that merges."""
        return next(reversed(self.errors), MERGE)

    def log(self, task: str) -> Path | None:
        """Return the log of a task, or else the last log; None without any."""
        if self.plan is None:
            return None
        log = self.plan.log(self.stage, task)
        return log if log.is_file() else next(reversed(self.plan.logs_of(self.stage)), None)

    def end(self, task: str) -> str:
        """Return the error of a task, or else the last line of its log, such as Slurm's words; empty without any."""
        log = self.log(task)
        if task in self.errors or log is None:
            return self.errors.get(task, "")
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        line = next(filter(None, map(str.strip, reversed(lines))), "")
        return f"its log ends with: {line}" if line else ""

    @functools.cached_property
    def _units(self) -> list[Unit]:
        return units_of(self.folders)

    @property
    def _has_tasks_of_shards(self) -> bool:
        return bool(self.tasks.keys() - {MERGE})

    @functools.cached_property
    def shown(self) -> Stage:
        """Its state, and that of its shards."""
        shards = self._shards()
        state, reason = self._state(shards)
        return Stage(
            command=self.stage.command,
            state=state,
            unit=next((folder.unit for folder in self.folders if folder.unit), "units"),
            units=len(self._units),
            done=sum(unit.done for unit in self._units),
            folders=tuple((folder.name, folder.complete) for folder in self.folders),
            shards=tuple(shards),
            reason=reason,
            output=Path(self.stage.run).absolute().name,
        )

    def _shards(self) -> list[ShardState]:
        """Return the states of its shards, in order; none if one call does all of it."""
        count = 0
        if self._has_tasks_of_shards:
            count = self.stage.shards
        elif self.entries and self.entries[-1].shard:
            count = int(self.entries[-1].shard.partition("/")[2])
        return [self._shard(number, count) for number in range(1, count + 1)]

    def _shard(self, number: int, count: int) -> ShardState:
        """Return the state of a shard by its last record."""
        name = f"{number}/{count}"
        units = units_of(self.folders, number, count)
        entries = [entry for entry in self.entries if entry.shard == name]
        state, reason = self._task_state(str(number), entries, units)
        if self.answered is False and state not in ("running", "done"):
            state = "unknown"
        return ShardState(name, state, reason)

    def _task_state(
        self, task: str, entries: Sequence[RunEntry], units: Sequence[Unit]
    ) -> tuple[str, str]:
        """Return the state of a task, and the reason, by the last of its records."""
        if task in self.tasks:
            return self.tasks[task]
        is_complete = all(unit.done for unit in units)
        if not entries:
            if units and is_complete:
                return "done", ""
            return "not started", ""
        entry = entries[-1]
        status = entry.status
        if status == "not checked" and not self.answered:
            return "running", f"since {entry.started}, on a machine that is not asked from here"
        if status == "running":
            return "running", ""
        if status == "error":
            return "failed", entry.error
        # a call that ended well lacks units that were added since
        if status == "ok" and is_complete:
            return "done", ""
        return "interrupted", self.end(task)

    def _last_task(self, shards: Sequence[ShardState]) -> tuple[str, str]:
        """Return the state of the job that does or merges all of it, and the reason."""
        if not shards:
            return self._task_state(MERGE, self.entries, self._units)
        state, reason = self.tasks.get(MERGE, ("", ""))
        if self._has_tasks_of_shards:  # it waits for these, whose reasons are told
            reason = ""
        return state, reason

    def _state(self, shards: Sequence[ShardState]) -> tuple[str, str]:
        """Return the state of all work, and the reason: the first that holds."""
        last_state, reason = self._last_task(shards)
        states = {*(shard.state for shard in shards), last_state}
        errors = self.errors
        is_silent = self.answered is False
        units = self._units
        is_begun = any(unit.done or unit.epochs for unit in units)
        # no job is left, and no call ended well
        is_stuck = self.is_abandoned and all(entry.outcome != "ok" for entry in self.entries)
        last_words = ""
        if is_stuck and not shards:
            last_words = self.end(self.last_task) or "no job is left that does it"
        rules: Sequence[tuple[Any, str, str]] = (
            ("running" in states, "running", reason),
            ("queued" in states, "queued", reason),
            (self.stage.is_done(), "done", self._left_out()),
            (is_silent and MERGE in errors, "failed", errors.get(MERGE, "")),
            (is_silent, "unknown", NOT_ASKED),
            ("failed" in states, "failed", reason),
            (is_stuck and errors, "failed", last_words),
            (is_stuck, "interrupted", last_words),
            (units and all(unit.done for unit in units), "ready to merge", reason),
            (is_begun or states - {"not started", ""}, "interrupted", reason),
            (True, "not started", reason),
        )
        return next((state, text) for holds, state, text in rules if holds)

    def _left_out(self) -> str:
        """Return a text on images that finished work left out."""
        count = self.stage.left_out()
        if not count:
            return ""
        return f"without {counted(count, 'image')} that cannot be used, see {self.stage.listed}"


def _read_works(run: Path) -> list[_Work]:
    """Return what a run has of each command, in the order of the road."""
    plans = read_plans(run)
    last = last_stages(plans)
    asked = [plan for plan in plans if any(stage in plan.stages for stage in last.values())]
    # before files are read: a job that ends in between has written all its files
    jobs = queue(asked)
    submitted = [work for plan in plans for work in _works_of(plan, last, jobs)]
    stages = [JobStage(command, [], str(run)) for command in STAGES]
    reproduce = stages.pop(STAGES.index("reproduce"))
    if any(command == "reproduce" for command, _ in last) or reproduce.records():
        stages = [reproduce]  # which contains the others
    by_hand = [_Work(stage) for stage in stages if (stage.command, stage.run) not in last]
    works = (*by_hand, *submitted)
    begun = [work for work in works if work.plan or work.folders or work.entries]
    return sorted(begun, key=_rank)


def _works_of(
    plan: Plan, last: Mapping[tuple[str, str], JobStage], jobs: Sequence[Job] | None
) -> Iterator[_Work]:
    """Yield what a plan and the queue show of its stages, apart from those that were submitted again."""
    is_worked_on = bool(plan.process) and is_running(plan.process) is not False
    jobs_of_plan = [job for job in jobs or () if job.plan is plan]
    answered: bool | None = None
    is_abandoned = not is_worked_on
    if plan.scheduler == "slurm":
        answered = jobs is not None
        is_abandoned = answered and bool(plan.jobs) and not jobs_of_plan
    for stage in plan.stages:
        if last[stage.command, stage.run] is not stage:
            continue
        tasks = {
            job.task: (_WAITING.get(job.state, "running"), job.reason)
            for job in jobs_of_plan
            if job.stage is stage
        }
        if is_worked_on and not tasks and not stage.is_done():
            tasks = {MERGE: ("queued", "")}
        yield _Work(stage, plan, tasks, answered, is_abandoned)
        # it is the turn of the next stage only if this one is done
        is_abandoned = is_abandoned and stage.is_done()


def _rank(work: _Work) -> int:
    """Return the place of a command in `STAGES`; all others follow, as they were submitted."""
    command = work.stage.command
    return (*STAGES, command).index(command)


def _log_to_read(run: Path, works: Iterable[_Work]) -> str:
    """Return the log of the first command that failed, or that did not end; empty if there is none."""
    for work in works:
        state = work.shown.state
        log = work.log(work.last_task)
        if state == "failed":
            return str(log or run / "run.json")
        if state == "interrupted" and log is not None:
            return str(log)
    return ""


def _then(run: Path, state: str, works: Sequence[_Work]) -> str:
    """Return the command that continues; empty if all is done."""
    if state in ("running", "queued", "unknown"):
        return f"bchisto status {shlex.quote(str(run))} --watch"
    unfinished = next((work for work in works if work.shown.state != "done"), None)
    if unfinished is None:
        return ""
    plan = unfinished.plan
    if plan is not None:
        if plan.cwd == str(Path.cwd()):
            return plan.line
        return f"cd {shlex.quote(plan.cwd)} && {plan.line}"
    if not unfinished.stage.records():  # it was only checked, so no record has its options
        return ""
    # the run may have been moved, so its record names another folder
    config, out = (shlex.quote(str(path)) for path in (run / "run.json", run))
    return f"bchisto {typed(unfinished.stage.command)} --config {config} --out {out}"


def status_lines(status: RunStatus) -> list[str]:
    """Return a status as lines for people."""
    lines = [f"{status.run}: {status.state}"]
    commands = [stage.command for stage in status.stages]
    for stage in status.stages:
        name = stage.command
        if commands.count(name) > 1:
            name = f"{name} {stage.output}"
        lines.append(f"{name}: {_stage_text(stage)}")
        lines += [f"  {line}" for line in _shard_lines(stage)]
    if status.full:
        lines.append(f"the disk of {status.run} is full; make room first")
    if status.log:
        lines.append(f"read: {status.log}")
    if status.then:
        lines.append(f"next: {status.then}")
    return lines


def _stage_text(stage: Stage) -> str:
    """Return the state of a stage, and how much of it is done."""
    parts = [_with_reason(stage.state, stage.reason)]
    if stage.units:
        parts.append(f"{stage.unit} done: {stage.done} of {stage.units}")
    if stage.folders:
        kind = "feature files" if stage.command == "featurize" else "folders"
        complete = sum(is_complete for _, is_complete in stage.folders)
        parts.append(f"{kind} complete: {complete} of {len(stage.folders)}")
    return "; ".join(parts)


def _with_reason(state: str, reason: str) -> str:
    if not reason:
        return state
    return f"{state} ({reason})"


def _shard_lines(stage: Stage) -> list[str]:
    """Return a line for shards of the same state and reason: a run may have hundreds."""
    alike = by_key(stage.shards, lambda shard: _with_reason(shard.state, shard.reason))
    lines = []
    for text, shards in alike.items():
        word = "shard" if len(shards) == 1 else "shards"
        numbers = [int(shard.shard.partition("/")[0]) for shard in shards]
        lines.append(f"{word} {_spans(numbers)} of {len(stage.shards)}: {text}")
    return lines


def _spans(numbers: Sequence[int]) -> str:
    """Return numbers in order as text.

    Examples
    --------
    >>> _spans([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    begins = (number for number in numbers if number - 1 not in numbers)
    ends = (number for number in numbers if number + 1 not in numbers)
    spans = zip(begins, ends, strict=True)
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in spans)
