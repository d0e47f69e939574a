"""What runs the scripts of a plan: Slurm, or a pool of processes of this machine.

Slurm takes scripts, lists and cancels jobs, and puts a task back into the queue.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess  # nosec B404
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from ...core import BchistoError
from ...core.jobs import hold_interrupts, this_process
from .plan import MERGE, JobStage, Plan

_MOST_SECONDS = 60
"""Maximum wait for an answer of Slurm. Its programs give up after 10 s by default if the controller is silent."""

_NOTICE_SECONDS = 120
"""How long before its limit a task gets the signal. Slurm is up to a minute early, and no unit is finished after it."""

_PROCESS_MEGABYTES = 2000
"""Memory of a process if it is not known; without a request a task may get too little, or a whole node."""

_MARGIN = 1.25
"""Factor for what a process may take beyond what was measured."""

_TASK_MEGABYTES = 150
"""Memory of the task itself, beside its processes."""

_LEAST_MEGABYTES = 500
"""Memory that is asked for at least."""

CANCELLED = "cancelled.json"
"""The file in the folder of a plan that tells its submit and its tasks that it was cancelled."""

NOT_ASKED = "Slurm does not answer here, and was not asked"
"""What is printed of a Slurm that cannot be asked."""


def commands(plan: Plan, stage: JobStage, *, after: str | None) -> list[list[str]]:
    """Return the commands that submit a stage: its array, if it has one, and the job that merges.

    Parameters
    ----------
    plan : Plan
    stage : JobStage
    after : str, optional
        Number of the job that must succeed first.

    Returns
    -------
    list of list of str
        The words of each; ``{array}`` is to be replaced by the number of the array.
    """
    common = [
        "sbatch",
        "--parsable",
        f"--job-name=bchisto-{stage.command}",
        "--ntasks=1",
        "--open-mode=append",
        "--requeue",
        "--kill-on-invalid-dep=yes",
        f"--signal=B:USR1@{_NOTICE_SECONDS}",
        *stage.options,
    ]
    log = f"{plan.logs}/{stage.label}".replace("%", "%%")
    script = str(plan.script(stage))
    waits = [f"--dependency=afterok:{after}"] if after else []
    calls = []
    if stage.tasks:
        array = ",".join(map(str, stage.tasks))
        if plan.at_once:
            array += f"%{plan.at_once}"
        calls.append([*common, f"--output={log}-%a.log", f"--array={array}", *waits, script])
        # an array that was cancelled, since the stage before it failed, has ended too
        dependency = "--dependency=afterany:{array}"
        if after:
            dependency += f",afterok:{after}"
        waits = [dependency]
    return [*calls, [*common, f"--output={log}-{MERGE}.log", *waits, script, MERGE]]


def _submit(plan: Plan) -> None:
    """Submit the stages; each waits for the one before. ``plan.json`` names each job at once.

    Raises
    ------
    BchistoError
        This machine cannot submit, and the message ends with the command for another one; or ``plan.json`` cannot be
        written.
    """
    if shutil.which("sbatch") is None:
        raise BchistoError(
            "sbatch: not found on this machine; on one that submits to Slurm type: "
            f"cd {shlex.quote(plan.cwd)} && {plan.line}"
        )
    plan.write()
    after = None
    try:
        for stage in plan.stages:
            after = _submit_stage(plan, stage, after)
    except (BchistoError, KeyboardInterrupt):
        with hold_interrupts():  # they would go on although a stage before them failed
            cancel(plan.jobs)
        raise


def _submit_stage(plan: Plan, stage: JobStage, after: str | None) -> str:
    """Submit the jobs of a stage, and return the number of the last, which merges."""
    stage.jobs = []
    number = ""
    for words in commands(plan, stage, after=after):
        # the merge waits for the array, whose number is that of the job before it
        words = [word.replace("{array}", number) for word in words]
        with hold_interrupts():  # a call ended half-way leaves a job whose number nobody knows
            number = _call(words).strip().partition(";")[0]
            stage.jobs.append(number)
            plan.write()
        if (plan.folder / CANCELLED).is_file():
            raise BchistoError(f"{plan.folder}: it was cancelled meanwhile")
    return number


def _call(words: Sequence[str]) -> str:
    """Return what a program of Slurm prints; if that is nothing, its messages, as ``--test-only`` answers there.

    Raises
    ------
    BchistoError
        It is not on this machine, does not answer in time, or fails; the message ends with its command.
    """
    try:
        ended = subprocess.run(  # nosec B603
            words, capture_output=True, text=True, check=False, timeout=_MOST_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BchistoError(
            f"{words[0]}: not on this machine, or no answer in {_MOST_SECONDS} s; on one with Slurm type: "
            f"{shlex.join(words)}"
        ) from error
    if ended.returncode:
        causes = (
            line.removeprefix(f"{words[0]}: ").removeprefix("error: ").strip()
            for line in ended.stderr.splitlines()
        )
        cause = "; ".join(filter(None, causes)) or f"exit code {ended.returncode}"
        raise BchistoError(f"{words[0]}: {cause}; the command was: {shlex.join(words)}")
    return ended.stdout or ended.stderr


def settings() -> dict[str, str]:
    """Return what Slurm's configuration sets; empty if Slurm does not answer."""
    try:
        lines = _call(["scontrol", "show", "config"]).splitlines()
    except BchistoError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def memory(cluster: Mapping[str, str], stage: JobStage) -> list[str]:
    """Return the option for the memory of a task, if the cluster counts memory and no option of the stage names it.

    It follows from what the check of the stage took, see `JobStage.megabytes`.
    """
    if "MEMORY" not in cluster.get("SelectTypeParameters", "").upper():
        return []
    if any(option.startswith(("--mem", "--exclusive")) for option in stage.options):
        return []
    megabytes: float = _PROCESS_MEGABYTES
    if stage.megabytes:
        megabytes = stage.megabytes * _MARGIN + _TASK_MEGABYTES
    needed = max(_LEAST_MEGABYTES, math.ceil(megabytes / 100) * 100)
    return [f"--mem-per-cpu={needed}M"]


