"""Running units: in this process, in worker processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BchistoError, DependencyError, InputError
from .progress import Progress, Ticker
from .resources import GpuClaims, one_thread_of_opencv

__all__ = ["run_units"]

U = TypeVar("U")
R = TypeVar("R")
_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
"""How often the bar looks at what workers have finished (ours)."""


def run_units(
    work: Callable[[U, Ticker], R],
    units: Sequence[U],
    *,
    steps: Callable[[U], int],
    jobs: int,
    label: str,
    step_name: str,
    dask: str | None = None,
    gpus: Sequence[str] = (),
) -> list[R]:
    """Run `work` on every unit and return the results in the order in which they finish.

    Parameters
    ----------
    work : callable
        ``work(unit, ticker)``: does the unit, ticking once per finished step. Must be importable by name when
        `jobs` is above 1 or `dask` is given.
    units : sequence
        What to do, each picklable.
    steps : callable
        The number of steps in a unit, for the progress bar.
    jobs : int
        Processes; 1 works in this one.
    label, step_name : str
        What the progress bar says.
    dask : str, optional
        Address of a Dask scheduler; its workers are used instead of processes of this machine.
    gpus : sequence of str
        GPUs that the work runs on, see `Resources`. With several processes each gets one to itself as far as they go.

    Returns
    -------
    list
        The results. An error in a unit is raised here at once; units that were finished stay finished.

    Raises
    ------
    InputError
        `jobs` is not positive, or no scheduler answers at `dask`.
    DependencyError
        `dask` is given and the package is not installed.
    BchistoError
        A worker process was killed from outside.
    """
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1 process")
    results: list[R] = []
    with (
        tempfile.TemporaryDirectory(prefix="bchisto-") as folder,
        Progress(total=sum(map(steps, units)), label=label, unit=step_name) as progress,
    ):
        ticker = Ticker(Path(folder))
        with _watched(progress, ticker):
            finished = 0
            cards = GpuClaims(Path(folder), tuple(gpus), jobs)
            for unit, result in _results(work, units, ticker=ticker, jobs=jobs, dask=dask, cards=cards):
                finished += steps(unit)
                progress.update_to(max(finished, ticker.count()), note=ticker.note())
                results.append(result)
    return results


@contextlib.contextmanager
def _watched(progress: Progress, ticker: Ticker) -> Iterator[None]:
    """Move the bar between results, from what workers have ticked."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL_SECONDS):
            progress.update_to(ticker.count(), note=ticker.note())

    thread = threading.Thread(target=watch, daemon=True, name="bchisto-progress")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _results(
    work: Callable[[U, Ticker], R],
    units: Sequence[U],
    *,
    ticker: Ticker,
    jobs: int,
    dask: str | None,
    cards: GpuClaims,
) -> Iterator[tuple[U, R]]:
    if not units:
        return
    if dask is None and (jobs == 1 or len(units) == 1):
        for unit in units:
            with one_thread_of_opencv():
                result = work(unit, ticker)
            yield unit, result
        return
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _backend(dask, jobs=min(jobs, len(units))):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        try:
            yield from parallel(
                joblib.delayed(_call)(work, unit, ticker, cards if dask is None else None) for unit in units
            )
        except TerminatedWorkerError as error:
            raise BchistoError(
                "a worker process was killed, most often for lack of memory; what is done is kept, run it again with "
                "fewer --jobs"
            ) from error


def _call(work: Callable[[U, Ticker], R], unit: U, ticker: Ticker, cards: GpuClaims | None) -> tuple[U, R]:
    if cards is not None:
        cards.claim()
    with one_thread_of_opencv():
        return unit, work(unit, ticker)


@contextlib.contextmanager
def _backend(dask: str | None, *, jobs: int) -> Iterator[Any]:
    import joblib

    if dask is None:
        from joblib.externals.loky import get_reusable_executor

        with warnings.catch_warnings():
            # loky replaces a worker whose memory grew, as it does when a network is built; nothing is lost.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            try:
                # One thread a process: two OpenMP threads on a busy machine spin and cost far more than they bring.
                with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1) as config:
                    yield config
            finally:
                # Workers kept for the next stage would hold this stage's networks in memory.
                get_reusable_executor().shutdown(wait=True)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError("--dask needs the Dask extra: pip install 'bchisto[dask]'") from error
    try:
        client = Client(dask, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--dask {dask}: no Dask scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error
    with client, joblib.parallel_config("dask", wait_for_workers_timeout=30) as config:
        _log.info("using the Dask cluster at %s", dask)
        yield config
