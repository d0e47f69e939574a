"""Runs the scripts of a plan on this machine, in a pool of processes: for laptops and tests."""

from __future__ import annotations

import subprocess  # nosec B404
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from .plan import MERGE, Plan, read_plan
from .slurm import log_of
from .task import AGAIN


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
            if process.poll() is None:
                process.terminate()
        for process in running:
            process.wait()
    return plan, len(plan.stages)


def _run_tasks(
    plan: Plan, position: int, tasks: Iterable[str], processes: int, running: list[subprocess.Popen[bytes]]
) -> int:
    """Run tasks of a stage; return the exit code of the last."""

    def run_task(task: str) -> int:
        with log_of(plan, position, task).open("ab") as log:
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
