"""Slope and intercept of calibration: what a logistic regression makes of scores that claim to be probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable
from .resample import sampling_units

_LEAST = 1e-12
"""Scores nearer to 0 or 1 count as this near: their log odds would be infinite (ours, as for temperatures)."""

_ROUNDS, _CLOSE = 100, 1e-10
"""Newton steps at most, and the step at which they end (ours)."""

Values = npt.NDArray[np.float64]


def unit_of_rows(table: PredictionTable) -> npt.NDArray[np.int64]:
    """Return the unit of each row from 0: its patient where known, else its image."""
    return sampling_units(table)[1]


def recalibration(scores: Values, truth: npt.NDArray[np.bool_], *, units: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Compute calibration slope and intercept of scores against what they are scores of.

    The slope is that of a logistic regression of the truth on the log odds of the score: below 1 where scores are too
    sure, above 1 where they are not sure enough. The intercept is that of a regression whose slope is held at 1: above
    0 where scores are too low on the whole.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
    truth : ndarray of bool, shape (n,)
    units : ndarray of int, shape (n,)
        Rows of one unit are not taken for independent: the 95 % intervals are Wald's with a sandwich variance clustered
        by unit, and Student's t of as many degrees of freedom as units but one.

    Returns
    -------
    dict
        ``slope``, ``intercept``, ``slope_interval``, ``intercept_interval``; None where all rows are on one side, for a
        slope also where a threshold separates the sides or all scores are equal, for intervals with one unit.

    References
    ----------
    Cox 1958; Van Calster et al. 2019 (weak calibration); Liang & Zeger 1986 (clustered variance).
    """
    odds = np.clip(scores, _LEAST, 1 - _LEAST)
    odds = np.log(odds) - np.log1p(-odds)
    ones = np.ones((len(odds), 1))
    found: dict[str, Any] = dict.fromkeys(("slope", "intercept", "slope_interval", "intercept_interval"))
    if truth.all() or not truth.any():
        return found
    found["intercept"], found["intercept_interval"] = _fitted(ones, odds, truth, units)
    yes, no = odds[truth], odds[~truth]
    if yes.min() < no.max() and no.min() < yes.max():
        found["slope"], found["slope_interval"] = _fitted(np.c_[ones, odds], np.zeros_like(odds), truth, units)
    return found


def _fitted(
    design: Values, offset: Values, truth: npt.NDArray[np.bool_], units: npt.NDArray[np.int64]
) -> tuple[float, list[float] | None]:
    """Return the last coefficient of a logistic regression of greatest likelihood, with its interval."""
    from scipy.special import expit
    from scipy.stats import t as student

    def loss(at: Values) -> float:
        linear = design @ at + offset
        return float(np.logaddexp(0, np.where(truth, -linear, linear)).sum())

    at = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        probability = expit(design @ at + offset)
        bread = np.linalg.pinv((design.T * (probability * (1 - probability))) @ design)
        step = bread @ (design.T @ (truth - probability))
        while loss(at + step) > loss(at) and np.abs(step).max() > _CLOSE:
            step /= 2
        at = at + step
        if np.abs(step).max() <= _CLOSE:
            break
    count = int(units.max()) + 1
    if count < 2:
        return float(at[-1]), None
    each = design * (truth - expit(design @ at + offset))[:, np.newaxis]
    sums = np.stack([np.bincount(units, weights=column, minlength=count) for column in each.T])
    variance = bread @ (sums @ sums.T) @ bread * count / (count - 1)
    reach = float(student.ppf(0.975, count - 1) * np.sqrt(variance[-1, -1]))
    return float(at[-1]), [float(at[-1]) - reach, float(at[-1]) + reach]
