"""From stages to jobs: what is missing is divided into shards, and submitted unless earlier jobs of the run live."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import InputError, Message
from ..jobs import ensure_folder, is_running, this_process
from . import local, slurm
from .folders import read_folders
from .plan import MERGE, STAGES, JobStage, Plan, is_complete, missing_shards, new_folder, progress, read_plans
from .scripts import script, write_scripts

SCHEDULERS = ("slurm", "local")


@dataclass(frozen=True)
class Request:
    """A stage that was asked for and checked.

    Attributes
    ----------
    command : str
    words : tuple of str
    run : Path
        Its folder of output.
    cpus : int or None
        Processes that it was told to use.
    most : int or None
        Pieces into which its work can be divided, if that is known.
    checked : bool
        Whether the list of its units was written just now, so that what is there tells what is missing.
    there : bool
        Whether its outputs are there, and it would refuse to replace them.
    """

    command: str
    words: tuple[str, ...]
    run: Path
    cpus: int | None = None
    most: int | None = None
    checked: bool = True
    there: bool = False


def make_plan(
    requests: Sequence[Request], *, scheduler: str, tasks: int, options: Sequence[str], time: str | None, line: str
) -> Plan:
    """Return the plan of what is missing; a stage that is complete and follows none that is not is left out.

    Parameters
    ----------
    requests : sequence of Request
    scheduler : {"slurm", "local"}
    tasks : int
        Shards of a stage, at most.
    options : sequence of str
        Of the scheduler, ``KEY=VALUE`` or ``COMMAND:KEY=VALUE``.
    time : str, optional
        Limit of a task, as Slurm writes it.
    line : str
        The command that asks for it.

    Raises
    ------
    InputError
        An option that bchisto sets itself.
    """
    stages: list[JobStage] = []
    for request in requests:
        if request.there and not stages:
            continue
        if request.there:
            raise InputError(Message("{}: exists already; use {overwrite} with {}", request.run, request.command))
        stage = JobStage(request.command, list(request.words), str(request.run.absolute()), cpus=request.cpus)
        stage.options = _options(options, time, request)
        if request.command in STAGES:
            if request.checked and not stages and is_complete(stage):
                continue
            stage.shards = max(1, min(tasks, request.most or tasks))
            stage.tasks = missing_shards(stage) if request.checked else list(range(1, stage.shards + 1))
            if stage.shards == 1:  # one job does it all
                stage.shards, stage.tasks = 0, []
            stage.done = progress(stage)
        stages.append(stage)
    cwd, python = str(Path.cwd()), sys.executable
    return Plan(new_folder(requests[0].run), scheduler, line, cwd, python, stages)


def _options(options: Sequence[str], time: str | None, request: Request) -> list[str]:
    chosen = [] if time is None else [f"--time={time}"]
    chosen += [] if request.cpus is None else [f"--cpus-per-task={request.cpus}"]
    for option in options:
        key, _, value = option.partition("=")
        command, colon, name = key.rpartition(":")
        if name in ("array", "dependency", "output", "parsable", "wrap"):
            raise InputError("{sbatch} {}: bchisto sets this itself; leave it out", option)
        if not colon or command == request.command:
            chosen.append(f"--{name}={value}" if "=" in option else f"--{name}")
    return chosen


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
                Message("{}: a local submit works on it (process {}); wait, or end it", run, plan.process.get("pid"))
            )
    known = {job for plan in plans for job in plan.jobs}
    if not known:
        return
    waiting = slurm.queue()
    if waiting is None:
        raise InputError(Message("{}: Slurm does not say whether earlier jobs live; ask again, or use {force}", run))
    if live := sorted({job.number for job in waiting} & known):
        raise InputError(
            Message("{}: its jobs {} are in the queue; wait for them, or use {cancel}", run, ", ".join(live))
        )


def was_submitted(run: Path, command: str, words: Sequence[str]) -> bool:
    """Tell whether the same command was submitted before, was checked then, and has units to do.

    What lies there was listed by its tasks; on a machine of another kind, say without a GPU, its keys would be others.
    """
    stages = [stage for plan in read_plans(run) for stage in plan.stages]
    same = any((stage.command, stage.words) == (command, list(words)) for stage in stages)
    return same and any(unit.done for folder in read_folders(run, command) for unit in folder.units)


def preview(plan: Plan) -> list[str]:
    """Return the scripts of a plan and what would be typed, as lines."""
    lines = []
    for position, stage in enumerate(plan.stages):
        lines += [f"# {plan.script(position)}", *script(plan, position).splitlines()]
        if plan.scheduler == "slurm":
            lines += [
                shlex.join(words) for _, words in slurm.commands(plan, position, after="PREVIOUS" if position else None)
            ]
        else:
            lines += [
                shlex.join(["/bin/bash", str(plan.script(position)), task]) for task in (*map(str, stage.tasks), MERGE)
            ]
    return lines


def start(plan: Plan) -> int:
    """Write the plan and submit it; a local one is waited for. Returns how many stages ended well, if that is known.

    Raises
    ------
    BchistoError
        Slurm refused it, or there is none on this machine.
    """
    ensure_folder(plan.logs)
    write_scripts(plan)
    if plan.scheduler == "local":
        plan.process = this_process()
        plan.write()
        try:
            plan, ended = local.run(plan, processes=max([1, *(len(stage.tasks) for stage in plan.stages)]))
        finally:
            plan.process = {}
            plan.write()
        return ended
    plan.write()
    slurm.submit(plan)
    return len(plan.stages)


def cancel(run: Path) -> list[str]:
    """Cancel the jobs of a run that are in the queue; return their numbers."""
    known = {job for plan in read_plans(run) for job in plan.jobs}
    live = sorted({job.number for job in slurm.queue() or ()} & known)
    slurm.cancel(live)
    return live
