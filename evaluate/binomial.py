"""95 % intervals of a share of independent rows, which need not be whole, and how many rows units are worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
