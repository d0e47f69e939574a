"""How many processes, threads and GPUs a piece of work gets: one rule for every command."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .backend import asked_threads, visible_gpus

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
"""Variables that are 1 in workers: two OpenMP threads on a busy machine spin and cost far more than they bring."""

_CLAIM = "BCHISTO_GPU_CLAIM"
"""Variable of a worker process that says for which run it holds a card."""

_CLAIM_SECONDS = 10.0
"""How long a new worker waits for the place of one that is just ending."""

_TURN_SECONDS = 600.0
"""How long one waits for the turn of a process that may have been stopped; what it does would only be done twice."""

_TURN = ".turn"


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Let processes in one after the other, on all machines that see a folder, as far as its file system has locks.

    A lock ends with its process, so none is left behind; the file of it, and a folder that stays empty, are removed.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no locks or no right to write: then several do the same
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_empty, folder)
            handle = os.open(folder / _TURN, os.O_CREAT | os.O_RDWR)
            stack.callback(os.close, handle)
            until = time.monotonic() + _TURN_SECONDS
            while time.monotonic() < until:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.05)
        yield


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / _TURN).unlink(missing_ok=True)
        folder.rmdir()


@dataclass(frozen=True)
class Resources:
    """What a piece of work gets of this machine.

    Attributes
    ----------
    processes : int
        Units that are worked on at once.
    cores : int
        Cores that this process may use.
    gpus : tuple of str
        GPUs that the networks run on, as ``CUDA_VISIBLE_DEVICES`` names them; empty on the CPU.
    threads : int, optional
        With which each process computes networks on the CPU, where it can be seen in the result; None where it cannot.
    """

    processes: int
    cores: int
    gpus: tuple[str, ...] = ()
    threads: int | None = None

    @property
    def recorded(self) -> dict[str, str]:
        """What a folder notes of them, beside the versions of packages."""
        return {} if self.threads is None else {"threads": str(self.threads)}

    def helpers(self, units: int) -> int:
        """Return how many threads or processes prepare the input of each of `units` units, at least 1.

        Examples
        --------
        >>> Resources(processes=2, cores=16, gpus=("0", "1")).helpers(10)
        8
        """
        return max(1, self.cores // max(1, min(self.processes, units)))


def default_jobs() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_resources(jobs: int | None = None) -> Resources:
    """Return what work without networks gets: a process per core, or as many as the user says."""
    cores = default_jobs()
    return Resources(cores if jobs is None else jobs, cores)


def network_resources(jobs: int | None = None) -> Resources:
    """Return what work with networks gets.

    On the CPU that is a process of one thread per core, or as many as have room with ``BCHISTO_THREADS``. On GPUs it is
    a process per card that Keras's backend sees, since several processes on one card wait for each other and each takes
    memory. The other cores prepare their input.

    Parameters
    ----------
    jobs : int, optional
        The user's number of processes, which wins; those beyond the number of cards share them.

    Raises
    ------
    DependencyError
        Keras cannot load its backend.
    """
    cores, gpus = default_jobs(), visible_gpus()
    fitting = len(gpus) or max(1, cores // (asked_threads() or 1))
    return Resources(fitting if jobs is None else jobs, cores, gpus)


@contextlib.contextmanager
def one_thread_of_opencv() -> Iterator[None]:
    """Hold OpenCV to one thread inside the block, where processes or threads of ours use the cores already."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@dataclass(frozen=True)
class GpuClaims:
    """Deals GPUs out to worker processes: each holds a place for as long as it lives, and the place says which card.

    Attributes
    ----------
    folder : Path
        Where the places lie, as files that are locked; a lock ends with its process, however that ends.
    gpus : tuple of str
        See `Resources`.
    processes : int
        Workers, and so places; where there are more than cards, they share them evenly.
    """

    folder: Path
    gpus: tuple[str, ...]
    processes: int

    def claim(self) -> None:
        """Show this process one card alone; call before anything in it has looked for cards. Once done, it stays."""
        if len(self.gpus) < 2 or os.environ.get(_CLAIM) == str(self.folder):
            return
        os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[self._place() % len(self.gpus)]
        os.environ[_CLAIM] = str(self.folder)

    def _place(self) -> int:
        """Lock a place that no living process holds; its file stays open for as long as this process lives."""
        import fcntl

        until = time.monotonic() + _CLAIM_SECONDS
        while time.monotonic() < until:
            for number in range(self.processes):
                handle = os.open(self.folder / f"gpu-{number}", os.O_CREAT | os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(handle)
                else:
                    return number
            time.sleep(0.05)
        return os.getpid()  # no place came free; better to share a card than to stop
