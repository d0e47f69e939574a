"""Submissions of a run: how its stages are divided and submitted, and what the queue still holds of earlier ones."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from ...core import BchistoError, InputError, MissingInputError, counted
from ...core.jobs import UnderWayError, is_running, this_process, write_json
from . import scheduler
from .plan import SINGLE, STAGES, JobStage, Plan, is_made, read_plans, units_of

_NETWORKS = ("featurize", "finetune", "reproduce", "map", "predict", "explain")
"""Commands that a GPU makes faster."""

_SET_HERE = (
    "array",
    "dependency",
    "error",
    "kill-on-invalid-dep",
    "no-requeue",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "signal",
    "test-only",
    "wait",
    "wrap",
)
"""Options of sbatch that determine the order, the logs and the signals of tasks."""


def divide(stage: JobStage, most: int, *, listed: bool) -> None:
    """Divide a stage among shards, which share each of its folders; those that lack units become tasks.

    Parameters
    ----------
    stage : JobStage
    most : int
        Maximum number of shards.
    listed : bool
        Whether it has a list of its units, so that it shows what is missing.
    """
    stage.shards = most
    stage.tasks = list(range(1, most + 1))
    if listed:
        pieces = max((len(folder.groups) for folder in stage.folders()), default=0)
        # later steps of `reproduce` may have more of them
        if pieces and stage.command != "reproduce":
            stage.shards = min(most, pieces)
        stage.tasks = stage.missing_shards()
    if stage.shards == 1 or not stage.tasks:  # one job does it all
        stage.shards = 0
        stage.tasks = []


def describe(stage: JobStage, *, listed: bool) -> str:
    """Return in one line how a stage is divided, and how many units it has if they are listed."""
    tasks = counted(len(stage.tasks), "task")
    division = f"{tasks} of {stage.shards} and a merge" if stage.shards else "one job"
    folders = [folder for folder in stage.folders() if listed and folder.groups]
    if not folders:
        return f"{stage.command}: {division}"
    units = units_of(folders)
    missing = sum(not unit.done for unit in units)
    number = counted(len(units), folders[0].unit.removesuffix("s"))
    if missing < len(units):
        number = f"{missing} of {number} left"
    return f"{stage.command}: {division}; {number}"


def options_of(stage: JobStage, sbatch: Sequence[str], time: str | None, gpus: int) -> list[str]:
    """Return the options of sbatch for a stage.

    Parameters
    ----------
    stage : JobStage
    sbatch : sequence of str
        ``KEY=VALUE`` or ``COMMAND:KEY=VALUE``.
    time : str or None
        Limit of a task, as sbatch takes it; by default that of the partition.
    gpus : int
        Number of GPUs of each task of a command that computes networks.

    Raises
    ------
    InputError
        An option that bchisto sets itself, or of no stage.
    """
    options = []
    if time is not None:
        options.append(f"--time={time}")
    if stage.cpus is not None:
        options.append(f"--cpus-per-task={stage.cpus}")
    if gpus and stage.command in _NETWORKS:
        options.append(f"--gres=gpu:{gpus}")
    for option in sbatch:
        command, name = _read_option(option)
        if command in (None, stage.command):
            _, equals, value = option.partition("=")
            options.append(f"--{name}{equals}{value}")
    return options


def _read_option(option: str) -> tuple[str | None, str]:
    """Return the command that an option is for, or None for every one, and the name of the option.

    Raises
    ------
    InputError
        See `options_of`.
    """
    command, colon, name = option.partition("=")[0].rpartition(":")
    if not name:
        raise InputError(
            "{sbatch} {}: names no option of sbatch; write it as KEY=VALUE", repr(option)
        )
    if name in _SET_HERE:
        raise InputError("{sbatch} {}: bchisto sets this itself; leave it out", option)
    if not colon:
        return None, name
    commands = (*STAGES, *SINGLE)
    if command not in commands:
        text = "{sbatch} {}: {} is not a stage; give {}"
        raise InputError(text, option, command, ", ".join(commands))
    return command, name


def preview(plan: Plan) -> list[str]:
    """Return the scripts of a plan, the commands that submit them, and what Slurm says to each stage.

    Raises
    ------
    BchistoError
        Slurm would refuse a stage, see `scheduler.trial`.
    """
    lines = []
    for position, stage in enumerate(plan.stages):
        lines += [f"# {plan.script(position)}", *plan.lines(position)]
        if plan.scheduler == "slurm":
            calls = scheduler.commands(plan, position, after="PREVIOUS" if position else None)
            lines += map(shlex.join, calls)
            answer = scheduler.trial(stage) if plan.cluster else scheduler.NOT_ASKED
            lines.append(f"# {answer}")
    return lines


def start(plan: Plan) -> int:
    """Write the plan and submit it; wait for a local one. Return how many stages succeeded, or were submitted.

    Raises
    ------
    BchistoError
        Slurm refused it, or this machine has no Slurm.
    """
    if plan.scheduler == "slurm":
        scheduler.submit(plan)
        return len(plan.stages)
    plan.process = this_process()
    plan.write()
    try:
        most = plan.at_once or max([1, *(len(stage.tasks) for stage in plan.stages)])
        return scheduler.run(plan, processes=most)
    finally:
        plan.process = {}
        plan.write()


def refuse_live(run: Path, paths: Sequence[Path]) -> None:
    """Refuse a run if jobs of it that make one of these files or folders run or wait, or if that is not known.

    Raises
    ------
    UnderWayError
        They do; the message names them.
    InputError
        It is not known.
    """
    plans = [plan for plan in read_plans(run) if any(is_made(path, plan.stages) for path in paths)]
    for plan in plans:
        if plan.process and is_running(plan.process) is not False:
            pid = plan.process.get("pid")
            raise UnderWayError(
                "{}: a local submit works on it (process {}); wait, or use {cancel}", run, pid
            )
    numbers = _jobs_in_queue(run, plans)
    if numbers:
        text = "{}: its jobs {} are in the queue; wait for them, or use {cancel}"
        raise UnderWayError(text, run, ", ".join(numbers))


def cancel(run: Path) -> list[str]:
    """Cancel the jobs of a run that are in the queue, and end local submits on this machine; return their names.

    Raises
    ------
    MissingInputError
        There is no such run.
    InputError
        Slurm does not answer.
    BchistoError
        A local submit may run on another machine.
    """
    if not run.is_dir():
        raise MissingInputError(f"{run}: no such folder; give the run whose jobs to cancel")
    plans = read_plans(run)
    numbers = _jobs_in_queue(run, plans)
    local = [plan.process for plan in plans if plan.process]
    for process in local:
        if is_running(process) is None:
            raise BchistoError(
                f"{run}: a local submit was started on {process.get('host')}; cancel it on that machine"
            )
    for plan in plans:  # what begins at this moment does, and submits, nothing
        write_json(plan.folder / scheduler.CANCELLED, True)
    scheduler.cancel(numbers)
    pids = [int(process["pid"]) for process in local if is_running(process)]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    return [*numbers, *(f"process {pid}" for pid in pids)]


def _jobs_in_queue(run: Path, plans: Sequence[Plan]) -> list[str]:
    """Return the numbers of the jobs of plans that run or wait.

    Raises
    ------
    InputError
        Slurm does not answer.
    """
    jobs = scheduler.queue(plans)
    if jobs is None:
        clusters = " ".join({plan.cluster for plan in plans})
        numbers = ", ".join(job for plan in plans for job in plan.jobs)
        text = (
            "{}: {} does not answer here whether jobs {} run; ask on its machines, or use {force}"
        )
        raise InputError(text, run, f"Slurm {clusters}".strip(), numbers)
    return sorted({job.number for job in jobs}, key=int)
