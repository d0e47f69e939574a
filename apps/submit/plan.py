"""The plan of a chain of jobs, and folders of work: which of their units are done."""

from __future__ import annotations

import datetime
import secrets
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ...core import DAMAGE, Entries, InputError
from ...core.formats import read_json
from ...core.jobs import atomic_output, ensure_folder, write_json
from ...core.runs import RunEntry, read_ending, read_entries, read_listing


class Unit(NamedTuple):
    """A unit of a folder.

    Attributes
    ----------
    done : bool
        Whether its file exists.
    epochs : int
        Number of saved epochs of the fold of a network.
    """

    done: bool
    epochs: int


@dataclass(frozen=True)
class Folder:
    """A feature file, or a cross-validation scheme with its classifier or network.

    Attributes
    ----------
    name : str
    complete : bool
        Whether its units are merged.
    unit : str
        Name of the units, in the plural.
    groups : tuple of tuple of Unit
        Units as shards share them; empty if all is merged.
    """

    name: str
    complete: bool
    unit: str = ""
    groups: tuple[tuple[Unit, ...], ...] = ()


def units_of(folders: Iterable[Folder], shard: int = 1, shards: int = 1) -> list[Unit]:
    """Return the units of folders that belong to a shard, counted from 1; by default all units."""
    return [
        unit for folder in folders for group in folder.groups[shard - 1 :: shards] for unit in group
    ]


def read_folders(run: Path, command: str) -> Iterator[Folder]:
    """Yield the folders of a command's work in a run, by name.

    Raises
    ------
    InputError
        A list of units is damaged.
    """
    if command == "reproduce":
        yield Folder(command, any(run.glob("reproduce/*/report.html")))
        yield from _folders_of_recipe(run)
    elif command == "map":
        if (run / "blocks").is_dir():
            yield _read(run / "blocks", command, complete=(run / "slides.csv").is_file())
    elif command == "featurize":
        stores = {path.stem for path in run.glob("features/*.h5")}
        parts = {path.stem for path in run.glob("features/*.parts/")}
        for name in sorted(stores | parts):
            yield _read(run / "features" / f"{name}.parts", name, complete=name in stores)
    else:
        for path in sorted(run.glob(f"{command}/*/settings.json")):
            folder = path.parent
            yield _read(folder, folder.name, complete=(folder / "model.bchisto").is_file())


def _folders_of_recipe(run: Path) -> Iterator[Folder]:
    """Yield the folders of a recipe's steps, also those of its magnifications and seeds."""
    records = (*sorted(run.glob("*/run.json")), *sorted(run.glob("*/*/run.json")))
    for part in (run, *(path.parent for path in records)):
        for step in ("featurize", "boost", "finetune"):
            for folder in read_folders(part, step):
                name = (part.relative_to(run) / step / folder.name).as_posix()
                yield replace(folder, name=name)


def _read(path: Path, name: str, *, complete: bool) -> Folder:
    """Return a folder with the units that its listing has, if it has one."""
    listing = read_listing(path)
    if listing is None:
        return Folder(name, complete)
    unit, files = listing
    groups = tuple(
        tuple(Unit(not file or (path / file).is_file(), _epochs(path, file)) for file in group)
        for group in files
    )
    return Folder(name, False, unit, groups)


def _epochs(folder: Path, file: str) -> int:
    """Return the saved epochs of a fold of a network, which has a line for each in its log; 0 for other units."""
    log = folder / "logs" / f"{Path(file).name.partition('-')[0]}.csv"
    if folder.parent.name != "finetune" or not log.is_file():
        return 0
    return max(0, log.read_bytes().count(b"\n") - 1)


STAGES = ("featurize", "boost", "finetune", "reproduce", "map")
"""Commands whose work consists of units, which shards divide."""

SINGLE = ("evaluate", "predict", "explain")
"""Commands that one job does."""


