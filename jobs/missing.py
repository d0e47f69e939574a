"""Doing what is missing: of some units this call's share, less what is finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .executor import run_units
from .progress import Ticker
from .resources import Resources
from .work import Work

_log = logging.getLogger(__name__)

U = TypeVar("U")
F = TypeVar("F")
R = TypeVar("R")


def singly(units: Sequence[U]) -> list[tuple[U, ...]]:
    """Return each unit alone."""
    return [(unit,) for unit in units]


@dataclass(frozen=True, kw_only=True)
class UnitSpec(Generic[U, F]):
    """What units of some work are, whatever does them.

    Attributes
    ----------
    read : callable
        What a finished unit left; None where it is not finished, or does not hold.
    steps : callable
        Progress steps of a unit.
    label, step_name : str
        What the progress bar says.
    said : str
        What a unit is and what becomes of it, for the line about those that are finished: ``models are trained``.
    dealt : callable
        Into what shards are dealt: units that belong together.
    bundled : callable
        What a process does in one go; by default as dealt.
    """

    read: Callable[[U], F | None]
    steps: Callable[[U], int]
    label: str
    said: str
    step_name: str
    dealt: Callable[[Sequence[U]], Sequence[tuple[U, ...]]] = singly
    bundled: Callable[[Sequence[U]], Sequence[tuple[U, ...]]] | None = None


def do_missing(
    work: Callable[[tuple[U, ...], Ticker], R],
    units: Sequence[U],
    spec: UnitSpec[U, F],
    *,
    how: Work,
    resources: Resources,
    begin: Callable[[], None] = lambda: None,
) -> tuple[list[F | None], list[R]]:
    """Do the units of this share that are not finished.

    Parameters
    ----------
    work : callable
        ``work(units, ticker)``: does some units in one go; see `bchisto.jobs.run_units`.
    units : sequence
        All of them, in an order that does not depend on what is finished.
    spec : UnitSpec
    how : Work
    resources : Resources
    begin : callable
        Called before the first unit is done, if there is one to do.

    Returns
    -------
    found : list
        For each unit what it had left before; None where it was not finished, or is not of this share.
    made : list
        What the work returned, in the order in which it ended.

    Raises
    ------
    BchistoError
        See `bchisto.jobs.run_units`; what was finished stays.
    """
    together = spec.dealt(units)
    share = [unit for some in (together if how.shard is None else how.shard.select(together)) for unit in some]
    found = {id(unit): spec.read(unit) for unit in share}
    todo = [unit for unit in share if found[id(unit)] is None]
    if len(todo) < len(share):
        _log.info("%s: %d of %d %s already", spec.label, len(share) - len(todo), len(share), spec.said)
    if todo:
        begin()
    made = run_units(
        work,
        (spec.bundled or spec.dealt)(todo),
        steps=lambda some: sum(map(spec.steps, some)),
        resources=resources,
        dask=how.dask,
        label=spec.label,
        step_name=spec.step_name,
    )
    return [found.get(id(unit)) for unit in units], made
