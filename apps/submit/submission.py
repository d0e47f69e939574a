"""Submissions of a run: how its stages are divided and submitted, and what the queue still holds of earlier ones."""

from __future__ import annotations

import itertools
import math
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core import BchistoError, InputError, Message, MissingInputError, counted
from ...core.jobs import UnderWayError, is_running, this_process, write_json
from . import scheduler
from .plan import MERGE, SINGLE, STAGES, JobStage, Plan, is_made, last_stages, read_plans, units_of

_MEGABYTE = 10**6

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

ENDS = "its log ends with:"

_LAST = 3
"""How many lines at the end of a log may be errors of one failure."""

_WAITING = frozenset({"PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})

_FAILED = re.compile(r"(error|stopped|slurmstepd\S*: error):(?!.* DUE TO JOB REQUEUE)")
"""Beginning of the last lines of a log: of a command or a job that failed, and of a task that stops for good."""


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
    stage.done = stage.progress()


def refuse_full(run: Path, size: float) -> None:
    """Refuse a run if its files do not fit on its disk. Quotas cannot be read."""
    folder = next(path for path in (run.absolute(), *run.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free // _MEGABYTE
    needed = math.ceil(size / _MEGABYTE)
    if needed > free:
        raise InputError(
            "{}: {} MB are free, but the files take about {} MB; make room, or use another folder",
            folder,
            free,
            needed,
        )


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
        plan, ended = scheduler.run(plan, processes=most)
    finally:
        plan.process = {}
        plan.write()
    return ended


@dataclass(frozen=True)
class Queued:
    """What the plan and the queue show of a stage.

    Attributes
    ----------
    stage : JobStage
    plan : Plan or None
        None if it was not submitted.
    tasks : mapping
        By shard or ``merge``, the state (running or queued) and the scheduler's reason.
    answered : bool or None
        Whether Slurm answered, so that only `tasks` run or wait; None if it got no job of it.
    is_abandoned : bool
        Whether it is its turn, but none of the tasks of its plan is in the queue any more, so that nothing continues.
    logs : tuple of Path
    """

    stage: JobStage
    plan: Plan | None = None
    tasks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    answered: bool | None = None
    is_abandoned: bool = False
    logs: tuple[Path, ...] = ()

    @property
    def log(self) -> Path | None:
        """The log to read: the last that ends in an error, or else in a stop, or else the last; None without logs."""
        failed = [path for path in self.logs if _failure(path)]
        errors = [path for path in failed if not _failure(path).startswith("stopped:")]
        for logs in (errors, failed, self.logs):
            if logs:
                return max(logs, key=lambda path: path.stat().st_mtime)
        return None

    def failure(self, task: str = "") -> str:
        """Return the error or the stop with which the log of a task ends, or else the log to read."""
        log = self.log
        if task:
            log = next((path for path in self.logs if path.stem.endswith(f"-{task}")), None)
        return _failure(log) if log else ""

    def end(self) -> str:
        """Return `failure`, or else the last line of the log, such as a shell's own words for what it cannot start."""
        log = self.log
        if log is None:
            return "no job is left that does it"
        failure = _failure(log)
        if failure:
            return failure
        line = _last_lines(log)[0]
        if line:
            return f"{ENDS} {line}"
        if self.plan is not None and self.plan.before:
            return Message(
                "no job is left that does it; a line of {submit.before:LINE} may have ended it"
            )
        return "no job is left that does it"


def _last_lines(log: Path) -> list[str]:
    """Return the last lines of a log, the last first; at least one, which may be empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return [line.strip() for line in lines[: -_LAST - 1 : -1]] or [""]


def _failure(log: Path) -> str:
    """Return the first of the errors at the end of a log: that of the command, before Slurm's."""
    errors = list(itertools.takewhile(_FAILED.match, _last_lines(log)))
    return errors[-1] if errors else ""


def ask(plans: Sequence[Plan]) -> Iterator[Queued]:
    """Yield, for each output, what its last plan and the queue show of it."""
    last = last_stages(plans)
    asked = [plan for plan in plans if any(stage in plan.stages for stage in last.values())]
    jobs = scheduler.queue(asked)
    for plan in plans:
        yield from _queued_of(plan, last, jobs)


def _queued_of(
    plan: Plan, last: Mapping[tuple[str, str], JobStage], jobs: Sequence[scheduler.Job] | None
) -> Iterator[Queued]:
    """Yield what a plan and the queue show of its stages, apart from those that were submitted again."""
    is_worked_on = bool(plan.process) and is_running(plan.process) is not False
    jobs_of_plan = [job for job in jobs or () if job.plan is plan]
    answered: bool | None = None
    if plan.scheduler == "slurm":
        answered = jobs is not None
        is_abandoned = answered and bool(plan.jobs) and not jobs_of_plan
    else:
        is_abandoned = not is_worked_on
    for position, stage in enumerate(plan.stages, start=1):
        if last[stage.command, stage.run] is not stage:
            continue
        tasks = _tasks_of(job for job in jobs_of_plan if job.stage is stage)
        if is_worked_on and not tasks and not stage.is_done():
            tasks = {MERGE: ("queued", "")}
        logs = tuple(plan.logs.glob(f"{position}-{stage.command}-*.log"))
        yield Queued(stage, plan, tasks, answered, is_abandoned, logs)
        # it is the turn of the next stage only if this one is done
        is_abandoned = is_abandoned and stage.is_done()


def _tasks_of(jobs: Iterable[scheduler.Job]) -> dict[str, tuple[str, str]]:
    """Return the state and the reason of tasks in the queue."""
    return {
        job.task: ("queued" if job.state in _WAITING else "running", job.reason) for job in jobs
    }


def refuse_live(run: Path, paths: Sequence[Path]) -> None:
    """Refuse a run if jobs of it that make one of these files or folders run or wait, or if that is not known.

    Raises
    ------
    UnderWayError
        They do; the message names them.
    BchistoError
        It is not known.
    """
    plans = [plan for plan in read_plans(run) if any(is_made(path, plan.stages) for path in paths)]
    for plan in plans:
        if plan.process and is_running(plan.process) is not False:
            pid = plan.process.get("pid")
            raise UnderWayError(
                "{}: a local submit works on it (process {}); wait, or use {cancel}", run, pid
            )
    waiting = scheduler.queue(plans)
    if waiting is None:
        text = (
            "{}: {} does not answer here whether earlier jobs still run; ask again, or use {force}"
        )
        raise InputError(text, run, _slurm_of(plans))
    numbers = _numbers(waiting)
    if numbers:
        text = "{}: its jobs {} are in the queue; wait for them, or use {cancel}"
        raise UnderWayError(text, run, ", ".join(numbers))


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
    waiting = scheduler.queue(plans)
    if waiting is None:
        numbers = sorted({job for plan in plans for job in plan.jobs})
        text = "{}: {} does not answer here whether its jobs run; on one of its machines type: {}"
        raise BchistoError(text, run, _slurm_of(plans), f"scancel {' '.join(numbers)}")
    local = [plan.process for plan in plans if plan.process]
    for process in local:
        if is_running(process) is None:
            raise BchistoError(
                f"{run}: a local submit was started on {process.get('host')}; cancel it on that machine"
            )
    for plan in plans:  # what begins at this moment does, and submits, nothing
        write_json(plan.folder / scheduler.CANCELLED, True)
    numbers = _numbers(waiting)
    scheduler.cancel(numbers)
    pids = [int(process["pid"]) for process in local if is_running(process)]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    return [*numbers, *(f"process {pid}" for pid in pids)]


def _numbers(jobs: Iterable[scheduler.Job]) -> list[str]:
    return sorted({job.number for job in jobs}, key=int)


def _slurm_of(plans: Sequence[Plan]) -> str:
    """Return the name of the Slurm that got the jobs of plans."""
    names = sorted({plan.cluster for plan in plans if plan.cluster})
    if not names:
        return "Slurm"
    return f"Slurm of cluster {', '.join(names)}"
