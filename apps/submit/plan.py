"""The plan of a chain of jobs: each stage is an array of shards and a job that merges them."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...core import InputError
from ...core.formats import read_json
from ...core.jobs import write_json
from .folders import read_folders

_SCHEMA = 1

STAGES = ("featurize", "boost", "finetune", "reproduce")
"""Commands whose work consists of units, which shards divide."""

SINGLE = ("evaluate", "predict", "explain")
"""Commands that one job does."""

MERGE = "merge"
"""The task of a stage that is not a shard: it does what is left, and merges."""


@dataclass
class JobStage:
    """One command of a plan.

    Attributes
    ----------
    command : str
    words : list of str
        Its options as typed.
    run : str
        Its output: a folder, or the table of `predict`.
    cpus : int or None
        Number of processes of a task, if `--jobs` was given.
    shards : int
        Number of shards; 0 for one job.
    tasks : list of int
        The shards that are submitted.
    jobs : list of str
        Numbers of the array, if there is one, and of the job that merges.
    options : list of str
        Options of the scheduler.
    done, idle : int
        Number of units that were done at the last submission, and of submissions in sequence that added none.
    units, left : int or None
        Number of units, and of those that were missing when it was planned, if they were listed.
    unit : str
        Name of the units, in the plural.
    """

    command: str
    words: list[str]
    run: str
    cpus: int | None = None
    shards: int = 0
    tasks: list[int] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    done: int = 0
    idle: int = 0
    units: int | None = None
    left: int | None = None
    unit: str = "units"


@dataclass
class Plan:
    """A chain of stages.

    Attributes
    ----------
    folder : Path
        ``RUN/jobs/<id>``: scripts, logs and ``plan.json``.
    scheduler : {"slurm", "local"}
    line : str
        The command that submits it again, for a shell.
    cwd, python : str
        Working directory, and the Python interpreter.
    stages : list of JobStage
    process : mapping
        For a local plan the process that works on it, see `bchisto.core.jobs.this_process`.
    cluster : str
        Name of the cluster that got its jobs; empty for a local plan, or if Slurm did not tell it.
    """

    folder: Path
    scheduler: str
    line: str
    cwd: str
    python: str
    stages: list[JobStage]
    process: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""

    @property
    def logs(self) -> Path:
        """The folder of the logs of tasks."""
        return self.folder / "logs"

    @property
    def jobs(self) -> list[str]:
        """The numbers of all jobs."""
        return [job for stage in self.stages for job in stage.jobs]

    def script(self, number: int) -> Path:
        """Return the job script of a stage."""
        return self.folder / f"{number + 1}-{self.stages[number].command}.sh"

    def write(self) -> None:
        """Write ``plan.json``. Outputs in the run are relative to it, because a run can be moved."""
        content, run = asdict(self), self.folder.parent.parent
        del content["folder"]
        for stage in content["stages"]:
            output = Path(stage["run"])
            stage["run"] = str(output.relative_to(run)) if output.is_relative_to(run) else stage["run"]
        write_json(self.folder / "plan.json", {"schema_version": _SCHEMA, **content})


def new_folder(run: Path) -> Path:
    """Return the folder of a new plan. It sorts after the folders of earlier plans."""
    now = datetime.datetime.now(datetime.UTC)
    return run.absolute() / "jobs" / f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def read_plan(folder: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    InputError
        The file is not a plan.
    """
    content = read_json(folder / "plan.json")
    try:
        del content["schema_version"]
        stages = [JobStage(**stage) for stage in content.pop("stages")]
        for stage in stages:
            stage.run = str(folder.parent.parent / stage.run)
        return Plan(folder=folder, stages=stages, **content)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{folder / 'plan.json'}: not a plan of bchisto submit; remove this folder") from error


def read_plans(run: Path) -> list[Plan]:
    """Return the plans of a run, oldest first."""
    return [read_plan(path.parent) for path in sorted(run.glob("jobs/*/plan.json"))]


def was_planned(run: Path, command: str, words: Sequence[str]) -> bool:
    """Return whether the same command was submitted before."""
    stages = (stage for plan in read_plans(run) for stage in plan.stages)
    return any((stage.command, stage.words) == (command, list(words)) for stage in stages)


def missing_shards(stage: JobStage) -> list[int]:
    """Return the shards of a stage that lack units: all if it has no list of units yet, none if it is complete."""
    folders = list(read_folders(Path(stage.run), stage.command))
    if not any(folder.groups or folder.complete for folder in folders):
        return list(range(1, stage.shards + 1))
    return [
        shard
        for shard in range(1, stage.shards + 1)
        if any(not unit.done for folder in folders for unit in folder.of_shard(shard, stage.shards))
    ]


def is_complete(stage: JobStage) -> bool:
    """Return whether all folders of a stage are merged."""
    folders = list(read_folders(Path(stage.run), stage.command))
    return bool(folders) and all(folder.complete for folder in folders)


def progress(stage: JobStage, task: str = MERGE) -> int:
    """Return how much of a task is done, as a number that grows: of units or files, and of epochs of networks."""
    folders = list(read_folders(Path(stage.run), stage.command)) if stage.command in STAGES else []
    index, count = (1, 1) if task == MERGE else (int(task), stage.shards)
    units = [unit for folder in folders for unit in folder.of_shard(index, count)]
    epochs = sum(unit.epochs for unit in units)
    if not stage.shards:
        apart = ("jobs", "records")
        output, parts = Path(stage.run), Path(f"{stage.run}.parts")
        files = (path.relative_to(output.parent).parts for path in (*output.rglob("*"), *parts.rglob("*")))
        return sum(names[1] not in apart for names in files) + epochs
    return sum(unit.done for unit in units) + epochs + sum(folder.complete for folder in folders)
