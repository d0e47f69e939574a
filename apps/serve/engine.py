"""Does work in a process of its own, one piece at a time, and starts another process after a crash.

That process reads the images of strangers and loads TensorFlow, so a crash or a full memory ends only the work.
"""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool

from ...core import BchistoError, InputError, is_out_of_memory, os_error, system_reason
from ...core.jobs import THREADS, hold_interrupts, prepare_worker

R = TypeVar("R")


class Engine:
    """Does work in another process.

    Parameters
    ----------
    folder : Path
        Folder for the temporary files of that process, which the caller removes.
    seconds : int or None
        The most that a piece of work may take; None for any time.
    """

    def __init__(self, folder: Path, *, seconds: int | None) -> None:
        # loky warns that it replaces a process whose memory grew, or cannot look for child processes, which end anyway
        warnings.filterwarnings("ignore", category=UserWarning, module="loky")
        self._folder = folder
        self._seconds = seconds
        self._pool: Any = None
        self._lock = asyncio.Lock()

    async def ask(self, doing: str, work: Callable[..., R], *values: Any) -> R:
        """Return ``work(*values)``, as the other process computes it; `doing` names it in messages.

        Raises
        ------
        BchistoError
            The work raised it, took too long, or ended its process twice.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._seconds):
                    answer: Any = await self._answer(work, values)
            except TimeoutError:
                minutes = (self._seconds or 0) // 60
                answer = f"{doing} took longer than {minutes} minutes, so it was ended"
            except OSError as fault:
                answer = f"the process that reads images does not start ({system_reason(fault)})"
            except BrokenProcessPool:
                answer = f"{doing} ended the process that reads images, as for lack of memory"
            except asyncio.CancelledError:
                self.stop()
                raise
            else:
                if isinstance(answer, BchistoError):
                    raise answer
                return cast(R, answer)
            self.stop()
            raise BchistoError(answer)

    async def _answer(self, work: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        """Return the answer to a task; try once more if its process ends, which may have been dead before."""
        try:
            return await self._submitted(work, values)
        except BrokenProcessPool:
            self.stop()
            return await self._submitted(work, values)

    def _submitted(self, work: Callable[..., Any], values: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Give a task to the process, which is started if there is none."""
        with hold_interrupts():
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    1,
                    initializer=_begin,
                    initargs=(os.getpid(), self._folder),
                    env=dict.fromkeys(THREADS, "1"),
                )
            return asyncio.wrap_future(self._pool.submit(_result, work, values))

    def stop(self) -> None:
        """Kill the process."""
        if self._pool is not None:
            self._pool.shutdown(kill_workers=True)
            self._pool = None


def _begin(parent: int, folder: Path) -> None:
    """Prepare the process that does the work."""
    prepare_worker(parent, folder)
    # warnings of images come back as values
    logging.getLogger("bchisto").setLevel(logging.ERROR)


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
