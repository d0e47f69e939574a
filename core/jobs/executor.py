"""Runs units in this process, in worker processes or on a Dask cluster, and computes items ahead of their use."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from operator import length_hint
from pathlib import Path
from typing import Any, TypeVar

from .. import BchistoError, InputError, Message, system_reason
from .backend import NETWORK_THREADS, computing_threads
from .cluster import run_on_dask
from .locks import claim_number
from .processes import INTERRUPTS, hold_interrupts, prepare_worker, scratch_folder
from .progress import Progress, Ticker
from .resources import SHARE, THREADS, Resources, default_jobs, one_thread_of_opencv

U = TypeVar("U")
R = TypeVar("R")
_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
"""Interval at which the progress bar is updated, and at which a process with workers looks whether to stop them."""

_SIGNAL_SECONDS = 0.5
"""Time that a signal to all processes may take to reach this one after it has ended a worker."""

_TAKEN_SECONDS = 0.1
"""Time within which the pool's thread accepts the units that were submitted."""

_KILLED = Message(
    "a worker process was killed, most often for lack of memory; what is done is kept",
    remedies=["run it again when less else runs", Message("with fewer {jobs}")],
)

_TICKS = "ticks"
"""Subfolder of the folder for temporary files, in which workers also put other files."""

_PER_WORKER = 2
"""Items in advance for each worker: one being computed and one ready (more would only cost memory)."""

_IDLE_SECONDS = 5.0
"""Time after which idle workers end; until then, the next call uses them again."""


def run_units(
    work: Callable[[U, Ticker], R],
    units: Sequence[U],
    *,
    steps: Callable[[U], int],
    resources: Resources,
    label: str,
    step_name: str,
    dask: str | None = None,
) -> list[R]:
    """Run `work` on every unit and return the results in the order in which they finish.

    Parameters
    ----------
    work : callable
        ``work(unit, ticker)`` does the unit, and ticks once per finished step. It must be importable by name if it
        does not run in this process.
    units : sequence
        Picklable units of work.
    steps : callable
        Returns the number of steps in a unit, for the progress bar.
    resources : Resources
        With one process, the work runs in this process, unless that has another number of threads. Several processes
        get a GPU each, as long as there are enough.
    label, step_name : str
        Names of the task and of a step in the progress bar.
    dask : str, optional
        Address of a Dask scheduler, whose workers are used instead of processes of this machine.

    Returns
    -------
    list
        The results. An error in a unit is raised at once; the results of finished units remain.

    Raises
    ------
    InputError
        The number of processes is not positive, or no scheduler answers at `dask`.
    DependencyError
        `dask` is given, but the package is not installed.
    BchistoError
        A worker process was killed from outside, no worker can be started, or the Dask scheduler is gone.
    """
    if resources.processes < 1:
        raise InputError("{jobs} {}: give at least 1 process", resources.processes)
    results = []
    total = sum(map(steps, units))
    with contextlib.ExitStack() as stack:
        ticker = Ticker(None)
        folder = None  # stays None if there is no room for temporary files; only the progress bar needs them
        with contextlib.suppress(OSError):
            folder = stack.enter_context(scratch_folder())
            ticker = Ticker(folder / _TICKS)
            (folder / _TICKS).mkdir()

        progress = stack.enter_context(Progress(total=total, label=label, unit=step_name))
        stop = threading.Event()

        def watch() -> None:
            """Update the progress bar between results, from the ticks of the workers."""
            while not stop.wait(_POLL_SECONDS):
                steps_done, _, note = ticker.read()
                progress.update_to(steps_done, note=note)

        thread = threading.Thread(target=watch, daemon=True, name="bchisto-progress")
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        call = functools.partial(_call, work, ticker)
        outcomes = _results(call, units, resources=resources, dask=dask, folder=folder)
        # closed as soon as the loop ends; otherwise workers would go on until the error is garbage-collected
        stack.enter_context(contextlib.closing(outcomes))
        finished = 0
        try:
            for unit, result in outcomes:
                finished += steps(unit)
                steps_done, _, note = ticker.read()
                progress.update_to(max(finished, steps_done), note=note)
                results.append(result)
        except KeyboardInterrupt:
            kept = max(finished, ticker.read()[1])
            _log.info("%s: kept %d of %d %s", label, kept, total, step_name)
            raise
    return results


def _call(work: Callable[[U, Ticker], R], ticker: Ticker, unit: U) -> tuple[U, R]:
    """Do a unit, and return it with its result."""
    with one_thread_of_opencv():
        return unit, work(unit, ticker)


