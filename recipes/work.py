"""What is asked of a recipe, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..errors import InputError, ReportError
from ..evaluate import PublishedTable
from ..experiment import CrossValidation, Work
from ..options import option
from .pictures import Trained

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Order:
    """Which parts of a recipe are run on which images: the arguments of `reproduce`.

    Attributes
    ----------
    images, run : Path
    quick, full_scale : bool
    variants, weights : tuple of str
    seeds : int
        How often all of it is run, each time with the next seed.
    fresh_draws : bool
    how : Work

    Raises
    ------
    InputError
        Not one seed.
    """

    images: Path
    run: Path = option(name="out")
    quick: bool = False
    full_scale: bool = False
    variants: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    seeds: int = 1
    fresh_draws: bool = option(False, sparse=True)
    how: Work = option(factory=Work, recorded=False)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"`seeds` {self.seeds}: give 1 or more")

    def at_seed(self, place: int) -> Order:
        """Return the order of one seed, which has a run folder of its own beside the first."""
        return replace(self, seeds=1, run=self.run if place == 0 else self.run / f"seed-{place}")


@dataclass(frozen=True)
class Outcome:
    """What a recipe made.

    Attributes
    ----------
    protocols : list of CrossValidation
        Those of each variant, in order.
    published : list of PublishedTable
    banners : tuple of str
        What a reader must know first.
    pairs : list of dict
        Paired tests between variants, of `compare_pairs`.
    unreported : tuple of str
        One line for each report that could not be written on the way.
    trained : sequence of Trained
        The networks of the first seed.
    """

    protocols: Sequence[CrossValidation]
    published: list[PublishedTable]
    banners: tuple[str, ...]
    pairs: list[dict[str, Any]] = field(default_factory=list)
    unreported: tuple[str, ...] = ()
    trained: Sequence[Trained] = ()


def reported_later(failed: list[str], train: Callable[P, list[R]], *args: P.args, **options: P.kwargs) -> list[R]:
    """Train, and go on where only a report failed, which `failed` then says."""
    try:
        return train(*args, **options)
    except ReportError as error:
        failed.append(str(error))
        found: list[R] = error.results
        return found


_COMPARABLE = ("PATIENTS UNKNOWN", "NO VALIDATION", "BALANCED BEFORE THE SPLIT")
"""What the source did not know either, or a variant does as it did: that qualifies figures, and does not keep them from
being compared."""


def comparable_note(banners: Sequence[str]) -> str:
    """Say why figures cannot be compared, from the capitals that such banners begin with; else nothing."""
    kinds = [
        kind for kind in (banner.partition(":")[0] for banner in banners) if kind.isupper() and kind not in _COMPARABLE
    ]
    return f"Not comparable ({', '.join(dict.fromkeys(kinds)).lower()})." if kinds else ""
