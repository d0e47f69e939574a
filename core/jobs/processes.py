"""Processes: interrupts, worker processes, and temporary files, each with the process that it belongs to."""

from __future__ import annotations

import contextlib
import functools
import hashlib
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import Content, printable

_SCRATCH = "bchisto-"
_SEMAPHORES = Path("/dev/shm")  # nosec B108
_PROC = Path("/proc")

INTERRUPTS = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
"""Signals with which a user, a shell or a scheduler interrupts a command, often all of its processes at once."""

_WATCH_SECONDS = 1.0
"""How often a worker checks that its parent runs: cheap, and well below the ten seconds that it may outlive it."""


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Delay an interrupt that arrives inside the block until its end.

    Use it for what must not stop half-way, such as the start and end of worker processes. Processes that are started
    inside begin with these signals blocked, so that no signal kills them before `prepare_worker`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = []
    handlers = {
        number: signal.signal(number, lambda number, _: signals.append(number))
        for number in INTERRUPTS
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if signals:
            signal.raise_signal(signals[0])


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is an interrupt, or an error of C code after one, which the command line has noted."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return any(
        getattr(signal.getsignal(number), "received", None) is not None for number in INTERRUPTS
    )


def prepare_worker(parent: int, folder: Path | None = None) -> None:
    """Set this process up as a worker: it ignores interrupts, and ends when its parent has ended.

    Parameters
    ----------
    parent : int
        Process id of the parent.
    folder : Path, optional
        Folder for temporary files of libraries; the parent removes it.
    """
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    if folder is not None:
        use_scratch(folder)
    if logging.lastResort is not None:  # this handler prints the warnings of a worker
        logging.lastResort.setFormatter(_Printable())
    hush_readers()
    when_orphaned(functools.partial(os._exit, 1), parent=parent)


def use_scratch(folder: Path) -> None:
    """Let this process put its temporary files into a folder that is removed before the process ends."""
    tempfile.tempdir = str(folder)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - `Path.home` fails for a user without one, who keeps "~"
    # matplotlib's own folder would be gone before matplotlib removes it at exit
    if not (home.is_absolute() and os.access(home, os.W_OK)):
        os.environ.setdefault("MPLCONFIGDIR", str(folder))


def hush_readers() -> None:
    """Suppress the warnings of packages that read images, in a process of bchisto, which raises its own errors.

    Pillow and tifffile warn of damaged tags just before the error that bchisto reports with the file's name. pydicom
    quotes invalid values, which may be a patient's name.
    """
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", module="pydicom")
    # not its level, which pydicom sets when it is imported
    logging.getLogger("pydicom").propagate = False
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class _Printable(logging.Formatter):
    """Formats messages with control characters escaped; those of bchisto in one line."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(
            super().format(record),
            lines=record.name.partition(".")[0] != __package__.partition(".")[0],
        )


def when_orphaned(action: Callable[[], object], *, parent: int) -> None:
    """Call a function, in a thread of its own, once the parent of this process has ended, even by ``kill -9``."""

    def follow() -> None:
        while os.getppid() == parent:  # a process whose parent has ended gets another parent
            time.sleep(_WATCH_SECONDS)
        action()

    threading.Thread(target=follow, daemon=True, name="bchisto-follow").start()


def this_process() -> Content:
    """Return a description that identifies this process on any host, JSON-ready.

    Returns
    -------
    dict
        ``host``. ``pid``. ``started``, in clock ticks since the machine was started, which differs for a later process
        with the same id. ``space``, the machine's boot id and the process-id namespace. The last two are None if the
        system does not provide them.
    """
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _state(pid)[1], "space": _space()}


def is_running(process: Any) -> bool | None:
    """Return whether a process still runs.

    Parameters
    ----------
    process : mapping
        The return value of `this_process` in that process.

    Returns
    -------
    bool or None
        None if it cannot be checked from here: it is on another host, or in another container of this host, or not as
        bchisto writes it.
    """
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError, OverflowError):
        if process["host"] != socket.gethostname():
            return None
        own_space = _space()
        space = process.get("space")
        if own_space is not None and space is not None and own_space != space:
            if own_space.partition(".")[0] == space.partition(".")[0]:
                return None
            # this host was restarted since
            return False
        pid = int(process["pid"])
        started = process.get("started")
        return _is_there(pid) and (started is None or _state(pid)[1] == started)
    return None


def temporary_path(path: Path) -> Path:
    """Return a path for a temporary file next to `path`, with a name that identifies this process.

    Temporary files of `path` whose process on this host has ended are removed.
    """
    prefix = f"{path.name}.part-"
    with contextlib.suppress(OSError):
        for entry in list(path.parent.iterdir()):
            if _is_stale(entry.name, prefix):
                with contextlib.suppress(OSError):
                    entry.unlink()
    return path.with_name(f"{prefix}{_mark()}-{secrets.token_hex(4)}")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder that is removed at the end; also remove those that killed processes left.

    Yields
    ------
    Path
        A folder inside the system's folder for temporary files.

    Raises
    ------
    OSError
        No temporary folder can be created.
    """
    root = Path(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        for entry in list(root.iterdir()):
            if not _is_stale(entry.name, _SCRATCH, after_restart=True) or not _is_mine(entry):
                continue
            pid = entry.name.removeprefix(_SCRATCH).split("-")[2]
            for semaphore in _SEMAPHORES.glob(f"sem.loky-{pid}-*"):  # those of its worker pools
                if _is_mine(semaphore):
                    semaphore.unlink(missing_ok=True)
            shutil.rmtree(entry, ignore_errors=True)
    folder = None
    try:
        # an interrupt between creating the folder and storing its name would leave it behind
        with hold_interrupts():
            folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{_mark()}-", dir=root))
        yield folder
    finally:
        if folder is not None:
            with hold_interrupts():
                shutil.rmtree(folder, ignore_errors=True)


def _mark() -> str:
    """Return the part of a temporary name that identifies this process: a hash of its host, its space and its id."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f"{host}-{_space() or ''}-{os.getpid()}"


def _is_stale(name: str, prefix: str, *, after_restart: bool = False) -> bool:
    """Return whether the process of a temporary name has ended; before this host's restart only if `after_restart`.

    Only folders for temporary files are on a disk of this host; results may be on one that several hosts share.
    """
    if not name.startswith(prefix):
        return False
    host, _, remainder = name.removeprefix(prefix).partition("-")
    space, _, remainder = remainder.partition("-")
    pid = remainder.partition("-")[0]
    if not pid.isdecimal():
        return False
    own_host, own_space, _ = _mark().split("-")
    if host != own_host:
        return False
    if space != own_space:  # of another container, or of before this host was restarted
        return after_restart and space.partition(".")[0] != own_space.partition(".")[0]
    return not _is_there(int(pid))


def _is_mine(path: Path) -> bool:
    """Return whether a file belongs to this user."""
    return path.lstat().st_uid == os.getuid()


def _space() -> str | None:
    """Return the space in which process ids are unique: the machine's boot id and the namespace; None if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}.{(_PROC / 'self/ns/pid').stat().st_ino:x}"
    except OSError:
        return None


def _state(pid: int) -> tuple[str, int | None]:
    """Return the state of a process and when it started; empty and None if there is no such process or no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _is_there(pid: int) -> bool:
    """Return whether a process with this id runs on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return _state(pid)[0] not in ("Z", "X")  # a zombie: ended, but not yet collected by its parent
