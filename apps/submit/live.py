"""Jobs of earlier submissions of a run: refuses to submit a second time while they may run, and cancels them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ...core import BchistoError, InputError, Message, MissingInputError
from ...core.jobs import is_running
from . import slurm
from .plan import Plan, read_plans


def refuse_live(run: Path, *, force: bool) -> None:
    """Refuse a run if jobs of it run or wait, or if that is not known.

    Raises
    ------
    InputError
        The message names them.
    """
    if force:
        return
    plans = read_plans(run)
    for plan in plans:
        if plan.scheduler == "local" and plan.process and is_running(plan.process) is not False:
            raise InputError(
                Message(
                    "{}: a local submit works on it (process {}); wait, or use {cancel}", run, plan.process.get("pid")
                )
            )
    waiting = slurm.queue(plans)
    if waiting is None:
        raise InputError(
            Message(
                "{}: {} does not answer here whether earlier jobs still run; ask again, or use {force}",
                run, _slurm_of(plans),
            )
        )  # fmt: skip
    if live := sorted({job.number for job in waiting}):
        raise InputError(
            Message("{}: its jobs {} are in the queue; wait for them, or use {cancel}", run, ", ".join(live))
        )


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
    live = sorted({job.number for job in waiting})
    slurm.cancel(live)
    processes = [int(plan.process["pid"]) for plan in plans if plan.process and is_running(plan.process)]
    for process in processes:
        os.kill(process, signal.SIGTERM)
    return [*live, *(f"process {process}" for process in processes)]


def _slurm_of(plans: Sequence[Plan]) -> str:
    """Return the name of the Slurm that got the jobs of plans."""
    names = sorted({plan.cluster for plan in plans if plan.cluster})
    return f"Slurm of cluster {', '.join(names)}" if names else "Slurm"
