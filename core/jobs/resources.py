"""The processes, cores, threads and GPUs of this machine that work uses, by the same rules for every command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .backend import asked_threads, visible_gpus

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Environment variables that are 1 in workers: with all cores busy, further OpenMP threads cost more than they gain."""

_START_SECONDS, _KERAS_SECONDS = 2.0, 10.0
"""Start of a process that reads its networks from the cache or has none, and of one that builds them with Keras, see
docs/performance.md."""

GPU_SECONDS = 60.0
"""Start of the networks on a GPU, which compiles them, see docs/performance.md."""

SHARE = "BCHISTO_CORES"
"""Variable of a worker process: its share of the cores."""


@dataclass(frozen=True)
class Resources:
    """The processes, cores, GPUs and threads of this machine that a piece of work uses.

    Attributes
    ----------
    processes : int
        Number of units that run at the same time.
    cores : int
        Number of cores that this process may use.
    gpus : tuple of str
        GPUs for the networks, as ``CUDA_VISIBLE_DEVICES`` names them; empty on the CPU.
    threads : int, optional
        Threads of each process for networks on the CPU, if the result depends on the number; None if it does not.
    start : float
        Seconds that a process takes to begin: it imports libraries, and opens its networks.
    here : bool
        Whether this process is one of them, which begins at once; the others are started if the work is worth it.
    """

    processes: int
    cores: int
    gpus: tuple[str, ...] = ()
    threads: int | None = None
    start: float = field(default=_START_SECONDS, compare=False)
    here: bool = field(default=False, compare=False)

    @property
    def recorded(self) -> dict[str, str]:
        """What a folder records of the resources, in addition to the versions of packages."""
        if self.threads is None:
            return {}
        return {"threads": str(self.threads)}

    def worth(self, seconds: float) -> Resources:
        """Return as many processes as work of so many seconds is worth: each saves at least the time of its own start.

        Examples
        --------
        >>> [Resources(4, 4).worth(seconds).processes for seconds in (7, 8, 11, 12, 23, 24)]
        [1, 2, 2, 3, 3, 4]
        """
        if self.gpus:
            return self
        count = 1
        while count < self.processes and seconds >= self.least(count + 1):
            count += 1
        return replace(self, processes=count)

    def clock(self, seconds: float) -> float:
        """Return how long work of so many seconds of one process takes by the clock."""
        return seconds / self.processes + self.start * (self.processes > 1)

    def least(self, processes: int) -> float:
        """Return the seconds of work from which on so many processes are worth their start, see `worth`.

        With n processes instead of n - 1, the work ends ``seconds / (n (n - 1))`` earlier, which must be a start at
        least. Two that are both started must save two starts, since this process would have begun at once.
        """
        pairs = processes * (processes - 1)
        if self.here:
            return self.start * (1 + pairs)
        return self.start * max(4, pairs)

    def helpers(self, units: int) -> int:
        """Return the number of threads or processes that prepare the input of each of `units` units, at least 1.

        Examples
        --------
        >>> Resources(processes=2, cores=16, gpus=("0", "1")).helpers(10)
        8
        """
        return max(1, self.cores // max(1, min(self.processes, units)))


def default_jobs() -> int:
    """Return the number of cores that this process may use; in a worker process, its share of them."""
    share = os.environ.get(SHARE)
    if share:
        return int(share)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_resources(jobs: int | None = None) -> Resources:
    """Return the resources for work without networks of Keras: `jobs` processes, or as many as it is worth."""
    cores = default_jobs()
    if jobs is None:
        return Resources(cores, cores, here=True)
    return Resources(jobs, cores)


def network_resources(jobs: int | None = None, *, on_keras: bool = True) -> Resources:
    """Return the resources for work with networks; without Keras, as with OpenVINO, those of `cpu_resources`.

    On the CPU, that is one single-threaded process per core, or fewer processes with ``BCHISTO_THREADS`` threads each.
    On GPUs, it is one process per GPU that Keras's backend uses: several processes on one GPU wait for each other, and
    each needs memory. The other cores prepare the input.

    Parameters
    ----------
    jobs : int, optional
        Number of processes, which replaces that default; processes share GPUs if there are more processes than GPUs.
    on_keras : bool
        Whether Keras computes.

    Raises
    ------
    DependencyError
        Keras cannot load its backend.
    """
    if not on_keras:  # the CPU is used even if Keras finds a GPU
        return cpu_resources(jobs)
    cores = default_jobs()
    gpus = visible_gpus()
    if jobs is None:
        jobs = len(gpus) or max(1, cores // (asked_threads() or 1))
    return Resources(jobs, cores, gpus, start=_KERAS_SECONDS)


@contextlib.contextmanager
def one_thread_of_opencv() -> Iterator[None]:
    """Limit OpenCV to one thread inside the block, if processes or threads of bchisto already use the cores."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
