"""Plans what is missing as stages of shards, and submits them."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core import InputError, counted
from ...core.jobs import ensure_folder, this_process
from . import slurm
from . import task as local
from .plan import MERGE, SINGLE, STAGES, JobStage, Plan, new_folder, read_folders, was_planned
from .task import script, write_scripts

SCHEDULERS = ("slurm", "local")

_NETWORKS = ("featurize", "finetune", "reproduce", "predict", "explain")
"""Commands that a GPU makes faster."""

_MEGABYTE = 1_000_000

_LIMITS = ("time", "t")
_OWN = (
    "array", "dependency", "kill-on-invalid-dep", "no-requeue", "open-mode", "output", "parsable", "requeue",
    "signal", "test-only", "wait", "wrap",
)  # fmt: skip
"""Options of sbatch that determine the order, the logs and the signals of tasks."""


@dataclass(frozen=True)
class Request:
    """A stage that the user wants and that was checked.

    Attributes
    ----------
    command : str
    words : tuple of str
    out : Path
        Its output folder, or its table.
    cpus : int or None
        Number of processes, if `--jobs` was given.
    most : int or None
        Number of pieces into which its work can be divided; None if not known, or if each unit is one.
    size : callable
        Returns the size of its files in bytes; 0 if not known.
    checked : bool
        Whether the list of its units is up to date, so that it shows what is missing.
    there : bool
        Whether its outputs exist, so that it would refuse to replace them.
    """

    command: str
    words: tuple[str, ...]
    out: Path
    cpus: int | None = None
    most: int | None = None
    size: Callable[[], int] = lambda: 0
    checked: bool = True
    there: bool = False


def make_plan(
    run: Path,
    requests: Sequence[Request],
    *,
    scheduler: str,
    tasks: int,
    options: Sequence[str],
    gpus: int = 0,
    time: str | None,
    line: str,
) -> Plan:
    """Return the plan of what is missing. It starts with the first stage that is not complete.

    Parameters
    ----------
    run : Path
        The run folder, which gets the folder of the plan.
    requests : sequence of Request
    scheduler : {"slurm", "local"}
    tasks : int
        Maximum number of shards of a stage.
    options : sequence of str
        Options of the scheduler, ``KEY=VALUE`` or ``COMMAND:KEY=VALUE``.
    gpus : int
        Number of GPUs of each task of the stages that compute networks.
    time : str, optional
        Limit of a task, as sbatch takes it; by default that of the partition.
    line : str
        The command that submits the plan.

    Raises
    ------
    InputError
        An option that bchisto sets itself, or too little space.
    """
    stages: list[JobStage] = []
    size = 0.0
    options = [*(f"{command}:gres=gpu:{gpus}" for command in _NETWORKS if gpus), *options]
    for request in requests:
        if request.there and not stages:
            continue
        words = list(request.words)
        if request.there and not was_planned(run, request.command, words):
            raise InputError("{}: exists already; use {overwrite} with {}", request.out, request.command)
        if request.there:  # an earlier submission made it from what is computed again now
            words.append("--overwrite")
        stage = JobStage(request.command, words, str(request.out.absolute()), cpus=request.cpus)
        if request.command in STAGES:
            if request.checked and not stages and stage.is_complete():
                continue
            stage.shards = max(1, min(tasks, request.most or tasks))
            stage.tasks = stage.missing_shards() if request.checked else list(range(1, stage.shards + 1))
            if stage.shards == 1:  # one job does it all
                stage.shards, stage.tasks = 0, []
            stage.done = stage.progress()
            if request.checked and request.command != "reproduce":  # its later steps list theirs when they begin
                folders = stage.folders()
                units = [unit for folder in folders for unit in folder.units]
                stage.units, stage.left = len(units), sum(not unit.done for unit in units)
                stage.unit = next((folder.unit for folder in folders if folder.unit), stage.unit)
        stage.options = _options(options, time, request)
        stages.append(stage)
        left = stage.left / stage.units if stage.units and stage.left is not None else 1.0
        size += left * request.size()
    _refuse_full(run, size)
    cwd, python = str(Path.cwd()), sys.executable
    return Plan(new_folder(run), scheduler, line, cwd, python, stages)


def _refuse_full(run: Path, size: float) -> None:
    """Refuse a run if its files do not fit on its disk. Quotas cannot be read."""
    folder = next(path for path in (run.absolute(), *run.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if size > free:
        needed = math.ceil(size / _MEGABYTE)
        raise InputError(
            "{}: {} MB are free, but the files take about {} MB; make room, or use another folder",
            folder, free // _MEGABYTE, needed,
        )  # fmt: skip


def describe(stage: JobStage) -> str:
    """Return in one line how a stage is divided, and how many units it has."""
    tasks = f"{counted(len(stage.tasks), 'task')} of {stage.shards} and a merge" if stage.shards else "one job"
    if not stage.units:
        return f"{stage.command}: {tasks}"
    number = counted(stage.units, stage.unit.removesuffix("s"))
    return f"{stage.command}: {tasks}; {number if stage.left == stage.units else f'{stage.left} of {number} left'}"


def _options(options: Sequence[str], time: str | None, request: Request) -> list[str]:
    chosen = [] if time is None else [f"--time={time}"]
    chosen += [] if request.cpus is None else [f"--cpus-per-task={request.cpus}"]
    for option in options:
        key, _, value = option.partition("=")
        command, colon, name = key.rpartition(":")
        if not name:
            raise InputError("{sbatch} {}: names no option of sbatch; write it as KEY=VALUE", repr(option))
        if name in _LIMITS:
            raise InputError("{sbatch} {}: give the limit of a task as {time}", option)
        if name in _OWN:
            raise InputError("{sbatch} {}: bchisto sets this itself; leave it out", option)
        if colon and command not in (*STAGES, *SINGLE):
            raise InputError("{sbatch} {}: {} is not a stage; give {}", option, command, ", ".join((*STAGES, *SINGLE)))
        if not colon or command == request.command:
            chosen.append(f"--{name}={value}" if "=" in option else f"--{name}")
    return chosen


def was_submitted(run: Path, command: str, words: Sequence[str]) -> bool:
    """Return whether the same command was submitted and checked before, and has finished units.

    Its tasks wrote the list of units. A machine of another kind, for example without a GPU, would list other keys.
    """
    return was_planned(run, command, words) and any(
        unit.done for folder in read_folders(run, command) for unit in folder.units
    )


def preview(plan: Plan) -> list[str]:
    """Return the scripts of a plan and the commands that submit them, as lines."""
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
    """Write the plan and submit it; wait for a local one. Return how many stages succeeded, or were submitted.

    Raises
    ------
    BchistoError
        Slurm refused it, or this machine has no Slurm.
    """
    if plan.scheduler == "slurm":
        slurm.refuse_without_sbatch(plan)
        plan.cluster = slurm.cluster_name()
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
