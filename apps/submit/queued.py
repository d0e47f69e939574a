"""What a plan and the scheduler's queue add to the files of a run: which tasks wait, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.jobs import is_running
from . import slurm
from .plan import MERGE, JobStage, Plan, read_plans

_WAITING = frozenset({"PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})

_FAILED = ("error:", "stopped:")
"""First words of the last line of a log: of a command that failed, and of a task that stops for good, see `task`."""

_TAIL_BYTES = 4096


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

    @property
    def failure(self) -> str:
        """The last line of the log to read, if that is an error or a stop; else empty."""
        line = _last_line(self.log) if self.log is not None else ""
        return line if line.startswith(_FAILED) else ""


def _last_line(log: Path) -> str:
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = handle.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def last_plan(run: Path) -> Plan | None:
    """Return the plan of the last submission; None if there was none."""
    plans = read_plans(run)
    return plans[-1] if plans else None


def ask(plan: Plan | None) -> dict[str, Queued]:
    """Return, by command, what a plan and the queue show of it."""
    if plan is None:
        return {}
    jobs = slurm.queue([plan]) if plan.scheduler == "slurm" else None
    waits = bool(plan.process) and is_running(plan.process) is not False
    over = bool(plan.jobs) and jobs == [] if plan.scheduler == "slurm" else not waits
    return {
        stage.command: Queued(
            stage,
            {
                job.task or MERGE: ("queued" if job.state in _WAITING else "running", job.reason)
                for job in jobs or ()
                if job.number in stage.jobs
            }
            or ({MERGE: ("queued", "")} if waits else {}),
            jobs is not None,
            over,
            tuple(plan.logs.glob(f"{position + 1}-{stage.command}-*.log")),
        )
        for position, stage in enumerate(plan.stages)
    }
