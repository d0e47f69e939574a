"""The settings for the work of a command, and its shards.

A unit is a piece of work. A shard is every N-th of all units, whether they are finished or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from .. import BchistoError, InputError, Message, Settings, option
from .backend import asked_threads, computing_threads
from .resources import Resources, network_resources

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