def _results(
    call: Callable[..., R],
    units: Sequence[U],
    *,
    resources: Resources,
    dask: str | None,
    folder: Path | None,
) -> Generator[R]:
    """Yield the results of units, from this process, from workers, or from a Dask cluster."""
    if not units:
        return
    jobs = min(resources.processes, len(units))
    threads = resources.threads
    if dask is not None:
        yield from run_on_dask(call, units, address=dask)
        return
    if jobs == 1 and (threads is None or computing_threads() in (threads, None)):
        yield from map(call, units)
        return
    _ignore_loky()
    env = dict.fromkeys(THREADS, "1")
    if threads is not None:
        env[NETWORK_THREADS] = str(threads)
    initializer = functools.partial(_begin, os.getpid(), folder, resources)
    in_workers = functools.partial(_in_processes, call, begin=initializer, env=env)
    if resources.here:
        yield from _here_first(call, units, resources, in_workers)
    else:
        yield from in_workers(units, jobs=jobs, stop=threading.Event())


def _here_first(
    call: Callable[[U], R],
    units: Sequence[U],
    resources: Resources,
    in_workers: Callable[..., Iterator[Any]],
) -> Generator[R]:
    """Do units in this process, and also in workers if the remaining units are worth their start.

    That is known from the time of the first unit, or as soon as it takes so long that they must be worth it. Then a
    thread starts the workers, while this process goes on::

        this process   unit 0 | unit 1 | unit 4 | ...   one iterator gives each unit to one of the two
        the thread     waits  |  starts workers: unit 2, unit 3 | ...

    The two share the iterator without a lock, since it is one of a list: its next item and its length hint, which is
    the number of units that nobody has taken, are each a single step under the GIL. Two threads cannot share a
    generator, which fails if it is asked while it runs.
    """
    queue = iter(list(units))
    outcomes: collections.deque[R] = collections.deque()
    errors = []
    start = time.monotonic()
    first_done = threading.Event()
    stop = threading.Event()

    def start_workers() -> None:
        # interrupts are for the main thread; workers inherit this until they ignore them, see `prepare_worker`
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        # once the first unit has taken so long, the others, of the same duration, are worth a second process
        longest_wait = resources.least(2) / (len(units) - 1)
        first_done.wait(longest_wait)
        plan = resources
        if first_done.is_set():
            unit_seconds = time.monotonic() - start
            plan = resources.worth(unit_seconds * length_hint(queue))
        # this process is one of those that are worth it
        workers = min(plan.processes - 1, length_hint(queue))
        if workers <= 0 or stop.is_set():
            return
        try:
            # a unit that a worker takes ahead would be lost to this process
            outcomes.extend(in_workers(queue, jobs=workers, ahead=0, stop=stop))
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=start_workers, name="bchisto-workers")
    thread.start()
    try:
        for unit in queue:
            result = call(unit)
            first_done.set()
            yield result
            if errors:
                break
        thread.join()
        if errors:
            raise errors[0]
        yield from outcomes
    finally:
        stop.set()
        first_done.set()
        thread.join()


def _begin(parent: int, folder: Path | None, resources: Resources) -> None:
    """Set this process up as a worker; of several GPUs it sees only one, which it may share with other workers."""
    prepare_worker(parent, folder)
    os.environ[SHARE] = str(resources.helpers(resources.processes))
    if folder is not None and len(resources.gpus) > 1:
        number = claim_number(folder, resources.processes)
        os.environ["CUDA_VISIBLE_DEVICES"] = resources.gpus[number % len(resources.gpus)]


