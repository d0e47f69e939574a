"""95 % intervals of shares, and of figures that behave like a share, from what they rest on: rows or groups of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CROSS_VALIDATION = 1.5
"""By how much the variance of a figure of several folds is raised: the predictions of folds depend on each other, since
what one tests trains the others, and no one table shows by how much (Bengio & Grandvalet 2004). Ours, the least that
covered in ``benchmarks/coverage.py``."""

FEW_UNITS = 8.0
"""Effective units below which a reader is warned (ours): simulated intervals cover there, too, but of units that differ
as the simulated ones do, which so few cannot show."""

_LEVEL = 0.975
"""Quantile of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval.

    Attributes
    ----------
    low, high : float
    method : str
        In words.
    warning : str, optional
        Why it may cover less than 95 %.
    """

    low: float
    high: float
    method: str
    warning: str | None = None

    @property
    def ends(self) -> list[float]:
        """Low and high, as ``metrics.json`` holds them."""
        return [self.low, self.high]

    def scaled(self, least: float, most: float) -> Interval:
        """Return the interval of a figure between `least` and `most` whose place between them this is about."""
        low, high = (least + (most - least) * end for end in (self.low, self.high))
        return Interval(low, high, self.method, self.warning)


def kish(sizes: npt.ArrayLike) -> float:
    """Return how many units of equal size these are worth.

    References
    ----------
    Kish 1965, "Survey Sampling", sec. 11.7.

    Examples
    --------
    >>> kish([10, 10, 0]), round(kish([100, 1, 1]), 2)
    (2.0, 1.04)
    """
    found = np.asarray(sizes, dtype=np.float64)
    return float(found.sum() ** 2 / np.square(found).sum()) if found.any() else 0.0


@dataclass(frozen=True)
class Basis:
    """What a figure rests on.

    Attributes
    ----------
    least, most : float
        The fewest and the most rows that it may be worth.
    units : float
        Units that tell of its variance; its degrees of freedom are one less.
    count : int
        Units as they are.
    noun : str
        What a unit is called.
    worth : float
        Units of equal size that these are worth, where that is not `units`.
    """

    least: float
    most: float
    units: float
    count: int
    noun: str = "group"
    worth: float = 0.0

    def interval(self, share: float, variance: float, *, widen: float = 1.0) -> Interval:
        """Return Wilson's interval of a share of as many rows as its variance shows, with Student's quantile.

        Parameters
        ----------
        share : float
        variance : float
            Of the share, estimated over units.
        widen : float
            Factor of the variance.

        References
        ----------
        Korn & Graubard 1998 (the effective number of rows); Wilson 1927.
        """
        from scipy.stats import t as student

        spread = share * (1.0 - share)
        told = variance > 1e-12 * spread > 0.0  # less is rounding
        rows = min(max(spread / variance, self.least), self.most) if told else self.least
        ratio = float(student.ppf(_LEVEL, max(self.units - 1.0, 1.0))) ** 2 * widen / rows
        middle = (share + ratio / 2.0) / (1.0 + ratio)
        half = (ratio * spread + ratio**2 / 4.0) ** 0.5 / (1.0 + ratio)
        low, high = max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
        return Interval(low, high, _named("Wilson, effective rows, t", widen), self.warning)

    @property
    def warning(self) -> str | None:
        """Why an interval may cover less than 95 %; None where there are enough units."""
        units = self.worth or self.units
        if units >= FEW_UNITS:
            return None
        worth = f" of unequal size, worth {units:.1f}" if units < 0.9 * self.count else ""
        return f"rests on {self.count} {self.noun}{'s' * (self.count != 1)}{worth}: it may cover less than 95 %"


def share_interval(
    hits: npt.ArrayLike, member: npt.ArrayLike, *, noun: str = "group", widen: float = 1.0
) -> Interval | None:
    """Return the interval of the share of rows that are right.

    Where every row is a unit it is exact (Clopper & Pearson 1934); where units hold several rows, Wilson's of the
    number of independent rows that these are worth, by a jackknife over units (CR3 of Bell & McCaffrey 2002).

    Parameters
    ----------
    hits : array of bool or float, shape (n,)
        Right or not; a float where a row is the mean of several predictions.
    member : array of int or str, shape (n,)
        The unit of each row.
    noun : str
        What a unit is called.
    widen : float
        Factor of the variance, see `CROSS_VALIDATION`.

    Returns
    -------
    Interval or None
        None without a row.

    Examples
    --------
    >>> found = share_interval([True] * 20, range(20))
    >>> round(found.low, 3), found.high, found.method
    (0.832, 1.0, 'Clopper-Pearson')
    >>> round(share_interval([True] * 20, [0, 1] * 10).low, 3)
    0.012
    """
    right = np.asarray(hits, dtype=np.float64)
    if not len(right):
        return None
    _, unit, size = np.unique(np.asarray(member), return_inverse=True, return_counts=True)
    share, rows, count = float(right.mean()), len(right), len(size)
    if count == rows and np.isin(right, (0.0, 1.0)).all():
        return Interval(*_exact(share, rows / widen), _named("Clopper-Pearson", widen))
    # how far a group lies from the other rows, not from a mean that it draws towards itself
    total = np.bincount(unit, weights=right - share) / (1.0 - size / rows if count > 1 else 1.0)
    variance = float(np.square(total).sum()) / rows**2
    units = kish(size)
    return Basis(units, rows, telling(right, unit, units), count, noun, units).interval(share, variance, widen=widen)


def telling(right: npt.NDArray[np.float64], unit: npt.NDArray[np.int64], units: float) -> float:
    """Return the units that tell of a variance: where few hold the rarer answer, two more than these.

    At an accuracy of 95 to 98 % most units are wholly right and say nothing of how units differ; with their number as
    degrees of freedom intervals of 10 to 40 units covered 89 to 93 %, and so 94 and more (ours). They are counted as
    worth as many as hold equally much of the rarer answer.

    Parameters
    ----------
    right : ndarray of float64, shape (n,)
    unit : ndarray of int, shape (n,)
        From 0.
    units : float
        Units of equal size that there are.
    """
    few = min(kish(np.bincount(unit, weights=one)) for one in (right, 1.0 - right))
    return min(units, max(few, 2.0) + 2.0) if few else units


def _named(method: str, widen: float) -> str:
    return method if widen == 1.0 else f"{method}; variance times {widen:g} for folds"


def _exact(share: float, rows: float) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson; rows need not be whole."""
    from scipy.stats import beta

    right = share * rows
    low = beta.ppf(1.0 - _LEVEL, right, rows - right + 1.0) if share > 0.0 else 0.0
    high = beta.ppf(_LEVEL, right + 1.0, rows - right) if share < 1.0 else 1.0
    return float(low), float(high)
