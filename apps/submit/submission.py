"""Plans what is missing as stages of shards, and submits them."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core import InputError, counted
from ...core.jobs import this_process
from . import slurm
from . import task as local
from .plan import MERGE, SINGLE, STAGES, JobStage, Plan

SCHEDULERS = ("slurm", "local")

_NETWORKS = ("featurize", "finetune", "reproduce", "predict", "explain")
"""Commands that a GPU makes faster."""

_MEGABYTE = 1_000_000

_OWN = (
    "array", "dependency", "kill-on-invalid-dep", "no-requeue", "open-mode", "output", "parsable", "requeue",
    "signal", "test-only", "wait", "wrap",
)  # fmt: skip
"""Options of sbatch that determine the order, the logs and the signals of tasks."""


def divide(stage: JobStage, tasks: int, most: int | None, *, listed: bool) -> None:
    """Divide a stage among shards, of which those that lack units become tasks.

    Parameters
    ----------
    stage : JobStage
    tasks : int
        Maximum number of shards.
    most : int or None
        Number of pieces into which its work can be divided; None if it is not known.
    listed : bool
        Whether the list of its units is up to date, so that it shows what is missing.
    """
    stage.shards = min(tasks, most or tasks)
    stage.tasks = stage.missing_shards() if listed else list(range(1, stage.shards + 1))
    if stage.shards == 1:  # one job does it all
        stage.shards, stage.tasks = 0, []
    stage.done = stage.progress()


def refuse_full(run: Path, size: float) -> None:
    """Refuse a run if its files do not fit on its disk. Quotas cannot be read."""
    folder = next(path for path in (run.absolute(), *run.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if size > free:
        needed = math.ceil(size / _MEGABYTE)
        raise InputError(
            "{}: {} MB are free, but the files take about {} MB; make room, or use another folder",
            folder, free // _MEGABYTE, needed,
        )  # fmt: skip


def describe(stage: JobStage, *, listed: bool) -> str:
    """Return in one line how a stage is divided, and how many units it has if they are listed."""
    tasks = f"{counted(len(stage.tasks), 'task')} of {stage.shards} and a merge" if stage.shards else "one job"
    folders = [folder for folder in stage.folders() if listed and folder.groups]
    if not folders:
        return f"{stage.command}: {tasks}"
    units = [unit.done for folder in folders for unit in folder.units]
    number, left = counted(len(units), folders[0].unit.removesuffix("s")), units.count(False)
    return f"{stage.command}: {tasks}; {number if left == len(units) else f'{left} of {number} left'}"


def options_of(
    stage: JobStage, chosen: Sequence[str], time: str | None, gpus: int, cluster: Mapping[str, str]
) -> list[str]:
    """Return the options of sbatch for a stage.

    Parameters
    ----------
    stage : JobStage
    chosen : sequence of str
        ``KEY=VALUE`` or ``COMMAND:KEY=VALUE``.
    time : str or None
        Limit of a task, as sbatch takes it; by default that of the partition.
    gpus : int
        Number of GPUs of each task of a command that computes networks.
    cluster : mapping
        Configuration of Slurm, see `slurm.settings`.

    Raises
    ------
    InputError
        An option that bchisto sets itself, or of no stage.
    """
    options = [] if time is None else [f"--time={time}"]
    options += [] if stage.cpus is None else [f"--cpus-per-task={stage.cpus}"]
    options += [f"--gres=gpu:{gpus}"] if gpus and stage.command in _NETWORKS else []
    for option in chosen:
        key, _, value = option.partition("=")
        command, colon, name = key.rpartition(":")
        if not name:
            raise InputError("{sbatch} {}: names no option of sbatch; write it as KEY=VALUE", repr(option))
        if name in _OWN:
            raise InputError("{sbatch} {}: bchisto sets this itself; leave it out", option)
        if colon and command not in (*STAGES, *SINGLE):
            raise InputError("{sbatch} {}: {} is not a stage; give {}", option, command, ", ".join((*STAGES, *SINGLE)))
        if not colon or command == stage.command:
            options.append(f"--{name}={value}" if "=" in option else f"--{name}")
    return [*options, *slurm.memory(cluster, options)]


def preview(plan: Plan) -> list[str]:
    """Return the scripts of a plan, the commands that submit them, and what Slurm says to each stage, as lines.

    Raises
    ------
    BchistoError
        Slurm would refuse a stage, see `slurm.trial`.
    """
    lines = []
    for position, stage in enumerate(plan.stages):
        lines += [f"# {plan.script(position)}", *plan.lines(position)]
        if plan.scheduler == "slurm":
            calls = slurm.commands(plan, position, after="PREVIOUS" if position else None)
            lines += [shlex.join(words) for _, words in calls]
            lines += [f"# {slurm.trial(stage) if plan.cluster else 'Slurm does not answer here, and was not asked'}"]
        else:
            path = str(plan.script(position))
            lines += [shlex.join(["/bin/bash", path, str(task)]) for task in (*stage.tasks, MERGE)]
    return lines


def start(plan: Plan) -> int:
    """Write the plan and submit it; wait for a local one. Return how many stages succeeded, or were submitted.

    Raises
    ------
    BchistoError
        Slurm refused it, or this machine has no Slurm.
    """
    if plan.scheduler == "slurm":
        slurm.submit(plan)
        return len(plan.stages)
    plan.process = this_process()
    plan.write()
    try:
        most = plan.at_once or max([1, *(len(stage.tasks) for stage in plan.stages)])
        plan, ended = local.run(plan, processes=most)
    finally:
        plan.process = {}
        plan.write()
    return ended
