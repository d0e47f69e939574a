"""What each row contributes to a figure, and how a mean of such parts varies over units.

The influence of a row is the derivative of the figure by the row's weight, over the number of rows. The influences of
all rows sum to 0, and a figure of new units varies as the sum of the influences of a unit does (the infinitesimal
jackknife: Efron 1982, ch. 6).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Formula = Callable[[Values], Values]

RANKED = 4.0
"""How many rows of a share a case is worth in an AUC, at most: the variance of a case's rank is an eighth of that of a
share at an AUC of 0.99, with normal scores, and a quarter on the mean of both sides (Hanley & McNeil 1982)."""

_STEP = 1e-3
"""Change of a count by which a figure of a confusion matrix is derived; the error is about its square."""


@dataclass(frozen=True)
class Part:
    """A number between 0 and 1, or the difference of two, with the influence of each row.

    Attributes
    ----------
    value : float
    effect : ndarray of float64, shape (n,)
        Influence of each row.
    sides : tuple of ndarray of bool, each of shape (n,)
        Rows whose influences sum to 0 by themselves: all rows of a share; positive and negative ones of an AUC.
    finer : float
        Rows of a share that a row is worth at most.
    moved : float, optional
        Of a difference of shares, the share of rows that changed either way.
    by_unit : bool
        Whether units weigh the same, however many rows they have.
    predictive : bool
        Whether the number of rows varies too, as of those that are called positive.
    """

    value: float
    effect: Values
    sides: tuple[Mask, ...]
    finer: float = 1.0
    moved: float | None = None
    by_unit: bool = False
    predictive: bool = False


def share_part(hits: npt.ArrayLike, inside: Mask, *, predictive: bool = False) -> Part | None:
    """Return the mean of `hits` (bool or float, of all rows) over the rows `inside`; None where there are none."""
    if not inside.any():
        return None
    right = np.asarray(hits, dtype=np.float64)
    value = float(right[inside].mean())
    return Part(
        value, np.where(inside, right - value, 0.0) / inside.sum(), (inside,), predictive=predictive
    )


def f1_part(true: Mask, called: Mask) -> Part | None:
    """Return the F1 of what is called; None where no row is true or called."""
    if not (true | called).any():
        return None
    counted = true.astype(np.float64) + called
    value, both = (
        float(2.0 * (true & called).sum() / counted.sum()),
        (true & called).sum() / (true | called).sum(),
    )
    effect = (2.0 * (true & called) - value * counted) / counted.sum()
    return Part(
        value, effect, (true | called,), finer=(1.0 + both) ** 2 / 2.0
    )  # it is 2 J / (1 + J), and J a share


def auc_part(truth: Mask, scores: Values, folds: Whole | None = None) -> Part | None:
    """Return the AUC: of all pairs of a positive and a negative row in one fold, the share that is ranked rightly.

    Pairs that are tied count half. Scores of different folds come from different models, so that no pair of two folds
    is counted.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)
    folds : ndarray of int, shape (n,), optional
        By default all rows are of one fold.

    Returns
    -------
    Part or None
        None without a pair.

    References
    ----------
    DeLong et al. 1988 and, of units with several rows, Obuchowski 1997 (the influences).
    """
    fold = np.zeros(len(scores), dtype=np.int64) if folds is None else folds
    order = np.lexsort((scores, fold))
    sorted_scores, sorted_fold, positive = scores[order], fold[order], truth[order]
    fold_starts = np.diff(sorted_fold, prepend=sorted_fold[:1] - 1) != 0
    starts = fold_starts | (np.diff(sorted_scores, prepend=np.nan) != 0)
    of_fold, tie = np.cumsum(fold_starts) - 1, np.cumsum(starts) - 1
    ranked = []  # of each row the rows of a side in its fold, and how many of them score less
    for side in (~positive, positive):
        whole, tied = np.bincount(of_fold, side), np.bincount(tie, side)
        before = np.cumsum(tied) - tied / 2.0 - (np.cumsum(whole) - whole)[of_fold[starts]]
        ranked.append((whole[of_fold], before[tie]))
    (negatives, lower), (positives, below) = ranked
    pairs = float(negatives[positive].sum())
    if not pairs:
        return None
    value = float(lower[positive].sum()) / pairs
    wins = np.where(positive, lower, positives - below)
    effect = np.empty(len(scores))
    effect[order] = (wins - value * np.where(positive, negatives, positives)) / pairs
    paired = np.empty(len(scores), dtype=np.bool_)
    paired[order] = np.where(positive, negatives, positives) > 0
    return Part(value, effect, (truth & paired, ~truth & paired), finer=RANKED)


def confusion(labels: Whole, predicted: Whole, classes: int) -> Values:
    """Return the confusion matrix, rows true, float64 of shape (classes, classes)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def matrix_part(formula: Formula, labels: Whole, predicted: Whole, classes: int) -> Part | None:
    """Return a figure of the confusion matrix; None where it is not defined.

    Parameters
    ----------
    formula : callable
        From float64 of shape (matrices, classes, classes) to float64 of shape (matrices,).
    labels, predicted : ndarray of int, shape (n,)
    classes : int
    """
    matrix, cell = confusion(labels, predicted, classes), labels * classes + predicted
    value = float(formula(matrix[None])[0])
    if not np.isfinite(value):
        return None
    present, of_row = np.unique(cell, return_inverse=True)
    step = np.zeros((len(present), classes, classes))
    step.reshape(len(present), -1)[np.arange(len(present)), present] = _STEP
    slopes = (formula(matrix + step) - formula(matrix - step)) / (2.0 * _STEP)
    return Part(value, slopes[of_row], (np.ones(len(labels), dtype=np.bool_),))


