"""One protocol of a run: a command that computes is a value, and `compute_all` runs it.

A `Computation` knows its units, reads finished ones, does missing ones, returns whether its outputs were made from
exactly its inputs, and writes them. What follows from a shard, a check and overwriting is decided only here.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from .cluster import ask_workers
from .executor import run_units
from .progress import Ticker, rough_duration
from .resources import Resources, cpu_resources
from .work import Share, Work

U = TypeVar("U")
"""A unit."""
K = TypeVar("K")
"""The kept result of a finished unit."""
M = TypeVar("M")
"""What `Computation.do` returns for a group of units."""
R = TypeVar("R")
"""What `Computation.write` returns in the end."""

_log = logging.getLogger(__name__)


class Computation(ABC, Generic[U, K, M, R]):
    """What a command computes, in units that are kept, and the outputs that are written from all of them.

    A subclass opens and refuses its inputs before `compute_all`, which then calls these members from top to bottom. All
    others are asked about the work wherever an answer is needed, and change nothing.

    ===================  ===============  ================  ======================  ==============================
    Called               Run              Run, overwriting  Shard                   Check
    ===================  ===============  ================  ======================  ==============================
    `check`              yes              no                yes                     yes
    `discard`            no               yes               no                      no
    `begin`              yes              yes               yes                     yes
    `units`, `describe`  yes              yes               yes                     yes
    `read`               all units        all units         units of the shard      as a run or a shard
    `note_work`          if any missing   if any missing    if any missing          if any missing
    `list_units`         if any missing   if any missing    if any missing          if any missing, else see below
    `do`                 missing units    missing units     missing units           no
    `rehearse`           no               no                no                      missing units
    `end_shard`          no               no                yes                     no
    `is_written`         see below        see below         always, without `kept`  if none missing
    `write`              see below        see below         no                      no
    ===================  ===============  ================  ======================  ==============================

    - The first three are each called for every computation of a command before the next member is called: nothing has
      changed if any is refused, and all earlier results are set aside before any work begins. The other members are
      called for one computation after the other.
    - A run writes its outputs, unless `rewrites` is false, no unit was missing, and `is_written` then returns True.
    - If `is_written` returns False, a check then calls `list_units`: others read from the list that there is work.
    - A check with overwriting calls only `rehearse` for every computation, with None for its units: earlier results
      must be neither removed nor read.
    """

    into: Path
    """The folder of the outputs."""

    work: Work
    """How the work is done."""

    unit: ClassVar[str]
    """The word for units, in the plural."""

    finished_clause: ClassVar[str]
    """Clause for the line about finished units: ``models are trained``."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the task in the progress bar."""

    @property
    @abstractmethod
    def step_name(self) -> str:
        """The word for the steps of the progress bar, in the plural."""

    @property
    def rewrites(self) -> bool:
        """Whether outputs are written again even if all units are finished and `is_written` returns True."""
        return True

    @property
    def skip_errors(self) -> bool:
        """Whether what cannot be used is left out."""
        return self.work.skip_errors

    def check(self) -> None:
        """Refuse a folder that holds results of other settings; write nothing.

        Raises
        ------
        SettingsConflictError, InputError
        """

    @abstractmethod
    def discard(self) -> None:
        """Set aside what earlier runs made."""

    def begin(self) -> None:
        """Write the settings of the folder, and remove what interrupted processes left."""

    @abstractmethod
    def units(self, *, merges: bool) -> Sequence[U]:
        """Return all units, in an order that does not depend on which are finished; none if nothing can be missing.

        Parameters
        ----------
        merges : bool
            Whether outputs are written from all units. Otherwise it is enough to know which units are finished.
        """

    def describe(self, units: Sequence[U]) -> None:
        """Write what people read about the units, such as a fold list."""

    @abstractmethod
    def read(self, unit: U) -> K | None:
        """Return the kept result of a finished unit; None if it is not finished, or its result is not valid."""

    def count_finished(self, units: Sequence[U]) -> int:
        """Return how many units are finished, in this shard or another."""
        return sum(self.read(unit) is not None for unit in units)

    @property
    @abstractmethod
    def do(self) -> Callable[[tuple[U, ...], Ticker], M]:
        """A function that does units and keeps their results; to run in other processes, it must be picklable."""

    def steps(self, unit: U) -> int:
        """Return the number of progress steps of a unit."""
        return 1

    def groups(self, units: Sequence[U]) -> Sequence[tuple[U, ...]]:
        """Return the units in groups that belong to the same shard."""
        return [(unit,) for unit in units]

    def bundles(self, units: Sequence[U]) -> Sequence[tuple[U, ...]]:
        """Return missing units in the groups that one call of `do` gets."""
        return self.groups(units)

    @property
    def resources(self) -> Resources:
        """The processes, threads and GPUs that the work may use; by default a process for each core."""
        return cpu_resources(self.work.jobs)

    def seconds(self, unit: U) -> float | None:
        """Measure the seconds of a unit in this process; None if that is not worth it, 0 if it cannot be measured."""
        return None

    @property
    def folder(self) -> Path:
        """The folder of the work, which workers of Dask must see too; by default that of the outputs."""
        return self.into

    @property
    def packages(self) -> Iterable[str]:
        """The packages that workers of Dask need."""
        return ()

    def note_work(self, units: Sequence[U], environments: Sequence[Mapping[str, str]]) -> None:
        """Record that missing units are done now, also if that is only checked.

        Parameters
        ----------
        units : sequence
            All units.
        environments : sequence of mapping
            Package to version, of each kind of worker; an empty mapping stands for this process.
        """

    def list_units(self, units: Sequence[U]) -> None:
        """Write the list of the files of all units, from which others read how much is done."""

    def rehearse(self, units: Sequence[U] | None) -> None:
        """Take as much memory as the missing units will; `submit` asks a cluster for what this process takes.

        Parameters
        ----------
        units : sequence or None
            None for all units, finished or not.
        """

    def end_shard(self) -> None:
        """Write what a shard can tell before the outputs are written."""

    def is_written(self, kept: Sequence[K | None]) -> bool:
        """Return whether all outputs exist, and were made from exactly these inputs.

        By default that is not known, and outputs are written again.

        Parameters
        ----------
        kept : sequence
            The result of each unit, of which none is missing. Empty for a shard, which reads only its own units: then
            only the outputs can tell, since units of other shards may be missing.
        """
        return False

    @abstractmethod
    def write(self, kept: Sequence[K | None], made: Sequence[M]) -> R:
        """Write the outputs, and return what the command needs to print about them.

        Parameters
        ----------
        kept : sequence
            For each unit its earlier result, None if it was done just now.
        made : sequence
            What `do` returned, in the order in which its calls ended.

        Raises
        ------
        BchistoError
            Units are missing although all were done, or another command has overwritten the folder.
        """


