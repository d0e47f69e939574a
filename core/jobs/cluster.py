"""Runs units on a Dask cluster, after a check of the workers' packages and shared folder."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TypeVar

from .. import BchistoError, DependencyError, InputError, Message, how_to_install

U = TypeVar("U")
R = TypeVar("R")
_log = logging.getLogger(__name__)

_ANSWER_SECONDS, _WORKER_SECONDS = 10, 30
"""How long to wait for a Dask scheduler, and for its first worker."""


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yield a client of a Dask scheduler, once it has a worker."""
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError("{dask} needs the Dask extra: {}", how_to_install("dask")) from error
    try:
        client = Client(address, timeout=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            "{dask} {}: no Dask scheduler answers there ({}); start one with `dask scheduler`",
            address,
            error,
        ) from error
    with contextlib.ExitStack() as stack:
        # it would log that the scheduler is gone, which our own error tells
        client_log = logging.getLogger("distributed.client")
        stack.callback(client_log.setLevel, client_log.level)
        client_log.setLevel(logging.CRITICAL + 1)
        stack.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise InputError(
                "{dask} {}: it has no workers; start some: `dask worker {}`", address, address
            ) from error
        yield client


def ask_workers(address: str, *, folder: Path, packages: Iterable[str]) -> list[dict[str, str]]:
    """Return the versions of packages on the workers of a Dask cluster; workers with equal versions give one entry.

    Parameters
    ----------
    address : str
        Address of the scheduler.
    folder : Path
        A folder that every worker must see.
    packages : iterable of str

    Raises
    ------
    InputError
        There is no scheduler or no worker, or a worker lacks bchisto or one of the packages, or does not see the
        folder.
    DependencyError
        Dask is not installed.
    """

    # sent with its code, since a worker may have another bchisto
    def answer() -> tuple[bool, dict[str, str]]:
        versions = {}
        for name in packages:
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(name)
        with contextlib.suppress(ImportError):
            versions["bchisto"] = import_module("bchisto").__version__
        return os.path.isdir(path), versions  # noqa: PTH112

    packages = list(packages)
    path = str(folder.absolute())
    own = answer()[1]
    with _connected(address) as client:
        answers = client.run(answer)
    for worker, (has_folder, versions) in answers.items():
        missing = sorted(own.keys() - versions.keys())
        if missing:
            text = "{dask} {}: worker {} has no {}, which this work needs; install there what is installed here"
            raise InputError(text, address, worker, ", ".join(missing))
        if not has_folder:
            text = "{dask} {}: worker {} does not see {}; all workers must see the same files under the same paths"
            raise InputError(text, address, worker, path)
        names = [name for name, version in own.items() if versions[name] != version]
        if names:
            worker_text = ", ".join(f"{name} {versions[name]}" for name in names)
            own_text = ", ".join(f"{name} {own[name]}" for name in names)
            text = "{dask} {}: worker {} runs {}, and this is {}; what it makes is recorded as made with its own"
            _log.warning(Message(text, address, worker, worker_text, own_text))
    environments = []
    for _, versions in answers.values():
        if versions not in environments:
            environments.append(versions)
    return environments


def run_on_dask(call: Callable[[U], R], units: Sequence[U], *, address: str) -> Iterator[R]:
    """Yield the result of a call for each unit, in the order in which the workers finish.

    Raises
    ------
    InputError
        No scheduler answers, or it has no workers.
    DependencyError
        Dask is not installed.
    BchistoError
        The scheduler is gone, or several workers were killed at the same unit.
    """
    with _connected(address) as client:
        from distributed import CancelledError, KilledWorker, as_completed
        from distributed.comm import CommClosedError

        _log.info("using the Dask cluster at %s", address)
        try:
            folder = str(Path.cwd())
            futures = [client.submit(_in_folder, folder, call, unit, pure=False) for unit in units]
            for future in as_completed(futures):
                yield future.result()
        except (CancelledError, CommClosedError) as error:
            raise BchistoError(
                "{dask} {}: the scheduler is gone; start it and run the same again", address
            ) from error
        except KilledWorker as error:
            raise BchistoError(
                "several Dask workers were killed, most often for lack of memory; give them more and run the same again"
            ) from error


def _in_folder(folder: str, call: Callable[[U], R], unit: U) -> R:
    """Do a unit in the working folder of the command, so that relative paths mean the same in all units."""
    # if the worker does not see this folder, only absolute paths can work
    with contextlib.suppress(OSError):
        os.chdir(folder)
    return call(unit)
