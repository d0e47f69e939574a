"""How the work of a command is done: on how many processes, which share of it, on which cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..arguments import as_whole, convert_fields
from ..errors import InputError
from ..options import option
from .backend import asked_threads
from .cluster import ask_workers
from .resources import Resources, cpu_resources, network_resources
from .shard import Shard, parse_shard


def _as_shard(value: Shard | str, name: str) -> Shard:
    return parse_shard(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Work:
    """How work is done; nothing of it but `skip_errors` and `threads` can be seen in a result.

    Attributes
    ----------
    jobs : int, optional
        Processes; by default one per core, for networks one per GPU where Keras's backend sees any.
    shard : Shard or str, optional
        Do this share of the units (``"3/16"``: every 16th, from the third), and leave putting them together to a call
        without it.
    dask : str, optional
        Address of a Dask scheduler whose workers are used; they must see the same files.
    overwrite : bool
        Remove what is there first; by default what is missing is done.
    skip_errors : bool
        Leave out images that cannot be used, and list them, instead of stopping.
    threads : int, optional
        With which each process trains a network on the CPU; by default one, or where a protocol has fewer folds than
        there are cores, as many as leave none idle. Another number gives other results: sums are added up in another
        order.

    Raises
    ------
    InputError
        Not a whole number, no share, `threads` below 1 or with `dask`, or `overwrite` with `shard`.
    """

    jobs: int | None = option(None, recorded=False)
    shard: Shard | None = option(None, recorded=False)
    dask: str | None = option(None, recorded=False)
    overwrite: bool = option(False, recorded=False)
    skip_errors: bool = False
    threads: int | None = option(None, sparse=True)

    def __post_init__(self) -> None:
        convert_fields(self, jobs=as_whole, threads=as_whole, shard=_as_shard)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"`threads` {self.threads}: give at least 1")
        if self.threads is not None and self.dask is not None:
            raise InputError("`threads` with `dask`: its workers have their own; start them with BCHISTO_THREADS set")
        if self.overwrite and self.shard is not None:
            raise InputError("`overwrite` with `shard` would remove what other shards did; overwrite without `shard`")

    @classmethod
    def of(cls, value: Work | None) -> Work:
        """Return what was passed, or the default."""
        return cls() if value is None else value

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
