"""What each row adds to a figure: its influence, from which `variance.py` makes the figure's interval.

The influence of a row is the derivative of the figure by the row's weight, over the number of rows. The influences of
all rows sum to 0, and a figure of new units varies as the sum of the influences of a unit does (the infinitesimal
jackknife: Efron 1982, ch. 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    return Part(value, np.where(inside, right - value, 0.0) / inside.sum(), (inside,), predictive=predictive)


def f1_part(true: Mask, called: Mask) -> Part | None:
    """Return the F1 of what is called; None where no row is true or called."""
    if not (true | called).any():
        return None
    counted = true.astype(np.float64) + called
    value, both = float(2.0 * (true & called).sum() / counted.sum()), (true & called).sum() / (true | called).sum()
    effect = (2.0 * (true & called) - value * counted) / counted.sum()
    return Part(value, effect, (true | called,), finer=(1.0 + both) ** 2 / 2.0)  # it is 2 J / (1 + J), and J a share


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

    def ranked(side: Mask) -> tuple[Values, Values]:
        """Return of each row the rows of a side in its fold, and how many of them score less."""
        whole, tied = np.bincount(of_fold, side), np.bincount(tie, side)
        before = np.cumsum(tied) - tied / 2.0 - (np.cumsum(whole) - whole)[of_fold[starts]]
        return whole[of_fold], before[tie]

    (negatives, lower), (positives, below) = ranked(~positive), ranked(positive)
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


def difference(first: Part | None, second: Part | None, *, moved: float | None = None) -> Part | None:
    """Return the second less the first, which are of the same rows; None where one is not defined."""
    if first is None or second is None:
        return None
    sides = first.sides
    if any(not np.array_equal(a, b) for a, b in zip(first.sides, second.sides, strict=True)):
        sides = tuple(a | b for a, b in zip(first.sides, second.sides, strict=True))
    return replace(
        second, value=second.value - first.value, effect=second.effect - first.effect, sides=sides, moved=moved
    )


def all_or_none(parts: Sequence[Part | None]) -> list[Part]:
    """Return the parts where each of them is defined, else none."""
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else []


def share_right(matrices: Values) -> Values:
    """Return the accuracy of each confusion matrix (rows true)."""
    return np.asarray(np.einsum("rkk->r", matrices) / matrices.sum(axis=(1, 2)))


def agreement(matrices: Values) -> Values:
    """Return Cohen's kappa; NaN if chance agrees wholly.

    Parameters
    ----------
    matrices : ndarray of float64, shape (matrices, classes, classes)

    References
    ----------
    Cohen 1960.
    """
    right, margins = share_right(matrices), matrices.sum(axis=1) * matrices.sum(axis=2)
    by_chance = margins.sum(axis=1) / np.square(matrices.sum(axis=(1, 2)))
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
    spread = [whole**2 - np.square(side).sum(axis=1) for side in (true, called)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (whole * share_right(matrices) * whole - (true * called).sum(axis=1)) / np.sqrt(np.prod(spread, axis=0))
        )
