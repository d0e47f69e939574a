"""What is submitted of a chain: each command is checked, and becomes a stage of the plan unless its work is complete.

A stage is checked by a process of its own, as its tasks would be, which lists its units. If it needs what a stage of
the plan makes, only its options and paths can be checked.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess  # nosec B404
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ...core import (
    BchistoError,
    Entries,
    InputError,
    MissingInputError,
    Settings,
    Texts,
    Write,
    counted,
    from_options,
    in_python,
    option,
    reworded,
    written,
)
from ...core.jobs import NOTHING_NEW, UnderWayError, is_running, write_json
from ...core.runs import ENDING, read_ending, read_entries
from ...evaluate.report import is_evaluated
from . import scheduler
from .plan import SINGLE, STAGES, JobStage, Plan, is_made, last_stages, read_plans, typed, units_of

if TYPE_CHECKING:
    from ...data import Dataset

Made: TypeAlias = dict[Path, list[Path]]
"""Folder of features to the files in it that the `featurize` of a chain makes."""


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


@dataclass(frozen=True, eq=False)
class StageCommand:
    """A command of a chain.

    Attributes
    ----------
    name : str
        One of `STAGES` or `SINGLE`.
    words : list of str
        Its options as typed.
    options : mapping
        The values of all its options, by the names of their parameters.
    inputs : sequence of Path
        The files and folders that it reads.
    write : callable
        Writes the names of its parameters in messages.
    """

    name: str
    words: list[str]
    options: Entries
    inputs: Sequence[Path]
    write: Write = in_python

    @property
    def out(self) -> Path:
        """The file or folder that it makes."""
        return Path(self.options["out"])

    @functools.cached_property
    def images(self) -> Dataset:
        """The table of images that it selects, which is read once."""
        from ...data import ImageSelection

        return from_options(ImageSelection, self.options).table()

    def reword(self, text: str) -> str:
        """Return the message of an error of this command, which names it."""
        return f"{self.name}: {written(text, self.write)}"


@dataclass(frozen=True)
class TaskOptions(Settings):
    """Options for every task of a chain."""

    tasks: int = option(8, least=1, most=1000, help="Shards of a stage, at most.")
    time: str | None = option(
        None,
        help="Limit of a task as for sbatch; a task that reaches it is submitted again. Default: the partition's.",
    )
    gpus: int = option(0, least=0, help="GPUs of each task that computes networks.")
    sbatch: Texts = option(
        (),
        metavar="[COMMAND:]KEY=VALUE",
        help="Any option of sbatch, for every stage or that of COMMAND: featurize:gres=gpu:1.",
    )


def plan_chain(
    plan: Plan, commands: Sequence[StageCommand], asked: TaskOptions, *, warn: Callable[[str], None]
) -> list[str]:
    """Check commands as their tasks would, and add a stage to the plan for each that is not complete.

    Parameters
    ----------
    plan : Plan
        Its stages and its cluster are set.
    commands : sequence of StageCommand
        In the order in which they run.
    asked : TaskOptions
    warn : callable
        Gets each line that the check of a command prints.

    Returns
    -------
    list of str
        A line for each stage of the plan.

    Raises
    ------
    InputError, BchistoError
        A command is refused, as every task of its stage would be.
    """
    cluster = scheduler.settings() if plan.scheduler == "slurm" else {}
    plan.cluster = cluster.get("ClusterName", "")
    most_shards = min(asked.tasks, int(cluster.get("MaxArraySize", 1001)) - 1)
    submissions = last_stages(read_plans(plan.run))
    lines = []
    made: Made = {}
    for number, command in enumerate(commands):
        stage = _stage_of(command, plan.stages, asked, made)
        previous = submissions.get((stage.command, stage.run))
        # with the options of the last submission, its memory and feature files hold
        repeats = False
        if previous is not None and previous.words in (stage.words, [*stage.words, "--overwrite"]):
            repeats = True
            stage.megabytes = previous.megabytes
            stage.stores = previous.stores
        # what a stage before it makes does not exist yet, so only options and paths are checked
        waits = any(is_made(path, plan.stages) for path in command.inputs)
        with reworded(command.reword):
            stage.words += _replacing(command, repeats=repeats, waits=waits)
            if waits:
                _check_waiting(command, plan.stages, commands[:number], made)
        is_complete = False
        if not waits:
            has_work = _check(stage, warn, repeats=repeats)
            is_complete = _is_complete(stage, previous, has_work=has_work)
        made[stage.output] = [Path(stage.run, name) for name in sorted(stage.stores)]
        stage.options += scheduler.memory(cluster, stage)
        stage.seen = next((entry.started for entry in reversed(stage.records())), "")
        if is_complete:
            continue
        if stage.command in STAGES:
            divide(stage, most_shards, listed=not waits)
        stage.position = len(plan.stages)
        plan.stages.append(stage)
        # later steps of `reproduce` have other units
        lines.append(describe(stage, listed=not waits and stage.command != "reproduce"))
    return lines


def _stage_of(
    command: StageCommand, stages: Sequence[JobStage], asked: TaskOptions, made: Made
) -> JobStage:
    """Return a command as the stage that follows others, not divided yet."""
    run = str(command.out.absolute())
    words = _naming(command, made)
    stage = JobStage(command.name, words, run, cpus=command.options.get("jobs"))
    stage.options = options_of(stage, asked)
    stage.rank = sum((other.command, other.run) == (command.name, run) for other in stages)
    return stage


def _naming(command: StageCommand, made: Made) -> list[str]:
    """Return the words of a command; those of `boost` name the feature files of a folder that the chain fills.

    The folder may also hold files of earlier commands.
    """
    features = _features_of(command, made)
    if not features:
        return [*command.words]
    words: list[str] = []
    for word in command.words:
        if words[-1:] == ["--features"]:
            words.pop()
        elif not word.startswith("--features="):
            words.append(word)
    for path in features:
        words += ["--features", str(path)]
    return words


def _features_of(command: StageCommand, made: Made) -> list[Path]:
    """Return the features that `boost` is to read, if the chain makes some of them; else none."""
    if command.name != "boost":
        return []
    folders = command.options["features"]
    if not folders:
        folders = [command.out / "features"]
    if not any(made.get(path.absolute()) for path in folders):
        return []
    return [file for path in folders for file in made.get(path.absolute(), [path])]


def _replacing(command: StageCommand, *, repeats: bool, waits: bool) -> list[str]:
    """Return the options that let a command replace earlier outputs; `predict` replaces only rows that changed.

    Raises
    ------
    InputError
        Somebody else's evaluation would be replaced.
    """
    name = command.name
    if name not in ("predict", "evaluate", "explain") or command.options["overwrite"]:
        return []
    if name == "predict":
        return [] if command.options["update"] else ["--update"]
    if repeats and (waits or name == "evaluate"):
        return ["--overwrite"]
    if waits and name == "evaluate" and is_evaluated(command.out):
        raise InputError("{}: exists already; use {overwrite} with evaluate", command.out)
    return []


def _is_complete(stage: JobStage, earlier: JobStage | None, *, has_work: bool) -> bool:
    """Return whether nothing of a stage has to be submitted, by its last submission and by what its check returned."""
    if earlier is not None and not earlier.is_done():
        return False  # its jobs failed, or were cancelled
    if has_work and stage.command in ("featurize", "map", *SINGLE):
        return False
    return stage.command in SINGLE or stage.is_complete()


def _check(stage: JobStage, warn: Callable[[str], None], *, repeats: bool) -> bool:
    """Run only the checks of a command, pass its warnings on, and note its memory, unless an earlier submission did.

    Parameters
    ----------
    stage : JobStage
    warn : callable
    repeats : bool
        Whether its last submission had the same options.

    Returns
    -------
    bool
        Whether there is something to do.
    """
    command = stage.command
    # tasks listed the units; a machine of another kind would list other keys
    if repeats and any(unit.done for unit in stage.units()):
        return True
    words = [sys.executable, "-m", "bchisto", *typed(command).split(), "--check"]
    if command in STAGES:
        words += ["--shard", "1/1"]  # so that nothing is merged
    with tempfile.TemporaryDirectory() as folder:
        ending = Path(folder) / "ending.json"
        with subprocess.Popen(  # nosec B603
            [*words, *stage.words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, ENDING: str(ending)},
        ) as process:
            assert process.stderr is not None
            lines = process.stderr.read().splitlines()
            _, status, usage = os.wait4(process.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            process.returncode = code
        cause = read_ending(ending)
    if code not in (0, NOTHING_NEW):
        error = InputError if code == InputError.exit_code else BchistoError
        raise error(f"{command}: {cause or f'ended with {code}'}")
    for line in lines:
        warn(line)
    if command == "featurize":
        checks = [
            entry
            for entry in read_entries(Path(stage.run, "run.json"))
            if entry.command == "submit"
        ]
        stage.stores = checks[-1].notes["stores"]
    stage.megabytes = 0
    if command in ("featurize", "predict"):
        stage.megabytes = usage.ru_maxrss // 1000
    return code != NOTHING_NEW


def _check_waiting(
    command: StageCommand, stages: Sequence[JobStage], earlier: Sequence[StageCommand], made: Made
) -> None:
    """Check paths and options of a command without what the stages of the plan before it make.

    Parameters
    ----------
    command : StageCommand
    stages : sequence of JobStage
        The stages of the plan before it.
    earlier : sequence of StageCommand
        The commands before it.
    made : mapping
        The feature files that they make, by folder.
    """
    from ...boost import FeatureChoice, check_before_features
    from ...evaluate import Aggregation, TableChoice, TwoClassView
    from ...predict import PredictSettings
    from ..explain import ExplainSettings, settings_of

    for path in command.inputs:
        if not path.exists() and not is_made(path, stages):
            raise MissingInputError(
                f"{path}: no such file or folder, and no earlier stage makes it; check the path"
            )
    options = command.options
    kinds = {
        "boost": (FeatureChoice,),
        "evaluate": (Aggregation, TableChoice, TwoClassView),
        "predict": (PredictSettings,),
    }
    for kind in kinds.get(command.name, ()):
        from_options(kind, options)
    if command.name == "explain" and options["method"]:
        settings_of(options["method"], from_options(ExplainSettings, options))
    training = {item.name: item for item in earlier}
    if command.name == "boost" and "featurize" in training:
        images = training["featurize"].images
        from_options(TwoClassView, options).check(images.classes)
        from_options(
            check_before_features,
            options,
            run=command.out,
            records=images.records,
            stores={path.stem for path in _features_of(command, made)},
        )
    # a table that exists may have other classes
    elif command.name == "evaluate" and all(is_made(path, stages) for path in options["sources"]):
        source = training.get("featurize", training.get("finetune"))
        if source is not None:
            from_options(TwoClassView, options).check(source.images.classes)


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
    count = counted(len(units), folders[0].unit.removesuffix("s"))
    if missing < len(units):
        count = f"{missing} of {count} left"
    return f"{stage.command}: {division}; {count}"


def options_of(stage: JobStage, asked: TaskOptions) -> list[str]:
    """Return the options of sbatch for a stage.

    Raises
    ------
    InputError
        There is an option that bchisto sets itself, or for a command that is not a stage.
    """
    options = []
    if asked.time is not None:
        options.append(f"--time={asked.time}")
    if stage.cpus is not None:
        options.append(f"--cpus-per-task={stage.cpus}")
    if asked.gpus and stage.command in _NETWORKS:
        options.append(f"--gres=gpu:{asked.gpus}")
    for text in asked.sbatch:
        command, name = _read_option(text)
        if command in (None, stage.command):
            _, equals, value = text.partition("=")
            options.append(f"--{name}{equals}{value}")
    return options


def _read_option(text: str) -> tuple[str | None, str]:
    """Return the command that an option is for, or None for every one, and the name of the option.

    Raises
    ------
    InputError
        See `options_of`.
    """
    command, colon, name = text.partition("=")[0].rpartition(":")
    if not name:
        raise InputError(
            "{sbatch} {}: names no option of sbatch; write it as KEY=VALUE", repr(text)
        )
    if name in _SET_HERE:
        raise InputError("{sbatch} {}: bchisto sets this itself; leave it out", text)
    if not colon:
        return None, name
    commands = (*STAGES, *SINGLE)
    if command not in commands:
        raise InputError(
            "{sbatch} {}: {} is not a stage; give {}", text, command, ", ".join(commands)
        )
    return command, name


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
    for plan in plans:  # so that a task or submit that begins at this moment does nothing
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