def _in_processes(
    call: Callable[[U], R],
    units: Iterable[U],
    *,
    jobs: int,
    begin: Callable[[], None],
    env: dict[str, str],
    stop: threading.Event,
    ahead: int = 1,
) -> Iterator[R]:
    """Do units in workers, each with `ahead` further units waiting for it, until all are done or `stop` is set."""
    # joblib does not tell a killed worker from a failed one. Workers of loky are new interpreters, work in any script,
    # and are replaced if their memory grows.
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    pool = None
    complete = False
    queue = iter(units)
    futures = set()
    try:
        with _starting():
            pool = ProcessPoolExecutor(jobs, initializer=begin, env=env)
            # Not more than the pool accepts at once: its thread fails if it ends before it has accepted all units.
            for unit in itertools.islice(queue, (1 + ahead) * jobs):
                futures.add(pool.submit(call, unit))
        while futures and not stop.is_set():
            finished, futures = wait(futures, _POLL_SECONDS, FIRST_COMPLETED)
            with hold_interrupts():
                for unit in itertools.islice(queue, len(finished)):
                    futures.add(pool.submit(call, unit))
            for future in finished:
                yield future.result()
        complete = not futures
    except TerminatedWorkerError as error:
        # a signal to all processes is an interrupt, not a lack of memory
        time.sleep(_SIGNAL_SECONDS)
        raise BchistoError(_KILLED) from error
    except BrokenProcessPool as error:
        raise BchistoError(
            "worker processes fail ({})",
            error.__cause__ or error,
            remedies=["run it again", Message("try {jobs:1}")],
        ) from error
    finally:
        if pool is not None:
            # workers are killed at once unless all units are done
            with hold_interrupts():
                if not complete:
                    time.sleep(_TAKEN_SECONDS)
                pool.shutdown(wait=True, kill_workers=not complete)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Hold interrupts while workers are started, and refuse with remedies if they cannot be."""
    try:
        with hold_interrupts():
            yield
    except OSError as error:
        if error.filename is not None:
            raise
        remedies = ["free /dev/shm", "allow more (ulimit -u)", Message("use {jobs:1}")]
        text = "worker processes cannot be started ({})"
        raise BchistoError(text, system_reason(error), remedies=remedies) from error


def _ignore_loky() -> None:
    """Ignore the warnings of loky from now on: its threads may give them whenever there are workers.

    They say that a worker was replaced because its memory grew, for example after it built a network; that its child
    processes cannot be looked for, of which it has none; and that another number of workers waits for an item or two
    that a stopped call has left. Nothing is lost by any of these.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module="loky")


def map_ahead(function: Callable[[U], R], items: Iterable[U], *, processes: int) -> Iterator[R]:
    """Return an iterator of ``function(item)`` in the order of `items`, computed in advance by worker processes.

    The first item is computed by the process that asks for it, while the workers start. The next call uses the same
    workers, if the same thread makes it while they wait.

    Parameters
    ----------
    function : callable
        Importable by name and without side effects, since results are dropped if the caller stops early.
    items : iterable
    processes : int
        Number of workers; at most twice as many items are in memory.

    Raises
    ------
    BchistoError
        A worker was killed from outside. An error of `function` is raised unchanged, at its item.
    """
    from loky import get_reusable_executor

    _ignore_loky()
    # now, and not when the first item is asked for, since loky keeps one for each thread
    executor = get_reusable_executor(
        max_workers=processes,
        timeout=_IDLE_SECONDS,
        initializer=prepare_worker,
        initargs=(os.getpid(),),
        env=dict.fromkeys(THREADS, "1"),
    )
    return _by_workers(executor, function, items, workers=processes)


def _by_workers(
    executor: Any, function: Callable[[U], R], items: Iterable[U], *, workers: int
) -> Iterator[R]:
    """Yield the results of items in their order, the first from this process and the others from workers."""
    from loky.process_executor import TerminatedWorkerError

    try:
        yield from _in_order(
            lambda item: executor.submit(_alone, function, item),
            items,
            workers=workers,
            first=function,
        )
    except TerminatedWorkerError as error:
        raise BchistoError(_KILLED) from error


def in_threads(
    function: Callable[[U], R], items: Iterable[U], *, threads: int | None = None
) -> Iterator[R]:
    """Yield the same as `map_ahead`, with threads: for functions that release the GIL, or that cannot be pickled.

    By default there are as many threads as cores.
    """
    threads = threads or default_jobs()
    with ThreadPoolExecutor(threads, thread_name_prefix="bchisto-ahead") as executor:
        yield from _in_order(lambda item: executor.submit(function, item), items, workers=threads)


def _in_order(
    submit: Callable[[U], Future[R]],
    items: Iterable[U],
    *,
    workers: int,
    first: Callable[[U], R] | None = None,
) -> Iterator[R]:
    """Submit items, and yield their results in order; `first`, if given, computes the first one in this process."""
    futures: collections.deque[Future[R]] = collections.deque()
    queue = iter(items)
    results: Iterable[R] = ()
    if first is not None:
        results = map(first, list(itertools.islice(queue, 1)))
    try:
        futures.extend(map(submit, itertools.islice(queue, _PER_WORKER * workers)))
        yield from results
        while futures:
            result = futures.popleft().result()
            futures.extend(map(submit, itertools.islice(queue, 1)))
            yield result
    finally:
        for future in futures:
            future.cancel()


def _alone(function: Callable[[U], R], item: U) -> R:
    """Compute an item with one thread of OpenCV, since other workers use the other cores."""
    with one_thread_of_opencv():
        return function(item)
