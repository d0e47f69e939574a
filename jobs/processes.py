"""Processes: interrupts and workers, which process a temporary file belongs to, and whether that still runs."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import printable

_SCRATCH = "bchisto-"
_SEMAPHORES = Path("/dev/shm")  # nosec B108
_PROC = Path("/proc")

_SIGNALS = frozenset(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What a user, a shell or a scheduler interrupts a command with, often all of its processes at once."""

_WATCH_SECONDS = 1.0
"""How often a worker looks whether its parent lives: cheap, and well below the ten seconds it may live on."""


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


def this_process() -> dict[str, Any]:
    """Return what tells this process from every other, JSON-ready.

    Returns
    -------
    dict
        ``host``; ``pid``; ``started``, clock ticks since the machine was started, which tells a process from a later
        one of the same number; ``space``, the machine's start and the namespace in which the number counts. The last
        two are None where the system does not tell.
    """
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "space": _space()}


def is_running(process: Mapping[str, Any]) -> bool | None:
    """Tell whether a process is still there.

    Parameters
    ----------
    process : mapping
        Of `this_process`.

    Returns
    -------
    bool or None
        None where it cannot be seen from here: another host, or another container of this one.
    """
    if process.get("host") != socket.gethostname():
        return None
    mine, its = _space(), process.get("space")
    if mine is not None and its is not None and mine != its:
        same_start = mine.partition(".")[0] == its.partition(".")[0]
        return None if same_start else False  # this host was started again since
    pid = int(process["pid"])
    started = process.get("started")
    return _is_there(pid) and (started is None or _started(pid) == started)


def temporary_name(name: str) -> str:
    """Return a name for a temporary file beside `name` that tells which process writes it."""
    return f"{name}.part-{_mark()}-{secrets.token_hex(4)}"


def unlink_stale(path: Path) -> None:
    """Remove temporary files of `path` whose process is gone; those of other hosts are left alone."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(path.parent)):
            if _is_stale(entry.name, f"{path.name}.part-"):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, removed at the end; also remove those that killed processes left.

    Yields
    ------
    Path
        Below the folder for temporary files.

    Raises
    ------
    OSError
        No folder for temporary files can be written.
    """
    root = Path(tempfile.gettempdir())
    _remove_stale(root)
    folder = None
    try:
        with hold_interrupts():  # which would fall between making it and knowing its name
            folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{_mark()}-", dir=root))
        yield folder
    finally:
        if folder is not None:
            with hold_interrupts():
                shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(root: Path) -> None:
    """Remove folders of killed processes, and the semaphores that their pools of workers left."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(root)):
            if not _is_stale(entry.name, _SCRATCH) or not _is_mine(Path(entry.path)):
                continue
            pid = entry.name.removeprefix(_SCRATCH).split("-")[1]
            for semaphore in _SEMAPHORES.glob(f"sem.loky-{pid}-*"):
                if _is_mine(semaphore):
                    semaphore.unlink(missing_ok=True)
            shutil.rmtree(entry.path, ignore_errors=True)


def _mark() -> str:
    """Return what a name says of its process: in which space its number counts, and the number."""
    space = _space() or socket.gethostname()
    return f"{''.join(filter(str.isalnum, space))}-{os.getpid()}"


def _is_stale(name: str, prefix: str) -> bool:
    if not name.startswith(prefix):
        return False
    space, _, rest = name.removeprefix(prefix).partition("-")
    pid = rest.partition("-")[0]
    return space == _mark().partition("-")[0] and pid.isdecimal() and not _is_there(int(pid))


def _is_mine(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()


def _space() -> str | None:
    """Return in which space process numbers count here: the machine's start and the namespace; None if not told."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}.{(_PROC / 'self/ns/pid').stat().st_ino:x}"
    except OSError:
        return None


def _status(pid: int) -> list[str] | None:
    """Return what Linux says of a process, from its state on; None where it is gone or nothing is said."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _started(pid: int) -> int | None:
    status = _status(pid)
    return None if status is None else int(status[19])


def _is_there(pid: int) -> bool:
    if (status := _status(pid)) is not None:
        return status[0] not in "ZX"  # ended, and not yet collected by its parent
    if _space() is not None:
        return False
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