def difference(
    first: Part | None, second: Part | None, *, moved: float | None = None
) -> Part | None:
    """Return the second less the first, which are of the same rows; None where one is not defined."""
    if first is None or second is None:
        return None
    sides = first.sides
    if any(not np.array_equal(a, b) for a, b in zip(first.sides, second.sides, strict=True)):
        sides = tuple(a | b for a, b in zip(first.sides, second.sides, strict=True))
    return replace(
        second,
        value=second.value - first.value,
        effect=second.effect - first.effect,
        sides=sides,
        moved=moved,
    )


def all_or_none(parts: Sequence[Part | None]) -> list[Part]:
    """Return the parts where each of them is defined, else none."""
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else []


def agreement(matrices: Values) -> Values:
    """Return Cohen's kappa; NaN if chance agrees wholly.

    Parameters
    ----------
    matrices : ndarray of float64, shape (matrices, classes, classes)

    References
    ----------
    Cohen 1960.
    """
    whole, margins = matrices.sum(axis=(1, 2)), matrices.sum(axis=1) * matrices.sum(axis=2)
    right, by_chance = np.einsum("rkk->r", matrices) / whole, margins.sum(axis=1) / np.square(whole)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((right - by_chance) / (1.0 - by_chance))


def least_agreement(matrix: Values) -> float:
    """Return the kappa of a table with these margins in which no row is right."""
    whole = matrix.sum()
    agree = float((matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / whole**2)
    return -agree / (1.0 - agree) if agree < 1.0 else -1.0


def matthews(matrices: Values) -> Values:
    """Return the Matthews correlation coefficient; NaN if only one class is true or predicted.

    References
    ----------
    Gorodkin 2004 (more than two classes).
    """
    whole, true, called = matrices.sum(axis=(1, 2)), matrices.sum(axis=2), matrices.sum(axis=1)
    right = np.einsum("rkk->r", matrices) / whole
    spread = [whole**2 - np.square(side).sum(axis=1) for side in (true, called)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (whole * right * whole - (true * called).sum(axis=1)) / np.sqrt(np.prod(spread, axis=0))
        )


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
    # the probabilities of more than these, and of at least as many, by the share of all; their mean is the mid-p
    more = (
        functools.partial(betainc, right + 1.0, rows - right) if right < rows else (lambda at: 0.0)
    )
    least = (
        functools.partial(betainc, right, rows - right + 1.0) if right > 0.0 else (lambda at: 1.0)
    )
    low = (
        brentq(lambda at: (more(at) + least(at)) / 2.0 - (1.0 - LEVEL), 0.0, 1.0)
        if share > 0.0
        else 0.0
    )
    high = brentq(lambda at: (more(at) + least(at)) / 2.0 - LEVEL, 0.0, 1.0) if share < 1.0 else 1.0
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


class Spread(NamedTuple):
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
    parts: Sequence[Part],
    member: Whole,
    *,
    least: float = 1.0,
    power: float = 1.0,
    ranked: float = RANKED,
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
            summed += (
                np.bincount(member, np.where(side, part.effect, 0.0), len(total))
                / (left + (left <= 0)) ** power
            )
            worths.append(kish(size))
        each.append(float(np.square(summed).sum()))
        by_row = float(np.square(part.effect).sum())
        finer = ranked if part.finer == RANKED else part.finer
        rows, units = (
            finer * len(counts) / sum(1.0 / count for count in counts) for counts in (sizes, worths)
        )
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
    return max(
        1.0, min(most, 2.0 * variance**2 / varying) if varying > 1e-12 * variance**2 else most
    )
