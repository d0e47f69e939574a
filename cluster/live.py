"""Jobs of earlier submissions of a run that may live: refuse to submit beside them, or cancel them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ..core import BchistoError, InputError, Message, MissingInputError
from ..jobs import is_running
from . import slurm
from .plan import read_plans


def refuse_live(run: Path, *, force: bool) -> None:
    """Refuse a run of which jobs live, or may live.

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
    known = {job for plan in plans for job in plan.jobs}
    if not known:
        return
    waiting = slurm.queue()
    if waiting is None:
        raise InputError(
            Message("{}: Slurm does not answer whether earlier jobs still run; ask again, or use {force}", run)
        )
    if live := sorted({job.number for job in waiting} & known):
        raise InputError(
            Message("{}: its jobs {} are in the queue; wait for them, or use {cancel}", run, ", ".join(live))
        )


def cancel(run: Path) -> list[str]:
    """Cancel the jobs of a run that are in the queue, and end local submits on this machine; return what was ended.

    Raises
    ------
    MissingInputError
        There is no such run.
    BchistoError
        Slurm does not answer, or a local submit may run on another machine.
    """
    if not run.is_dir():
        raise MissingInputError(f"{run}: no such folder; give the run of which jobs are cancelled")
    plans = read_plans(run)
    known = {job for plan in plans for job in plan.jobs}
    waiting = slurm.queue() if known else []
    if waiting is None:
        typed = f"scancel {' '.join(sorted(known))}"
        raise BchistoError(f"{run}: Slurm does not answer whether its jobs live; on one of its machines type: {typed}")
    elsewhere = [plan.process.get("host") for plan in plans if plan.process and is_running(plan.process) is None]
    if elsewhere:
        raise BchistoError(f"{run}: a local submit was started on {elsewhere[0]}; cancel it on that machine")
    live = sorted({job.number for job in waiting} & known)
    slurm.cancel(live)
    local_ones = [int(plan.process["pid"]) for plan in plans if plan.process and is_running(plan.process)]
    for process in local_ones:
        os.kill(process, signal.SIGTERM)
    return [*live, *(f"process {process}" for process in local_ones)]
