"""Jobs of earlier submissions of a run: what waits in the scheduler's queue, and a second submission is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core import BchistoError, InputError, MissingInputError
from ...core.jobs import UnderWayError, is_running
from . import slurm
from .plan import MERGE, JobStage, Plan, read_plans

_WAITING = frozenset({"PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})

_FAILED = ("error:", "slurmstepd: error:", "stopped:")
"""First words of the last line of a log: of a command or a job that failed, and of a task that stops for good."""


@dataclass(frozen=True)
class Queued:
    """What the plan and the queue show of a stage.

    Attributes
    ----------
    stage : JobStage or None
        The stage as planned.
    tasks : mapping
        By shard or ``merge``, the state (running or queued) and the scheduler's reason.
    answered : bool
        Whether Slurm answered, so that only `tasks` run or wait.
    over : bool
        Whether the plan was submitted and none of its tasks is in the queue any more, so that nothing continues.
    logs : tuple of Path
    """

    stage: JobStage | None = None
    tasks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    answered: bool = False
    over: bool = False
    logs: tuple[Path, ...] = ()

    @property
    def shards(self) -> int:
        """Number of shards if one of them is in the queue; else 0."""
        return self.stage.shards if self.stage is not None and self.tasks.keys() - {MERGE} else 0

    @property
    def log(self) -> Path | None:
        """The log to read: the last that ends in an error, or else in a stop, or else the last; None without logs."""
        ends = {path: _last_line(path) for path in self.logs}
        failed = ([path for path, line in ends.items() if line.startswith(word)] for word in _FAILED)
        logs = next(filter(None, failed), list(ends))
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)

    def failure(self, task: str = "") -> str:
        """Return the last line of the log of a task, or of the log to read, if that is an error or a stop."""
        log = next((path for path in self.logs if path.stem.endswith(f"-{task}")), None) if task else self.log
        line = _last_line(log) if log is not None else ""
        return line if line.startswith(_FAILED) else ""


def _last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2].strip()


def ask(plan: Plan | None) -> dict[str, Queued]:
    """Return, by command, what a plan and the queue show of it."""
    if plan is None:
        return {}
    jobs = slurm.queue([plan]) if plan.scheduler == "slurm" else None
    waits = bool(plan.process) and is_running(plan.process) is not False
    over = bool(plan.jobs) and jobs == [] if plan.scheduler == "slurm" else not waits
    known = {}
    for position, stage in enumerate(plan.stages, start=1):
        own = [job for job in jobs or () if job.number in stage.jobs]
        tasks = {job.task or MERGE: ("queued" if job.state in _WAITING else "running", job.reason) for job in own}
        logs = tuple(plan.logs.glob(f"{position}-{stage.command}-*.log"))
        tasks = tasks or ({MERGE: ("queued", "")} if waits else {})
        known[stage.command] = Queued(stage, tasks, jobs is not None, over, logs)
    return known


def refuse_live(run: Path) -> None:
    """Refuse a run if jobs of it run or wait, or if that is not known.

    Raises
    ------
    UnderWayError
        They do; the message names them.
    BchistoError
        It is not known.
    """
    plans = read_plans(run)
    for plan in plans:
        if plan.process and is_running(plan.process) is not False:
            raise UnderWayError(
                "{}: a local submit works on it (process {}); wait, or use {cancel}", run, plan.process.get("pid")
            )
    waiting = slurm.queue(plans)
    if waiting is None:
        text = "{}: {} does not answer here whether earlier jobs still run; ask again, or use {force}"
        raise InputError(text, run, _slurm_of(plans))
    if live := _numbers(waiting):
        raise UnderWayError("{}: its jobs {} are in the queue; wait for them, or use {cancel}", run, ", ".join(live))


def cancel(run: Path) -> list[str]:
    """Cancel the jobs of a run that are in the queue, and end local submits on this machine; return their names.

    Raises
    ------
    MissingInputError
        There is no such run.
    BchistoError
        Slurm does not answer, or a local submit may run on another machine.
    """
    if not run.is_dir():
        raise MissingInputError(f"{run}: no such folder; give the run whose jobs to cancel")
    plans = read_plans(run)
    waiting = slurm.queue(plans)
    if waiting is None:
        typed = f"scancel {' '.join(sorted({job for plan in plans for job in plan.jobs}))}"
        raise BchistoError(
            f"{run}: {_slurm_of(plans)} does not answer here whether its jobs run; on one of its machines type: {typed}"
        )
    elsewhere = [plan.process.get("host") for plan in plans if plan.process and is_running(plan.process) is None]
    if elsewhere:
        raise BchistoError(f"{run}: a local submit was started on {elsewhere[0]}; cancel it on that machine")
    live = _numbers(waiting)
    slurm.cancel(live)
    processes = [int(plan.process["pid"]) for plan in plans if plan.process and is_running(plan.process)]
    for process in processes:
        os.kill(process, signal.SIGTERM)
    return [*live, *(f"process {process}" for process in processes)]


def _numbers(jobs: Sequence[slurm.Job]) -> list[str]:
    return sorted({job.number for job in jobs}, key=int)


def _slurm_of(plans: Sequence[Plan]) -> str:
    """Return the name of the Slurm that got the jobs of plans."""
    names = sorted({plan.cluster for plan in plans if plan.cluster})
    return f"Slurm of cluster {', '.join(names)}" if names else "Slurm"
