"""Runs tasks in the worker process, one at a time, and restarts it after a crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio import create_subprocess_exec as start_process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from ...core import BchistoError, InputError, Message, system_reason
from ...core.formats import limits
from ...core.jobs import THREADS

TABLES = ("predictions.csv", "predictions.html", "failures.csv")
"""Files with the answers of a model."""

MARKS = ("\x02", "\x03")
"""Characters around a parameter in a worker's message, which cannot occur in file names."""

_DOING = {
    "facts": "loading the model",
    "read": "reading this image",
    "predict": "predicting this image",
    "write": "writing the table",
}
"""Tasks in messages; any other task draws a picture."""

Task = Mapping[str, Any]
"""A task: ``do`` is its name; ``model`` and ``image`` are what it works on."""

Answer = dict[str, Any]
"""What the worker answers, or the page knows of a model, as JSON."""


class Engine:
    """Runs tasks in a worker process.

    Attributes
    ----------
    restarts : int
        How often another worker was started, since one had crashed or was stopped.
    """

    def __init__(self) -> None:
        self.restarts = -1  # the first start makes it 0
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def ask(self, task: Task) -> Answer:
        """Run a task in the worker and return its answer, which has an ``error`` if the task failed."""
        doing = _DOING.get(task["do"], "drawing this picture")
        async with self._lock:
            try:
                async with asyncio.timeout(limits.SERVED_WORK_SECONDS):
                    answers = await self._given(task)
                    return dict(json.loads(await answers.readline()))
            except TimeoutError:
                minutes = limits.SERVED_WORK_SECONDS // 60
                error = f"{doing} took longer than {minutes} minutes, so it was ended"
            except OSError as fault:
                error = f"the process that reads images does not start ({system_reason(fault)})"
            except ValueError:  # no whole line
                error = f"{doing} ended the process that reads images, as for lack of memory"
            except asyncio.CancelledError:
                # otherwise its answer would be read as that of the next task
                await self.stop()
                raise
            await self.stop()
            return {"error": error, "notes": []}

    async def _given(self, task: Task) -> asyncio.StreamReader:
        """Give a task to the worker, and return its answers once it has begun; start another if that one is dead."""
        for _ in range(2):
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(ConnectionError):
                process.stdin.write(json.dumps(task).encode() + b"\n")
                await process.stdin.drain()
                if await process.stdout.readline():
                    return process.stdout
            await self.stop()
        raise OSError("it ends at once")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self.restarts += 1
            self._process = await start_process(
                sys.executable,
                "-m",
                f"{__package__}.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **dict.fromkeys(THREADS, "1")},
                limit=64 * 1024**2,  # bytes of an answer
            )
        return self._process

    async def stop(self) -> None:
        """Kill the worker."""
        process = self._process
        self._process = None
        if process is not None and process.returncode is None:
            # its own `kill` would take the exit status from asyncio
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()


async def load_models(
    engine: Engine, paths: Sequence[Path], weights: Sequence[str], folder: Path
) -> list[Answer]:
    """Load models in the worker, from copies of their files, and return the facts of each for the page.

    Raises
    ------
    InputError, BchistoError
        A model cannot be used.
    """
    models = []
    for number, path in enumerate(paths):
        # a copy, since the file may be replaced while the page is used
        model = {
            "path": str(path),
            "copy": str(folder / f"model-{number}.bchisto"),
            "weights": weights,
        }
        answer = await engine.ask({"do": "facts", "model": model})
        if "error" in answer:
            text = answer["error"].replace("{", "{{").replace("}", "}}")
            kind = InputError if answer.get("exit_code") == InputError.exit_code else BchistoError
            raise kind(Message(text.replace(MARKS[0], "{").replace(MARKS[1], "}")))
        models.append({**model, **answer})
    if weights and not any(model["weights"] for model in models):
        raise InputError(
            "{weights} {}: each model holds the weights of its networks; leave it out", weights[0]
        )
    names = _distinct_names([PurePath(model["path"]) for model in models])
    for model, name in zip(models, names, strict=True):
        model["name"] = name
    return models


def _distinct_names(paths: Sequence[PurePath]) -> list[str]:
    """Return the folder of each model, with as many folders above it as tell the models apart.

    Examples
    --------
    >>> _distinct_names([PurePath("m1/boost/2-svm/model.bchisto"), PurePath("m3/boost/2-svm/model.bchisto")])
    ['m1/boost/2-svm', 'm3/boost/2-svm']
    >>> _distinct_names([PurePath("/m/model.bchisto"), PurePath("/m/model.bchisto")])
    ['/m', '/m']
    """
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = [
            "/".join(path.parent.parts[-count:]).replace("//", "/") or path.stem for path in paths
        ]
        if len({*names}) == len(names):
            break
    return names


def free_memory() -> float:
    """Return the bytes of memory that are free; infinity if the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return float("inf")
