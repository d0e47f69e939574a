"""The work of a command: its settings, and its processes, threads and GPUs, by the same rules for every command.

A unit is a piece of work. A shard is every N-th of all units, whether they are finished or not.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from .. import BchistoError, InputError, Message, Settings, option
from .backend import asked_threads, computing_threads, visible_gpus

T = TypeVar("T")


NOTHING_NEW = 4
"""Exit code of a command that has nothing to do."""


class UnderWayError(BchistoError):
    """Work that another process, or jobs of a cluster, do at this moment."""

    exit_code = 3


@dataclass(frozen=True)
class Shard:
    """Shard `index` (1-based) of `count` shards."""

    index: int
    count: int

    def select(self, units: Sequence[T]) -> list[T]:
        """Return every `count`-th unit, starting with unit `index`."""
        return list(units[self.index - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``K/N``.

        Raises
        ------
        InputError
            The text is not two positive integers with K at most N.

        Examples
        --------
        >>> Shard.parse("3/16").select(list(range(40)))
        [2, 18, 34]
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None:
            raise InputError("{shard} {}: write it as K/N, for example 3/16", text)
        index = int(match[1])
        count = int(match[2])
        if not 1 <= index <= count:
            raise InputError("{shard} {}: K counts from 1 and is at most N", text)
        return cls(index, count)


@dataclass(frozen=True)
class Share:
    """The size of a shard, and how much of the whole work is done.

    Attributes
    ----------
    shard : Shard
    own, done, units : int
        Number of units of the shard, of units that any shard has finished, and of all units.
    unit : str
        Name of the units, in the plural.
    """

    shard: Shard
    own: int
    done: int
    units: int
    unit: str

    def __str__(self) -> str:
        units = f"{self.units} {self.unit}"
        if self.units == 1:
            units = units.removesuffix("s")
        share = f"is empty, since there is no more work than {units}"
        if self.own:
            share = f"has {self.own} of {units}"
        return f"shard {self.shard} {share}; {self.done} of {self.units} done"


@dataclass(frozen=True)
class Work(Settings):
    """Settings for how work is done; only `skip_errors` and `threads` can change a result."""

    jobs: int | None = option(
        None,
        group="Speed",
        recorded=False,
        least=1,
        help="Processes; default: as many as the work is worth, at most one per core, or per GPU if Keras sees any.",
    )
    shard: Shard | None = option(
        None,
        recorded=False,
        metavar="K/N",
        help="Do every N-th unit, from the K-th; 1/16 ... 16/16 do all, and a call without it puts them together.",
    )
    dask: str | None = option(
        None,
        recorded=False,
        metavar="ADDRESS",
        help="Use the workers of this Dask scheduler.",
    )
    overwrite: bool = option(
        False,
        group="Output",
        recorded=False,
        help="Remove existing results first; default: resume.",
    )
    skip_errors: bool = option(
        False,
        group="Input",
        help="Leave out images that cannot be used; a command then exits with 1.",
    )
    threads: int | None = option(
        None,
        least=1,
        help="Threads of a process that trains networks; results differ by it; default: 1, or cores / folds.",
    )

    checks: bool = option(
        False,
        group="",
        flag="check",
        recorded=False,
        help="Only refuse what the work would refuse, and list its units; with a shard, so that nothing is merged.",
    )

    def __post_init__(self) -> None:
        """Refuse `threads` with `dask`, and `overwrite` with `shard`."""
        super().__post_init__()
        if self.threads is not None and self.dask is not None:
            raise InputError(
                Message(
                    "{threads} with {dask}: its workers have their own; set BCHISTO_THREADS there"
                )
            )
        if self.overwrite and self.shard is not None:
            raise InputError(
                Message(
                    "{overwrite} with {shard} would remove what other shards did; leave out {shard}"
                )
            )

    @property
    def is_whole(self) -> bool:
        """Whether this process does all of the work on this machine, without check, shard and workers of Dask."""
        return not (self.checks or self.shard or self.dask)

    def refuse_shard(self, reason: str) -> None:
        """Refuse a shard, for a command that does all its work at once.

        Parameters
        ----------
        reason : str
            Template of the message, with a place for the shard.

        Raises
        ------
        InputError
        """
        if self.shard is not None:
            raise InputError(reason, self.shard)

    def training(self, units: int, *, begun: int | None = None) -> Resources:
        """Return the resources of this machine for the training of `units` networks.

        Parameters
        ----------
        units : int
            Number of networks, including those of other shards: the threads of a network must not depend on its shard.
        begun : int, optional
            Threads with which the first of them were trained.

        Raises
        ------
        DependencyError
            Keras cannot load its backend.
        InputError
            ``BCHISTO_THREADS`` is not a positive number.
        """
        available = network_resources(self.jobs)
        if available.gpus or self.dask is not None:
            return available
        threads = self.threads or asked_threads() or begun or max(1, available.cores // units)
        fitting = max(1, available.cores // threads)
        here = self.jobs is None and computing_threads() in (threads, None)
        return replace(available, processes=self.jobs or fitting, threads=threads, here=here)


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


SHARE = "BCHISTO_CORES"
"""Variable of a worker process: its share of the cores."""


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
