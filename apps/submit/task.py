"""Tasks of a job script, and a pool of processes of this machine that runs the scripts of a plan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from ...core import Terminated, few
from ...core.jobs import NOTHING_NEW, when_orphaned
from . import slurm
from .plan import MERGE, STAGES, Plan, read_plan

MOST_IDLE = 2
"""Number of rounds in sequence without progress after which a task stops: the next round would not help either."""

AGAIN = 75
"""Exit code of a local merge if shards are missing (EX_TEMPFAIL of sysexits.h)."""


def main(words: Sequence[str]) -> int:
    """Do a task, and return its exit code: folder of the plan, position of the stage, and the shard or ``merge``."""
    folder, position, task = Path(words[0]), int(words[1]), words[2]
    plan = read_plan(folder)
    stage = plan.stages[position]
    if task == MERGE and stage.shards and (missing := stage.missing_shards()):
        return _again(plan, position, missing)
    before = stage.progress(task)
    code, at_limit = _run(plan, position, task)
    if not at_limit or code != Terminated.exit_code:
        return code
    rounds = folder / "rounds" / f"{position + 1}-{task}"
    idle = 0 if stage.progress(task) > before else 1 + (int(rounds.read_text()) if rounds.is_file() else 0)
    if idle >= MOST_IDLE:
        _print(f"stopped: {idle} times in sequence no unit was done before the time limit; give more time")
        return 1
    rounds.parent.mkdir(exist_ok=True)
    rounds.write_text(str(idle))
    slurm.requeue()
    return code


def _run(plan: Plan, position: int, task: str) -> tuple[int, bool]:
    """Run the command; return its exit code, and whether the time limit ended it."""
    stage = plan.stages[position]
    words = [sys.executable, "-m", "bchisto", stage.command, *stage.words]
    if task != MERGE:
        words += ["--shard", f"{task}/{stage.shards}"]
    if stage.command in (*STAGES, "predict") and stage.cpus is None:
        words += ["--jobs", os.environ.get("SLURM_CPUS_PER_TASK", "1")]
    received: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.terminate()

    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, stop)
    children.append(subprocess.Popen(words))  # nosec B603
    if plan.scheduler == "local":
        when_orphaned(children[0].terminate, parent=os.getppid())  # the local submit that started this task
    if received:
        children[0].terminate()
    code = children[0].wait()
    if code == -signal.SIGTERM:  # it got the signal before it handles signals
        code = Terminated.exit_code
    if code < 0:
        memory = "; often for lack of memory: ask for more, as by --sbatch mem-per-cpu=4G" * (code == -signal.SIGKILL)
        _print(f"error: ended by {signal.Signals(-code).name}{memory}")
        return 128 - code, False
    return 0 if code == NOTHING_NEW else code, signal.SIGUSR1 in received


def _again(plan: Plan, position: int, missing: list[int]) -> int:
    """Submit shards that lack units again, and all later stages; stop after `MOST_IDLE` times without progress."""
    stage = plan.stages[position]
    done = stage.progress()
    stage.idle = 0 if done > stage.done else stage.idle + 1
    stage.done, stage.tasks = done, missing
    named = few(map(str, missing), most=10)
    plan.write()
    if stage.idle >= MOST_IDLE:
        _print(f"stopped: shards {named} of {stage.shards} lack units, and another round added none; read {plan.logs}")
        return 1
    _print(f"shards {named} of {stage.shards} lack units; they are submitted again")
    if plan.scheduler == "local":
        return AGAIN
    slurm.cancel([job for later in plan.stages[position + 1 :] for job in later.jobs])
    slurm.submit(plan, position)
    return 0


def _print(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def run(plan: Plan, *, processes: int) -> tuple[Plan, int]:
    """Run all stages, and wait for them.

    Parameters
    ----------
    plan : Plan
    processes : int
        Number of shards at the same time.

    Returns
    -------
    plan : Plan
    failed : int
        Position of the stage that failed, or the number of stages.
    """
    running: list[subprocess.Popen[bytes]] = []
    try:
        for position in range(len(plan.stages)):
            code = AGAIN
            while code == AGAIN:
                _run_tasks(plan, position, map(str, plan.stages[position].tasks), processes, running)
                code = _run_tasks(plan, position, [MERGE], 1, running)
                plan = read_plan(plan.folder)
            if code:
                return plan, position
    finally:
        for process in running:  # an interrupt reaches only this process
            process.terminate()
        for process in running:
            process.wait()
    return plan, len(plan.stages)


def _run_tasks(
    plan: Plan, position: int, tasks: Iterable[str], processes: int, running: list[subprocess.Popen[bytes]]
) -> int:
    """Run tasks of a stage; return the exit code of the last."""

    def run_task(task: str) -> int:
        path = plan.logs / f"{position + 1}-{plan.stages[position].command}-{task}.log"
        with path.open("ab") as log:
            words = ["/bin/bash", str(plan.script(position)), task]
            process = subprocess.Popen(words, stdout=log, stderr=log)  # nosec B603
            running.append(process)
            return process.wait()

    pool = ThreadPoolExecutor(processes)
    try:
        codes = list(pool.map(run_task, tasks))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return codes[-1] if codes else 0