@dataclass(frozen=True)
class Computed(Generic[R]):
    """How a computation ended.

    Attributes
    ----------
    result : object or None
        What `Computation.write` returned; None for a shard or a check, and if nothing was to be written.
    share : Share or None
        For a shard, its share of the work, and how much of the whole is done.
    unchanged : bool
        Whether all units were finished and all outputs were written, so that nothing is to be done.
    """

    result: R | None
    share: Share | None = None
    unchanged: bool = False


def compute_all(computations: Sequence[Computation[U, K, M, R]]) -> list[Computed[R]]:
    """Do what is missing of each computation of a command, all with the same work, and write the outputs.

    Raises
    ------
    SettingsConflictError
        A folder contains results of other settings. Checked before anything is written.
    BchistoError
        See `bchisto.core.jobs.run_units` and `Computation.write`; the results of finished units remain.
    """
    work = computations[0].work
    if not work.overwrite:
        for computation in computations:
            computation.check()
    elif work.checks:
        # everything will be done anew; a check removes nothing, so earlier results must not be read
        for computation in computations:
            computation.rehearse(None)
        return [Computed(None) for _ in computations]
    else:
        # all of them before any work, so that an interrupted run can be resumed
        for computation in computations:
            computation.discard()
    for computation in computations:
        computation.begin()
    return [_Run(computation).compute() for computation in computations]


