"""Ctrl-C and signals of a scheduler around pools of workers; workers, which end with their parent and are quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator

from ..core import printable

_SIGNALS = frozenset(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What a user, a shell or a scheduler interrupts a command with, often all of its processes at once."""

_WATCH_SECONDS = 1.0
"""How often a worker looks whether its parent lives (ours): cheap, and well below the ten seconds it may live on."""


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let an interrupt that comes inside the block wait until its end.

    Around what must not be left half done: starting worker processes and ending them. Processes started inside begin
    with these signals blocked, so that none kills them before `prepare_worker`.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is an interrupt, or what C code made of one: the command line remembers that one came."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return any(getattr(signal.getsignal(number), "received", None) is not None for number in _SIGNALS)


def prepare_worker(parent: int, folder: str | None = None) -> None:
    """Make this process a worker: it leaves interrupts to its parent, and ends when its parent is gone.

    Parameters
    ----------
    parent : int
        Number of the parent process.
    folder : str, optional
        Where temporary files of libraries go; the parent removes it.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if folder is not None:
        tempfile.tempdir = folder
        home = os.path.expanduser("~")  # noqa: PTH111 - `Path.home` fails for a user without one
        if not os.access(home, os.W_OK):  # matplotlib's own would be gone before it removes it at exit
            os.environ.setdefault("MPLCONFIGDIR", folder)
    if logging.lastResort is not None:  # what a worker warns of is printed by it
        logging.lastResort.setFormatter(_Printable())
    hush_readers()
    threading.Thread(target=_follow, args=(parent,), daemon=True, name="bchisto-follow").start()


def hush_readers() -> None:
    """Let the packages that read images print nothing in this process, which is ours; we refuse what matters.

    Pillow warns of damaged tags just before the error that we report with the file's name. pydicom quotes what it finds
    strange, which may be a patient's name.
    """
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").propagate = False  # its level is set anew when it is imported


class _Printable(logging.Formatter):
    """Messages in one line, of which no terminal obeys a sign."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=record.name.partition(".")[0] != __package__.partition(".")[0])


def _follow(parent: int) -> None:
    # a process whose parent has ended is given another one
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