def trial(stage: JobStage) -> str:
    """Return what Slurm says to a task of a stage without submitting it, such as when it would start.

    Raises
    ------
    BchistoError
        Slurm would refuse it, or no node that could run it is up.
    """
    return _call(["sbatch", "--test-only", "--ntasks=1", *stage.options, "--wrap=true"]).strip()


class Job(NamedTuple):
    """A job, or a task of an array, that has not ended.

    Attributes
    ----------
    number : str
        Of an array that of all its tasks.
    task : str
        Number of the task; ``merge`` if it is not of an array.
    state : str
        Slurm's word, as PENDING.
    reason : str
        Why it waits.
    plan : Plan
    stage : JobStage
    """

    number: str
    task: str
    state: str
    reason: str
    plan: Plan
    stage: JobStage


def queue(plans: Sequence[Plan]) -> list[Job] | None:
    """Return the jobs and tasks of plans that have not ended, whoever submitted them.

    A job is known by its script, too: a submit that was killed may not have read its number.

    Returns
    -------
    list of Job, or None
        None if Slurm does not answer, or is another cluster's: job numbers mean nothing there.
    """
    plans = [plan for plan in plans if plan.scheduler == "slurm"]
    if not plans:
        return []
    clusters = {plan.cluster for plan in plans if plan.cluster}
    if clusters and clusters != {settings().get("ClusterName")}:
        return None
    try:
        lines = _call(["squeue", "-h", "-r", "-o", "%F|%K|%T|%r|%o"]).splitlines()
    except BchistoError:
        return None
    # by the numbers of their jobs, and by the folder and the name of their script
    owners = {
        key: (plan, stage)
        for plan in plans
        for stage in plan.stages
        for key in (*stage.jobs, f"{plan.folder.name}/{plan.script(stage).name}")
    }
    jobs = []
    for line in lines:
        columns = line.split("|", maxsplit=4)  # only one in a line that is a warning of Slurm
        script = "/".join(line.removesuffix(f" {MERGE}").split("/")[-2:])
        owner = owners.get(columns[0], owners.get(script))
        if owner is not None:
            number, task, state, reason = columns[:4]
            task = task.replace("N/A", MERGE)
            jobs.append(Job(number, task, state, reason.replace("None", ""), *owner))
    return jobs


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs. One that has ended is not an error."""
    if jobs:
        _call(["scancel", *jobs])


def requeue() -> None:
    """Put this task back into the queue: SLURM_JOB_ID of one task is the number of its whole array."""
    task = os.environ["SLURM_JOB_ID"]
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        task = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    _call(["scontrol", "requeue", task])


def preview(plan: Plan) -> list[str]:
    """Return the scripts of a plan, the commands that submit them, and what Slurm says to each stage.

    Raises
    ------
    BchistoError
        Slurm would refuse a stage, see `trial`.
    """
    lines = []
    for stage in plan.stages:
        lines += [f"# {plan.script(stage)}", *plan.lines(stage)]
        if plan.scheduler == "slurm":
            calls = commands(plan, stage, after="PREVIOUS" if stage.position else None)
            lines += map(shlex.join, calls)
            answer = trial(stage) if plan.cluster else NOT_ASKED
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
        _submit(plan)
        return len(plan.stages)
    plan.process = this_process()
    plan.write()
    try:
        most = plan.at_once or max([1, *(len(stage.tasks) for stage in plan.stages)])
        return _run(plan, processes=most)
    finally:
        plan.process = {}
        plan.write()


def _run(plan: Plan, *, processes: int) -> int:
    """Run all stages, and wait for them; return the position of the stage that failed, or the number of stages.

    Parameters
    ----------
    plan : Plan
    processes : int
        Number of shards at the same time.
    """
    running: list[subprocess.Popen[bytes]] = []

    def run_task(stage: JobStage, task: str) -> int:
        with plan.log(stage, task).open("ab") as log:
            words = ["/bin/bash", str(plan.script(stage)), task]
            process = subprocess.Popen(words, stdout=log, stderr=log)  # nosec B603
        running.append(process)
        return process.wait()

    pool = ThreadPoolExecutor(processes)
    try:
        for stage in plan.stages:
            list(pool.map(partial(run_task, stage), map(str, stage.tasks)))
            if run_task(stage, MERGE):
                return stage.position
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:  # an interrupt reaches only this process
            process.terminate()
        for process in running:
            process.wait()
    return len(plan.stages)