def typed(command: str) -> str:
    """Return the words by which a command is called."""
    return "slides map" if command == "map" else command


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
    megabytes : int
        Memory that a process of it took when it was checked; 0 if that is not known.
    seen : str or None
        Start of its last record when it was submitted, empty without a record; None if it was not submitted.
    stores : list of str
        For `featurize`, the feature files that it makes, relative to the run.
    rank : int
        Number of stages of the same command and output before it in the plan.
    position : int
        Its place in the plan, from 0.
    """

    command: str
    words: list[str]
    run: str
    cpus: int | None = None
    shards: int = 0
    tasks: list[int] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    megabytes: int = 0
    seen: str | None = None
    stores: list[str] = field(default_factory=list)
    rank: int = 0
    position: int = 0

    @property
    def label(self) -> str:
        """The beginning of the names of its files."""
        return f"{self.position + 1}-{self.command}"

    @property
    def output(self) -> Path:
        """The file or folder that it makes."""
        within = {"featurize": "features", "boost": "boost", "finetune": "finetune"}
        return Path(self.run, within.get(self.command, ""))

    @property
    def listed(self) -> Path:
        """The list of the images that it left out, of `explain` that of one of its methods."""
        if self.command == "predict":
            return Path(f"{self.run}.failures.csv")
        patterns = {"finetune": "finetune/failures.csv", "explain": "*/failures.csv"}
        pattern = patterns.get(self.command, "failures.csv")
        return next(Path(self.run).glob(pattern), Path(self.run))

    def folders(self) -> list[Folder]:
        """Return its folders, as they are now."""
        if self.command not in STAGES:
            return []
        return list(read_folders(Path(self.run), self.command))

    def units(self) -> list[Unit]:
        """Return the units of its folders."""
        return units_of(self.folders())

    def missing_shards(self) -> list[int]:
        """Return its shards that lack units: all if it has no list of units yet, none if it is complete."""
        folders = self.folders()
        is_listed = any(folder.groups or folder.complete for folder in folders)
        return [
            shard
            for shard in range(1, self.shards + 1)
            if not is_listed or not all(unit.done for unit in units_of(folders, shard, self.shards))
        ]

    def is_complete(self) -> bool:
        """Return whether all its folders are merged."""
        folders = self.folders()
        return bool(folders) and all(folder.complete for folder in folders)

    def records(self) -> list[RunEntry]:
        """Return the records of its command, oldest first."""
        entries: list[RunEntry] = []
        # the output is a folder, or a table
        for path in (Path(self.run, "run.json"), Path(f"{self.run}.run.json")):
            if path.is_file():
                entries += read_entries(path)
        return [entry for entry in entries if entry.command == self.command]

    def since(self) -> list[RunEntry]:
        """Return the records of its command that began since it was submitted; all if it was not."""
        entries = self.records()
        start = 0
        for position, entry in enumerate(entries, start=1):
            if entry.started == self.seen:
                start = position
        return entries[start:]

    def is_done(self) -> bool:
        """Return whether its outputs are there and, if it was submitted, whether it ended well since then."""
        statuses = [entry.status for entry in self.since() if not entry.shard]
        if self.command in SINGLE:
            return statuses[-1:] == ["ok"] and statuses.count("ok") > self.rank
        return self.is_complete() and (self.seen is None or statuses.count("ok") > self.rank)

    def left_out(self) -> int:
        """Return how many images its last call left out since it was submitted; 0 if it failed."""
        entries = self.since()
        if not entries or entries[-1].status != "ok":
            return 0
        return int(entries[-1].notes.get("failures", 0))

    def progress(self, task: str = MERGE) -> int:
        """Return how much of a task is done, as a number that grows: of units or files, and of epochs of networks."""
        folders = self.folders()
        if self.shards:
            units = units_of(folders)
            if task != MERGE:
                units = units_of(folders, int(task), self.shards)
            count = sum(folder.complete for folder in folders)
            return sum(unit.done + unit.epochs for unit in units) + count
        output = Path(self.run)
        files = 0
        for path in (*output.rglob("*"), *Path(f"{self.run}.parts").rglob("*")):
            files += path.relative_to(output.parent).parts[1] not in ("jobs", "records")
        return files + sum(unit.epochs for unit in units_of(folders))


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
        Working directory; what starts Python in a task, for a shell.
    stages : list of JobStage
    before : list of str
        Lines of a shell before the command.
    at_once : int, optional
        Number of tasks of an array that run at the same time; all if it is None.
    process : mapping
        For a local plan the process that works on it, see `bchisto.core.jobs.this_process`.
    cluster : str
        Name of the cluster that got its jobs; empty for a local plan, or if Slurm did not tell it.
    schema_version : int
        Version of the form of ``plan.json``.
    """

    folder: Path
    scheduler: str
    line: str
    cwd: str
    python: str
    stages: list[JobStage] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    at_once: int | None = None
    process: Entries = field(default_factory=dict)
    cluster: str = ""
    schema_version: int = 1

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder.parent.parent

    @property
    def logs(self) -> Path:
        """The folder of the logs of tasks."""
        return self.folder / "logs"

    @property
    def jobs(self) -> list[str]:
        """The numbers of all jobs."""
        return [job for stage in self.stages for job in stage.jobs]

    def log(self, stage: JobStage, task: str) -> Path:
        """Return the log of a task of a stage."""
        return self.logs / f"{stage.label}-{task}.log"

    def ending(self, stage: JobStage, task: str) -> Path:
        """Return the file with the error of a task of a stage, which is only there if it failed."""
        return self.log(stage, task).with_suffix(".json")

    def errors(self, stage: JobStage) -> dict[str, str]:
        """Return the errors with which tasks of a stage failed; that of `MERGE` is the last."""
        paths = sorted(self.logs.glob(f"{stage.label}-*.json"))
        return {path.stem.rpartition("-")[2]: read_ending(path) for path in paths}

    def logs_of(self, stage: JobStage) -> list[Path]:
        """Return the logs of a stage that were written, the latest last."""
        paths = self.logs.glob(f"{stage.label}-*.log")
        return sorted(paths, key=lambda path: path.stat().st_mtime)

    def script(self, stage: JobStage) -> Path:
        """Return the path of the job script of a stage."""
        return self.folder / f"{stage.label}.sh"

    def lines(self, stage: JobStage) -> list[str]:
        """Return the script of a stage. Its argument is the task; by default the shard with the array's task number."""
        use = f"one job, the task {MERGE}, does it:"
        if stage.shards:
            use = f"task K does shard K of {stage.shards}, and the task {MERGE} puts them together:"
        command = f"cd -- {shlex.quote(self.cwd)} || exit 1"
        return [
            "#!/bin/bash",
            f"# Stage {stage.position + 1} of {len(self.stages)}, written by bchisto submit; {use}",
            f"# bchisto {typed(stage.command)} {shlex.join(stage.words)}".replace("\n", " "),
            command,
            *self.before,
            command,  # again, since a line before may change the folder
            f"exec {self.python} -m bchisto.apps.submit {shlex.quote(str(self.folder))} {stage.position} "
            '"${1:-$SLURM_ARRAY_TASK_ID}"',
        ]

    def write(self) -> None:
        """Write the scripts and ``plan.json``. Outputs in the run are relative to it, because a run can be moved."""
        ensure_folder(self.logs)
        for stage in self.stages:
            script = self.script(stage)
            if not script.is_file():  # else a task may read it at this moment
                with atomic_output(script) as draft:
                    draft.write_text("\n".join(self.lines(stage)) + "\n", encoding="utf-8")
        content = asdict(self)
        del content["folder"]
        for values in content["stages"]:
            output = Path(values["run"])
            if output.is_relative_to(self.run):
                values["run"] = str(output.relative_to(self.run))
        write_json(self.folder / "plan.json", content)


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
    try:
        content = read_json(folder / "plan.json")
        stages = [JobStage(**stage) for stage in content.pop("stages")]
        for position, stage in enumerate(stages):
            stage.position = position
            stage.run = str(folder.parent.parent / stage.run)
        content["process"] = dict(content["process"])
        return Plan(folder=folder, stages=stages, **content)
    except DAMAGE as error:
        raise InputError(
            f"{folder / 'plan.json'}: not a plan of bchisto submit; remove this folder"
        ) from error


def read_plans(run: Path) -> list[Plan]:
    """Return the plans of a run, oldest first."""
    return [read_plan(path.parent) for path in sorted(run.glob("jobs/*/plan.json"))]


def is_made(path: Path, stages: Iterable[JobStage]) -> bool:
    """Return whether stages make a file or folder, or a part of it."""
    absolute = path.absolute()
    outputs = (stage.output.absolute() for stage in stages)
    return any(
        absolute.is_relative_to(output) or output.is_relative_to(absolute) for output in outputs
    )


def last_stages(plans: Iterable[Plan]) -> dict[tuple[str, str], JobStage]:
    """Return, by command and output, the stage that was last submitted."""
    return {(stage.command, stage.run): stage for plan in plans for stage in plan.stages}
