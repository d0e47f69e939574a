"""Work done ahead of the one who needs its results, in their order: by worker processes, so many items in advance."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import BchistoError
from .interrupts import prepare_worker
from .resources import KILLED, THREADS, one_thread_of_opencv

T = TypeVar("T")
R = TypeVar("R")

_PER_WORKER = 2
"""Items a worker in advance: one in the making, one ready (ours; more only costs memory)."""

_IDLE_SECONDS = 5.0
"""After which idle workers end; those of one stretch of work serve the next (ours)."""


def map_ahead(function: Callable[[T], R], items: Iterable[T], *, processes: int) -> Iterator[R]:
    """Yield ``function(item)`` in the order of `items`, made in advance by worker processes.

    Parameters
    ----------
    function : callable
        Importable by name, without side effects: what was made in advance is dropped when the caller stops early.
    items : iterable
    processes : int
        Workers; twice as many items are in memory at most.

    Raises
    ------
    BchistoError
        A worker was killed from outside. An error of `function` is raised as itself, in its place.
    """
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    executor: Any = get_reusable_executor(
        max_workers=processes,
        timeout=_IDLE_SECONDS,
        initializer=prepare_worker,
        initargs=(os.getpid(),),
        env=dict.fromkeys(THREADS, "1"),
    )
    try:
        yield from _in_order(lambda item: executor.submit(_call, function, item), items, most=_PER_WORKER * processes)
    except TerminatedWorkerError as error:
        raise BchistoError(KILLED) from error


def map_ahead_in_threads(function: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """Do as `map_ahead`, in threads of this process: for what leaves Python's lock, or cannot be sent to another."""
    with ThreadPoolExecutor(threads, thread_name_prefix="bchisto-ahead") as executor:
        yield from _in_order(lambda item: executor.submit(function, item), items, most=_PER_WORKER * threads)


def _in_order(submit: Callable[[T], Future[R]], items: Iterable[T], *, most: int) -> Iterator[R]:
    waiting: collections.deque[Future[R]] = collections.deque()
    rest = iter(items)
    try:
        waiting.extend(map(submit, itertools.islice(rest, most)))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(map(submit, itertools.islice(rest, 1)))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def _call(function: Callable[[T], R], item: T) -> R:
    with one_thread_of_opencv():
        return function(item)
