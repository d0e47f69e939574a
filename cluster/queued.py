"""What a plan and the scheduler's queue add to what files tell: which tasks wait, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..jobs import is_running
from . import slurm
from .plan import MERGE, JobStage, Plan, read_plans

_WAITING = frozenset({"PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})


@dataclass(frozen=True)
class Queued:
    """What is known of a stage beside its files.

    Attributes
    ----------
    stage : JobStage or None
        As it was planned.
    tasks : mapping
        Shard or ``merge`` to its state (running or queued) and the scheduler's reason.
    answered : bool
        Whether what is not among `tasks` is not at work.
    logs : tuple of Path
    """

    stage: JobStage | None = None
    tasks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    answered: bool = False
    logs: tuple[Path, ...] = ()

    @property
    def shards(self) -> int:
        """How many shards there are, if one of them is in the queue; else 0."""
        return self.stage.shards if self.stage is not None and self.tasks.keys() - {MERGE} else 0


def last_plan(run: Path) -> Plan | None:
    """Return the plan of the last submission; None if there was none."""
    plans = read_plans(run)
    return plans[-1] if plans else None


def ask(plan: Plan | None) -> dict[str, Queued]:
    """Return command to what a plan and the queue say of it."""
    if plan is None:
        return {}
    jobs = slurm.queue() if plan.scheduler == "slurm" else None
    waits = bool(plan.process) and is_running(plan.process) is not False
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
            tuple(plan.logs.glob(f"{position + 1}-{stage.command}-*.log")),
        )
        for position, stage in enumerate(plan.stages)
    }
