"""A task of a plan, which its script begins: it runs the command, if need be in several rounds.

A task that its time limit ends is put back into the queue; a merge also does the units of shards that were lost.
"""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ...core import BchistoError, Message, Terminated
from ...core.jobs import NOTHING_NEW, UnderWayError, when_orphaned, write_json
from ...core.runs import ENDING
from .plan import MERGE, STAGES, JobStage, Plan, read_plan, typed
from .scheduler import CANCELLED, requeue

MOST_IDLE = 2
"""Number of rounds in sequence without progress after which a task stops: the next round would not help either."""


def main(words: Sequence[str]) -> int:
    """Do the task of `words` (folder of the plan, position of the stage, shard or ``merge``); return its exit code."""
    path, number, task = words
    folder = Path(path)
    plan = read_plan(folder)
    stage = plan.stages[int(number)]
    # also if the submit was killed before this job was in the queue
    if (folder / CANCELLED).is_file():
        _print("this chain was cancelled")
        return 1
    ending = plan.ending(stage, task)
    ending.unlink(missing_ok=True)  # of an earlier round
    progress = stage.progress(task)
    code, at_limit = _run(plan, stage, task)
    # such as a predict --update that somebody typed
    if code == UnderWayError.exit_code and plan.scheduler == "slurm":
        requeue()
    if not at_limit or code != Terminated.exit_code:
        return code
    file = folder / "rounds" / f"{stage.label}-{task}"
    idle = 0
    if stage.progress(task) <= progress:
        idle = 1
        if file.is_file():
            idle += int(file.read_text())
    if idle >= MOST_IDLE:
        text = f"{idle} times in sequence no unit was done before the time limit; give more time"
        _fail(ending, text)
        return 1
    write_json(file, idle)
    requeue()
    return code


def _run(plan: Plan, stage: JobStage, task: str) -> tuple[int, bool]:
    """Run the command; return its exit code, and whether the time limit ended it."""
    signals: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _: FrameType | None) -> None:
        signals.append(number)
        for child in children:
            child.terminate()

    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, stop)
    ending = plan.ending(stage, task)
    words = _words_of(stage, task)
    child = subprocess.Popen(words, env={**os.environ, ENDING: str(ending)})  # nosec B603
    children.append(child)
    if plan.scheduler == "local":
        # the parent is the local submit that started this task
        when_orphaned(child.terminate, parent=os.getppid())
    if signals:
        child.terminate()
    code = child.wait()
    if code == -signal.SIGTERM:  # it got the signal before it handles signals
        code = Terminated.exit_code
    if code < 0:
        advice = ""
        if code == -signal.SIGKILL:
            advice = Message(
                "; often for lack of memory: ask for more, {submit.sbatch:mem-per-cpu=4G}"
            )
        _fail(ending, f"ended by {signal.Signals(-code).name}{advice}")
        return 128 - code, False
    # later stages go on with the images that were not left out
    if code == NOTHING_NEW or (code == 1 and stage.left_out()):
        code = 0
    return code, signal.SIGUSR1 in signals


def _words_of(stage: JobStage, task: str) -> list[str]:
    """Return the words that call the command of a stage for a task."""
    words = [sys.executable, "-m", "bchisto", *typed(stage.command).split(), *stage.words]
    if task != MERGE:
        words += ["--shard", f"{task}/{stage.shards}"]
    if stage.command in (*STAGES, "predict") and stage.cpus is None:
        words += ["--jobs", os.environ.get("SLURM_CPUS_PER_TASK", "1")]
    return words


def _fail(ending: Path, error: str) -> None:
    """Print an error, and keep it for `bchisto status`."""
    _print(f"error: {error}")
    write_json(ending, {"error": error})


def _print(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BchistoError, OSError) as error:  # such as a full disk, on which no round can be noted
        sys.exit(f"error: {error}")