def compute(computation: Computation[U, K, M, R]) -> Computed[R]:
    """Run one computation, see `compute_all`."""
    (outcome,) = compute_all([computation])
    return outcome


class _Run(Generic[U, K, M, R]):
    """A run of a computation: its units, and which of them were finished when it started.

    Attributes
    ----------
    computation : Computation
    units : sequence
        All units.
    here : sequence
        The units of this shard, finished or not; without a shard, all.
    kept : sequence
        For each of all units its kept result, None if it was not finished; empty for a shard.
    missing : list
        The units of this shard that were not finished.
    """

    def __init__(self, computation: Computation[U, K, M, R]) -> None:
        self.computation = computation
        shard = computation.work.shard
        self.units = computation.units(merges=shard is None)
        computation.describe(self.units)
        self.here = self.units
        self.kept: Sequence[K | None] = ()
        if shard is None:
            self.kept = [computation.read(unit) for unit in self.units]
            results = zip(self.units, self.kept, strict=True)
            self.missing = [unit for unit, result in results if result is None]
        else:
            groups = shard.select(computation.groups(self.units))
            self.here = [unit for group in groups for unit in group]
            self.missing = [unit for unit in self.here if computation.read(unit) is None]

    def compute(self) -> Computed[R]:
        """Do the missing units of this shard, then write the outputs, or tell how much is done."""
        computation = self.computation
        work = computation.work
        finished = len(self.here) - len(self.missing)
        if finished:
            _log.info(
                "%s: %d of %d %s already",
                computation.label,
                finished,
                len(self.here),
                computation.finished_clause,
            )
        if self.missing:
            environments: Sequence[Mapping[str, str]] = [{}]
            if work.dask is not None:
                environments = ask_workers(
                    work.dask, folder=computation.folder, packages=computation.packages
                )
            computation.note_work(self.units, environments)
            computation.list_units(self.units)
        if work.checks:
            return self._check()
        results = self._do()
        if work.shard is not None:
            computation.end_shard()
            # another process may have written the outputs meanwhile
            unchanged = computation.is_written(self.kept)
            return Computed(None, self._share(), unchanged)
        if not computation.rewrites and self._is_unchanged():
            return Computed(None, unchanged=True)
        return Computed(computation.write(self.kept, results))

    def _check(self) -> Computed[R]:
        """Return what is to be done, without doing it."""
        self.computation.rehearse(self.missing)
        unchanged = self._is_unchanged()
        if not self.missing and not unchanged:
            # all units are finished, but others read from the list that outputs are to be written
            self.computation.list_units(self.units)
        return Computed(None, self._share(), unchanged)

    def _is_unchanged(self) -> bool:
        """Return whether nothing was to be done: no unit was missing, and the outputs are of these inputs."""
        return not self.missing and self.computation.is_written(self.kept)

    def _do(self) -> list[M]:
        """Do missing units with as many processes as they are worth; return what `Computation.do` returned."""
        computation = self.computation
        missing = self.missing
        if not missing:
            return []
        work = computation.work
        resources = computation.resources
        if len(missing) > 1 and work.dask is None:
            seconds = computation.seconds(missing[0])
            if seconds:
                steps = computation.steps
                seconds *= sum(map(steps, missing)) / steps(missing[0])
                if work.jobs is None:
                    resources = resources.worth(seconds)
                duration = rough_duration(resources.clock(seconds))
                _log.info("%s: about %s", computation.label, duration)
        return run_units(
            computation.do,
            computation.bundles(missing),
            steps=lambda group: sum(map(computation.steps, group)),
            resources=resources,
            dask=work.dask,
            label=computation.label,
            step_name=computation.step_name,
        )

    def _share(self) -> Share | None:
        """Return the share of a shard, and how much all shards have finished."""
        computation = self.computation
        shard = computation.work.shard
        if shard is None:
            return None
        finished = computation.count_finished(self.units)
        return Share(shard, len(self.here), finished, len(self.units), computation.unit)
