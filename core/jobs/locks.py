"""Locks between processes: turns in a folder, and numbers of workers. A lock ends with its process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_CLAIM_SECONDS = 10.0
"""How long a new worker waits for the number of a worker that is about to end."""

_TURN_SECONDS = 600.0
"""How long a process waits for its turn. If the other process hangs, the work is merely done twice."""

_TURN = ".turn"


@contextlib.contextmanager
def in_turn(folder: Path, *, seconds: float = _TURN_SECONDS) -> Iterator[bool]:
    """Let only one process at a time into the block, on all machines that share a folder, if its file system has locks.

    A lock ends with its process, so none is left behind. The lock file, and the folder if it is empty, are removed.

    Parameters
    ----------
    folder : Path
    seconds : float
        How long to wait for another process.

    Yields
    ------
    bool
        False if another process was still in the block after that time.
    """
    with contextlib.ExitStack() as stack:
        # without locks or write permission, several processes do the same work
        has_turn = True
        with contextlib.suppress(OSError):
            deadline = time.monotonic() + seconds
            while True:
                # each time: a process that leaves removes the folder if nothing else is in it
                folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((folder / _TURN).open("ab"))
                has_turn = _lock(file.fileno())
                if has_turn or time.monotonic() >= deadline:
                    break
                # if the other process has removed this file, the next one to be opened is a new one
                file.close()
                time.sleep(0.05)
        try:
            yield has_turn
        finally:
            if has_turn:
                with contextlib.suppress(OSError):
                    (folder / _TURN).unlink(missing_ok=True)
                    folder.rmdir()


def _lock(handle: int) -> bool:
    """Lock an open file; return False if another process has locked it, or has removed it after its own turn.

    A lock on a removed file keeps nobody out, since others open the file that has its name now.
    """
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(handle).st_nlink > 0


def claim_number(folder: Path, processes: int) -> int:
    """Return a number that only this process has while it runs, by which workers share out GPUs.

    It is below `processes`; if none becomes free, it is the id of this process.

    Parameters
    ----------
    folder : Path
        Folder of the numbers, which are locked files; a lock ends with its process, however that ends.
    processes : int
    """
    deadline = time.monotonic() + _CLAIM_SECONDS
    while time.monotonic() < deadline:
        for number in range(processes):
            handle = os.open(folder / f"gpu-{number}", os.O_CREAT | os.O_RDWR)
            with contextlib.suppress(OSError):
                if _lock(handle):
                    return number  # the handle stays open until this process ends
            os.close(handle)
        time.sleep(0.05)
    return os.getpid()  # sharing a GPU is better than failing
