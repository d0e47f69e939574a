"""How the work of a command is done: on how many processes, which share of it, on which cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core import InputError, Message, Settings, option
from .backend import asked_threads
from .cluster import ask_workers
from .resources import Resources, cpu_resources, network_resources
from .shard import Shard


@dataclass(frozen=True)
class Work(Settings):
    """How work is done; nothing of it but `skip_errors` and `threads` can be seen in a result."""

    jobs: int | None = option(
        None,
        recorded=False,
        decides=False,
        help="Processes; default: one per core, for networks per GPU if Keras sees any.",
    )
    shard: Shard | None = option(
        None,
        recorded=False,
        decides=False,
        metavar="K/N",
        help="Do every N-th unit, from the K-th; 1/16 ... 16/16 do all, and a call without it puts them together.",
    )
    dask: str | None = option(
        None, recorded=False, decides=False, metavar="ADDRESS", help="Use the workers of this Dask scheduler."
    )
    overwrite: bool = option(
        False, recorded=False, decides=False, help="Remove existing results first; default: resume."
    )
    skip_errors: bool = option(False, help="Leave out images that cannot be used, and exit with 1.")
    threads: int | None = option(
        None,
        least=1,
        help="Of each process that trains networks on the CPU; results differ by it; default: 1, or cores / folds.",
    )

    def validate(self) -> None:
        """Refuse `threads` with `dask`, and `overwrite` with `shard`."""
        if self.threads is not None and self.dask is not None:
            raise InputError(
                Message("{threads} with {dask}: its workers have their own; start them with BCHISTO_THREADS set")
            )
        if self.overwrite and self.shard is not None:
            raise InputError(
                Message("{overwrite} with {shard} would remove what other shards did; overwrite without {shard}")
            )

    def environments(self, folder: Path, packages: Iterable[str] = ()) -> list[dict[str, str]]:
        """Return the versions of packages of those who do the work, which may not be those of this process.

        Parameters
        ----------
        folder : Path
            What they must see.
        packages : iterable of str

        Returns
        -------
        list of dict
            Of each kind of Dask worker; without Dask one that is empty.

        Raises
        ------
        InputError, DependencyError
            See `bchisto.jobs.ask_workers`.
        """
        return [{}] if self.dask is None else ask_workers(self.dask, folder=folder, packages=packages)

    def ask(self, folder: Path) -> None:
        """Refuse Dask workers that do not see a folder, and warn of those of another version, see `environments`."""
        self.environments(folder)

    def cpu(self) -> Resources:
        """Return what work without networks gets of this machine."""
        return cpu_resources(self.jobs)

    def networks(self) -> Resources:
        """Return what work with networks gets of this machine, by what Keras's backend sees.

        Raises
        ------
        DependencyError
            Keras cannot load its backend.
        """
        return network_resources(self.jobs)

    def training(self, units: int, *, begun: int | None = None) -> Resources:
        """Return what the training of `units` networks gets of this machine.

        Parameters
        ----------
        units : int
            All of them, also those of other shards: the threads of a network must not depend on who trains it.
        begun : int, optional
            Threads with which the first of them were trained.

        Raises
        ------
        DependencyError
            Keras cannot load its backend.
        InputError
            ``BCHISTO_THREADS`` is no positive number.
        """
        found = self.networks()
        if found.gpus or self.dask is not None:
            return found
        threads = self.threads or asked_threads() or begun or max(1, found.cores // units)
        fitting = max(1, found.cores // threads)
        return replace(found, processes=fitting if self.jobs is None else self.jobs, threads=threads)
