"""The job script of a stage, and a pool of processes of this machine that runs the scripts of a plan."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ...core.jobs import atomic_output
from .plan import MERGE, Plan, read_plan
from .slurm import log_of
from .task import AGAIN

_SCRIPT = """\
#!/bin/bash
# Stage {number} of {count}, written by bchisto submit; {use}
# {line}
cd -- {cwd} || exit 1
exec {python} -m bchisto.apps.submit {folder} {position} "${{1:-$SLURM_ARRAY_TASK_ID}}"
"""


def write_scripts(plan: Plan) -> None:
    """Write the scripts of all stages."""
    for position in range(len(plan.stages)):
        with atomic_output(plan.script(position)) as temporary:
            temporary.write_text(script(plan, position), encoding="utf-8")


def script(plan: Plan, position: int) -> str:
    """Return the script of a stage. Its argument is the shard; without one, the number of the array's task is."""
    stage = plan.stages[position]
    use = f"task K does shard K of {stage.shards}, and the task {MERGE} puts them together:"
    return _SCRIPT.format(
        number=position + 1,
        count=len(plan.stages),
        use=use if stage.shards else f"one job, the task {MERGE}, does it:",
        line=shlex.join(["bchisto", stage.command, *stage.words]).replace("\n", " "),
        cwd=shlex.quote(plan.cwd),
        python=shlex.quote(plan.python),
        folder=shlex.quote(str(plan.folder)),
        position=position,
    )


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
