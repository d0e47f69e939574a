"""Plans what is missing as stages of shards, and submits them."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import InputError, Message, counted
from ..jobs import ensure_folder, format_seconds, this_process
from . import local, slurm
from .folders import read_folders
from .limits import check_time, lead_seconds, limit_of
from .plan import (
    MERGE,
    SINGLE,
    STAGES,
    JobStage,
    Plan,
    is_complete,
    missing_shards,
    new_folder,
    progress,
    was_planned,
)
from .scripts import script, write_scripts

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
class Length:
    """How long work takes one process.

    Attributes
    ----------
    unit : float
        Seconds of work that an interruption costs at most: a block, a model, an epoch of a network.
    whole : float or None
        Seconds of all of it; None if every unit takes `unit`.
    units : int or None
        Number of units, if there is no list of them yet.
    bytes : int
        Size of its files on the disk; 0 if not known.
    """

    unit: float
    whole: float | None = None
    units: int | None = None
    bytes: int = 0


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
    length : callable
        Returns how long the work takes without a GPU, or None if not known.
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
    length: Callable[[], Length | None] = lambda: None
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
        Limit of a task, as Slurm writes it; by default it follows from the time of its units, if known.
    line : str
        The command that submits the plan.

    Raises
    ------
    InputError
        An option that bchisto sets itself, a limit that is too short, or too little space.
    """
    stages: list[JobStage] = []
    size = 0.0
    options = [*(f"{command}:gres=gpu:{gpus}" for command in _NETWORKS if gpus), *options]
    for request in requests:
        if request.there and not stages:
            continue
        words = list(request.words)
        if request.there and not was_planned(run, request.command, words):
            raise InputError(Message("{}: exists already; use {overwrite} with {}", request.out, request.command))
        if request.there:  # an earlier submission made it from what is computed again now
            words.append("--overwrite")
        stage = JobStage(request.command, words, str(request.out.absolute()), cpus=request.cpus)
        if request.command in STAGES:
            if request.checked and not stages and is_complete(stage):
                continue
            length = request.length()
            most = request.most or (length.units if length is not None else None)
            stage.shards = max(1, min(tasks, most or tasks))
            stage.tasks = missing_shards(stage) if request.checked else list(range(1, stage.shards + 1))
            if stage.shards == 1:  # one job does it all
                stage.shards, stage.tasks = 0, []
            stage.done = progress(stage)
        else:
            length = request.length()
        unit = None if length is None else length.unit
        stage.lead = lead_seconds(unit)
        asked = any("gpu" in option for option in _options(options, None, request))
        stage.on_gpu = asked and request.command in _NETWORKS
        if time is not None:  # a GPU takes less, by a factor that is not known here
            check_time(time, request.command, None if stage.on_gpu else unit)
        stage.options = _options(options, time or _limit(length, request, stage), request)
        _count(stage, length, request)
        stages.append(stage)
        left = stage.left / stage.units if stage.units and stage.left is not None else 1.0
        size += left * (length.bytes if length is not None else 0)
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


def _limit(length: Length | None, request: Request, stage: JobStage) -> str | None:
    """Return the limit of a task by the time of its units; None if not known."""
    if length is None or request.command not in STAGES or (length.whole is None and request.most is None):
        return None
    units = request.most if length.whole is None else length.whole / max(length.unit, 1e-3)
    each = math.ceil((units or 0) / max(1, stage.shards) / (request.cpus or 1))
    return limit_of(length.unit, each, most_known=stage.on_gpu)


def _count(stage: JobStage, length: Length | None, request: Request) -> None:
    """Set how many units a stage has, how many are left, and how long these take."""
    folders = list(read_folders(Path(stage.run), stage.command)) if stage.command in STAGES and request.checked else []
    units = [unit for folder in folders for unit in folder.units]
    listed = 0 if stage.command == "reproduce" else len(units)  # its later steps list theirs when they begin
    stage.units = listed or (length.units if length is not None else request.most)
    stage.left = stage.units if stage.units is None else max(0, stage.units - sum(unit.done for unit in units))
    kind = "images" if stage.command in SINGLE else "units"
    stage.unit = next((folder.unit for folder in folders if listed and folder.unit), kind)
    if length is not None:
        whole = length.unit * (stage.units or 0) if length.whole is None else length.whole
        stage.seconds = whole if not stage.units or stage.left is None else whole * stage.left / stage.units


def describe(stage: JobStage) -> str:
    """Return in one line how a stage is divided, how many units it has, and how long they take."""
    tasks = f"{counted(len(stage.tasks), 'task')} of {stage.shards} and a merge" if stage.shards else "one job"
    parts = [f"{stage.command}: {tasks}"]
    if stage.units is not None:
        number = counted(stage.units, stage.unit.removesuffix("s"))
        parts.append(number if stage.left == stage.units else f"{stage.left} of {number} left")
    if stage.left == 0:
        return "; ".join(parts)
    if stage.seconds is None:
        return "; ".join([*parts, "time not known before the first part"])
    how = "one process" + (" without a GPU" if stage.on_gpu else "")
    processes = max(1, len(stage.tasks)) * (stage.cpus or 1)
    side = ""
    if stage.left is not None and stage.shards and processes > 1:
        together = math.ceil(stage.left / processes) * stage.seconds / stage.left
        side = f", {format_seconds(together)} side by side"
    return "; ".join([*parts, f"about {format_seconds(stage.seconds)} in {how}{side}"])


def _options(options: Sequence[str], time: str | None, request: Request) -> list[str]:
    chosen = [] if time is None else [f"--time={time}"]
    chosen += [] if request.cpus is None else [f"--cpus-per-task={request.cpus}"]
    for option in options:
        key, _, value = option.partition("=")
        command, colon, name = key.rpartition(":")
        if not name:
            raise InputError("{sbatch} {}: names no option of sbatch; write it as KEY=VALUE", repr(option))
        if name in _LIMITS:
            raise InputError("{sbatch} {}: give the limit of a task as {time}, which is checked", option)
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
