"""Does work in a process of its own, one piece at a time, and starts another process after a crash.

That process reads the images of strangers and loads TensorFlow, so a crash or a full memory ends only the work.
Functions and values go there, and values or errors come back, in the form of `multiprocessing`. Both ends are this
program; nothing in this form comes from a file or a client.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio import create_subprocess_exec as start_process
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, TypeVar, cast

from ...core import BchistoError, InputError, is_out_of_memory, os_error, system_reason
from ...core.jobs import THREADS, prepare_worker

R = TypeVar("R")

_LENGTH = 8
"""Bytes of the number of bytes that follow."""


class Engine:
    """Does work in another process.

    Parameters
    ----------
    folder : Path
        Folder for the temporary files of that process, which the caller removes.
    seconds : int or None
        The most that a piece of work may take; None for any time.

    Attributes
    ----------
    restarts : int
        How often another process was started, since one had crashed or was stopped.
    """

    def __init__(self, folder: Path, *, seconds: int | None) -> None:
        self.restarts = -1  # the first start makes it 0
        self._folder = folder
        self._seconds = seconds
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def ask(self, doing: str, work: Callable[..., R], *values: Any) -> R:
        """Return ``work(*values)``, as the other process computes it; `doing` names it in messages.

        Raises
        ------
        BchistoError
            The work raised it, took too long, or ended its process.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._seconds):
                    answer: Any = await self._answer(_packed((work, values)))
            except TimeoutError:
                minutes = (self._seconds or 0) // 60
                answer = f"{doing} took longer than {minutes} minutes, so it was ended"
            except OSError as fault:
                answer = f"the process that reads images does not start ({system_reason(fault)})"
            except EOFError:  # no whole answer
                answer = f"{doing} ended the process that reads images, as for lack of memory"
            except asyncio.CancelledError:
                # otherwise its answer would be read as that of the next work
                await self.stop()
                raise
            else:
                if isinstance(answer, BchistoError):
                    raise answer
                return cast(R, answer)
            await self.stop()
            raise BchistoError(answer)

    async def _answer(self, task: bytes) -> Any:
        """Return the answer to a task; start another process if that one is dead before it has begun."""
        for _ in range(2):
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(ConnectionError):
                process.stdin.write(task)
                await process.stdin.drain()
                if await process.stdout.readline():
                    length = int.from_bytes(await process.stdout.readexactly(_LENGTH))
                    return ForkingPickler.loads(await process.stdout.readexactly(length))
            await self.stop()
        raise OSError("it ends at once")

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self.restarts += 1
            self._process = await start_process(
                *(sys.executable, "-m", __name__, self._folder),
                stdin=PIPE,
                stdout=PIPE,
                start_new_session=True,
                env={**os.environ, **dict.fromkeys(THREADS, "1")},
            )
        return self._process

    async def stop(self) -> None:
        """Kill the process."""
        process = self._process
        self._process = None
        if process is not None and process.returncode is None:
            # its own `kill` would take the exit status from asyncio
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()


def main(folder: str) -> None:
    """Do the work that comes on standard input, until that ends."""
    prepare_worker(os.getppid(), Path(folder))
    # warnings of images come back as values
    logging.getLogger("bchisto").setLevel(logging.ERROR)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that output of libraries does not mix with answers
    while length := sys.stdin.buffer.read(_LENGTH):
        work, values = ForkingPickler.loads(sys.stdin.buffer.read(int.from_bytes(length)))
        answers.write(b"\n")  # it has begun
        answers.flush()
        answers.write(_packed(_result(work, values)))
        answers.flush()


def _packed(value: Any) -> bytes:
    """Return a value as bytes, after their number."""
    content = bytes(ForkingPickler.dumps(value))
    return len(content).to_bytes(_LENGTH) + content


def _result(work: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    """Return what a function returns, or the error that it raises."""
    try:
        return work(*values)
    except BchistoError as error:
        return error
    except OSError as error:
        text, code = os_error(error)
        return InputError(text) if code == InputError.exit_code else BchistoError(text)
    except Exception as error:
        if is_out_of_memory(error):
            return BchistoError("takes more memory than there is")
        logging.getLogger(__name__).debug("the error in full", exc_info=True)
        name = type(error).__name__
        return BchistoError(f"unexpected {name}: {error}; this is a bug, please report it")


if __name__ == "__main__":
    main(*sys.argv[1:])
