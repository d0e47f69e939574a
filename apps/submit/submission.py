"""Submissions of a run: how its stages are divided and submitted, and what the queue still holds of earlier ones."""

from __future__ import annotations

import functools
import os
import shlex
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core import BchistoError, InputError, MissingInputError, counted
from ...core.jobs import UnderWayError, is_running, this_process, write_json
from . import scheduler
from .plan import MERGE, SINGLE, STAGES, JobStage, Plan, is_made, last_stages, read_plans, units_of

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

_WAITING = frozenset({"PENDING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})


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
    position : int
        Of the stage in the plan.
    """

    stage: JobStage
    plan: Plan | None = None
    tasks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    answered: bool | None = None
    is_abandoned: bool = False
    position: int = 0

    @functools.cached_property
    def errors(self) -> dict[str, str]:
        """The error of each task that failed; that of `MERGE` is the last."""
        return self.plan.errors(self.position) if self.plan else {}

    @property
    def last_task(self) -> str:
        """The task to read of: one that failed, or else the one that merges."""
        return next(reversed(self.errors), MERGE)

    def log(self, task: str) -> Path | None:
        """Return the log of a task, or else the last log; None without any."""
        if self.plan is None:
            return None
        log = self.plan.log(self.position, task)
        return log if log.is_file() else next(reversed(self.plan.logs_of(self.position)), None)

    def end(self, task: str) -> str:
        """Return the error of a task, or else the last line of its log, such as Slurm's words; empty without any."""
        log = self.log(task)
        if task in self.errors or log is None:
            return self.errors.get(task, "")
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        line = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"its log ends with: {line}" if line else ""


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
    for position, stage in enumerate(plan.stages):
        if last[stage.command, stage.run] is not stage:
            continue
        tasks = _tasks_of(job for job in jobs_of_plan if job.stage is stage)
        if is_worked_on and not tasks and not stage.is_done():
            tasks = {MERGE: ("queued", "")}
        yield Queued(stage, plan, tasks, answered, is_abandoned, position)
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
