"""How a mean of parts varies over units, and 95 % intervals of a share of independent rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .influence import RANKED, Part, Values, Whole

LEVEL = 0.975
"""Quantile of a two-sided 95 % interval."""


def wilson(share: float, rows: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of so many rows, which need not be whole."""
    ratio = quantile**2 / rows
    middle = (share + ratio / 2.0) / (1.0 + ratio)
    half = (ratio * share * (1.0 - share) + ratio**2 / 4.0) ** 0.5 / (1.0 + ratio)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def mid_p(share: float, rows: float) -> tuple[float, float]:
    """Return the mid-p interval of a share of so many rows, which need not be whole (Berry and Armitage 1995)."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    right = share * rows

    def above(at: float) -> float:
        """Return the probability of more, and half that of as many."""
        more = betainc(right + 1.0, rows - right, at) if right < rows else 0.0
        as_many = betainc(right, rows - right + 1.0, at) if right > 0.0 else 1.0
        return float(more + as_many) / 2.0

    low = brentq(lambda at: above(at) - (1.0 - LEVEL), 0.0, 1.0) if share > 0.0 else 0.0
    high = brentq(lambda at: above(at) - LEVEL, 0.0, 1.0) if share < 1.0 else 1.0
    return low, high


def exact(share: float, rows: float) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson; rows need not be whole."""
    from scipy.special import betaincinv

    right = share * rows
    low = betaincinv(right, rows - right + 1.0, 1.0 - LEVEL) if share > 0.0 else 0.0
    high = betaincinv(right + 1.0, rows - right, LEVEL) if share < 1.0 else 1.0
    return float(low), float(high)


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
    sized = np.asarray(sizes, dtype=np.float64)
    return float(sized.sum() ** 2 / np.square(sized).sum()) if sized.any() else 0.0


@dataclass(frozen=True)
class Spread:
    """How a mean of parts varies over units.

    Attributes
    ----------
    variance : float
        Of the mean of the parts.
    each : tuple of float
        Of each part.
    worth : tuple of float
        Independent rows that each part is worth, by how much more it varies over units than over rows.
    bounds : tuple of (float, float)
        The fewest and the most rows of a share that each part may be worth.
    counted : bool
        Whether every row is a unit, and counts alone make the variance.
    most : float
        The most rows of a share that the mean may be worth.
    freedom : float
        Degrees of freedom of the variance.
    """

    variance: float
    each: tuple[float, ...]
    worth: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    counted: bool
    most: float
    freedom: float


def spread(
    parts: Sequence[Part], member: Whole, *, least: float = 1.0, power: float = 1.0, ranked: float = RANKED
) -> Spread:
    """Return the variance of the mean of parts, summed by unit.

    Parameters
    ----------
    parts : sequence of Part
        Of the same rows.
    member : ndarray of int, shape (n,)
        The unit of each row, from 0.
    least : float
        The fewest degrees of freedom, if there are more units.
    power : float
        Of the correction for few units: 1 is the jackknife's (CR3), 1/2 is CR2.
    ranked : float
        Rows of a share that a case is worth in an AUC, at most.

    References
    ----------
    Bell & McCaffrey 2002 (CR3, the jackknife); Pan & Wall 2002 (degrees of freedom from the squares).
    """
    total, free = np.zeros(int(member.max()) + 1), np.inf
    each: list[float] = []
    worth: list[float] = []
    bounds: list[tuple[float, float]] = []
    inside = np.zeros(len(member), dtype=np.bool_)
    for part in parts:
        summed, sizes, worths = np.zeros(len(total)), [], []
        for side in part.sides:
            inside |= side
            size = np.bincount(member[side], minlength=len(total))
            sizes.append(float(size.sum()))
            size = np.minimum(size, 1) if part.by_unit else size
            left = 1.0 - size / size.sum()
            summed += np.bincount(member, np.where(side, part.effect, 0.0), len(total)) / (left + (left <= 0)) ** power
            worths.append(kish(size))
        each.append(float(np.square(summed).sum()))
        by_row = float(np.square(part.effect).sum())
        finer = ranked if part.finer == RANKED else part.finer
        rows, units = (finer * len(counts) / sum(1.0 / count for count in counts) for counts in (sizes, worths))
        varies = each[-1] > 1e-12 * by_row > 0.0
        worth.append(min(max(rows * by_row / each[-1], units), rows) if varies else units)
        bounds.append((units / finer, rows if part.finer < RANKED else worth[-1]))
        free = min(free, max(sum(worths) - 1.0, least))
        total += summed / len(parts)
    units_inside = len(np.unique(member[inside]))
    free = min(free if len(parts) == 1 else np.inf, units_inside - 1.0)
    in_ranks, variance = any(part.finer >= RANKED for part in parts), float(np.square(total).sum())
    counted = units_inside == inside.sum() and not in_ranks
    most = units_inside if not in_ranks and (counted or variance == 0.0) else np.inf
    free = free if counted else min(free, max(least, freedom(total, units_inside, free)))
    return Spread(variance, tuple(each), tuple(worth), tuple(bounds), counted, most, max(free, 1.0))


def freedom(influence: Values, units: int, most: float) -> float:
    """Return the degrees of freedom of the sum of the squared influences of units, at least 1.

    References
    ----------
    Pan & Wall 2002.
    """
    squares = np.square(influence)
    variance = float(squares.sum())
    varying = float(np.square(squares).sum()) - variance**2 / units
    return max(1.0, min(most, 2.0 * variance**2 / varying) if varying > 1e-12 * variance**2 else most)
