"""What each row contributes to a figure, and how a mean of such parts varies over units.

The influence of a row is the derivative of the figure by the row's weight, over the number of rows. The influences of
all rows sum to 0, and a figure of new units varies as the sum of the influences of a unit does (the infinitesimal
jackknife: Efron 1982, ch. 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..core.formats import Flags, Floats, Integers

Mask = Flags
Values = Floats
Ends = tuple[float, float]
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
    pooled : bool
        Whether it ranks scores of models of different folds together.
    """

    value: float
    effect: Values
    sides: tuple[Mask, ...]
    finer: float = 1.0
    moved: float | None = None
    by_unit: bool = False
    predictive: bool = False
    pooled: bool = False

    @property
    def counts(self) -> bool:
        """Whether rows are right or wrong, as those of shares and F1, not ranks (AUC) or distances (Brier score)."""
        return self.finer < RANKED


def share_part(
    hits: ArrayLike, inside: Mask | None = None, *, predictive: bool = False
) -> Part | None:
    """Return the mean of `hits` (bool or float, of all rows) over the rows `inside`; None where there are none."""
    if inside is None:
        inside = np.ones(np.shape(hits), dtype=np.bool_)
    if not inside.any():
        return None
    right = np.asarray(hits, dtype=np.float64)
    value = float(right[inside].mean())
    effect = np.where(inside, right - value, 0.0) / inside.sum()
    return Part(value, effect, (inside,), predictive=predictive)


def f1_part(true: Mask, called: Mask) -> Part | None:
    """Return the F1 of what is called; None where no row is true or called."""
    either = true | called
    if not either.any():
        return None
    both = true & called
    counted = true.astype(np.float64) + called
    value = float(2.0 * both.sum() / counted.sum())
    effect = (2.0 * both - value * counted) / counted.sum()
    # F1 is 2 J / (1 + J), and J (both of either) a share
    jaccard = both.sum() / either.sum()
    return Part(value, effect, (either,), finer=(1.0 + jaccard) ** 2 / 2.0)


def auc_part(truth: Mask, scores: Values, folds: Integers | None = None) -> Part | None:
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
    if folds is None:
        folds = np.zeros(len(scores), dtype=np.int64)
    order = np.lexsort((scores, folds))
    positive = truth[order]
    (negatives, lower), (positives, below) = _ranks(scores[order], folds[order], positive)
    pairs = float(negatives[positive].sum())
    if not pairs:
        return None
    value = float(lower[positive].sum()) / pairs
    wins = np.where(positive, lower, positives - below)
    rivals = np.where(positive, negatives, positives)
    effect = np.empty(len(scores))
    effect[order] = (wins - value * rivals) / pairs
    paired = np.empty(len(scores), dtype=np.bool_)
    paired[order] = rivals > 0
    return Part(value, effect, (truth & paired, ~truth & paired), finer=RANKED)


def auc_in_folds(
    truth: Mask, scores: Values, folds: Integers, *, pooled: bool = False
) -> Part | None:
    """Return the AUC of pairs within folds; over pairs of all folds with `pooled`, or if no fold holds a pair.

    The folds of a cross-validation differ in what their models learnt: a model that saw fewer positive rows scores
    lower, and tests more of them. A pooled AUC of several folds is therefore too low, of noise far below one half.

    References
    ----------
    Forman & Scholz 2010; Airola et al. 2011.
    """
    if not pooled:
        within = auc_part(truth, scores, folds)
        if within is not None:
            return within
    part = auc_part(truth, scores)
    if part is None:
        return None
    return replace(part, pooled=len(np.unique(folds)) > 1)


def _ranks(scores: Values, folds: Integers, positive: Mask) -> list[tuple[Values, Values]]:
    """Return for the negative side, then for the positive one, its rows in the fold of each row, and those below it.

    Below are the rows of the side that score less, and half of those that score the same. All rows are sorted by fold
    and score.

    Examples
    --------
    >>> scores = np.array([0.1, 0.2, 0.2, 0.4, 0.3])
    >>> positive = np.array([False, True, False, True, True])
    >>> negatives, lower = _ranks(scores, np.array([1, 1, 1, 1, 2]), positive)[0]
    >>> negatives.tolist(), lower.tolist()
    ([2.0, 2.0, 2.0, 2.0, 0.0], [0.5, 1.5, 1.5, 2.0, 0.0])
    """
    new_fold = np.diff(folds, prepend=folds[:1] - 1) != 0
    new_score = new_fold | (np.diff(scores, prepend=np.nan) != 0)
    fold = np.cumsum(new_fold) - 1
    tie = np.cumsum(new_score) - 1
    ranks = []
    for side in (~positive, positive):
        in_folds = np.bincount(fold, side)
        tied = np.bincount(tie, side)
        in_folds_before = (np.cumsum(in_folds) - in_folds)[fold[new_score]]
        below = np.cumsum(tied) - tied / 2.0 - in_folds_before
        ranks.append((in_folds[fold], below[tie]))
    return ranks


def confusion(labels: Integers, predicted: Integers, classes: int) -> Values:
    """Return the confusion matrix, rows true, float64 of shape (classes, classes)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def matrix_part(
    formula: Formula, labels: Integers, predicted: Integers, classes: int
) -> Part | None:
    """Return a figure of the confusion matrix; None where it is not defined.

    Parameters
    ----------
    formula : callable
        From float64 of shape (matrices, classes, classes) to float64 of shape (matrices,).
    labels, predicted : ndarray of int, shape (n,)
    classes : int
    """
    matrix = confusion(labels, predicted, classes)
    value = float(formula(matrix[None])[0])
    if not np.isfinite(value):
        return None
    present, cell_of_row = np.unique(labels * classes + predicted, return_inverse=True)
    step = np.zeros((len(present), classes, classes))
    step.reshape(len(present), -1)[np.arange(len(present)), present] = _STEP
    slopes = (formula(matrix + step) - formula(matrix - step)) / (2.0 * _STEP)
    return Part(value, slopes[cell_of_row], (np.ones(len(labels), dtype=np.bool_),))


def difference(
    first: Part | None, second: Part | None, *, moved: float | None = None
) -> Part | None:
    """Return the second less the first, which are of the same rows; None where one is not defined."""
    if first is None or second is None:
        return None
    return replace(
        second,
        value=second.value - first.value,
        effect=second.effect - first.effect,
        sides=tuple(a | b for a, b in zip(first.sides, second.sides, strict=True)),
        moved=moved,
    )


def all_or_none(parts: Sequence[Part | None]) -> list[Part]:
    """Return the parts where each of them is defined, else none."""
    defined = [part for part in parts if part is not None]
    if len(defined) < len(parts):
        return []
    return defined


def rows_inside(parts: Sequence[Part]) -> Mask:
    """Return the rows that any of the parts is of, bool of shape (n,)."""
    return np.asarray(np.any([side for part in parts for side in part.sides], axis=0))


def agreement(matrices: Values) -> Values:
    """Return Cohen's kappa; NaN if chance agrees wholly.

    Parameters
    ----------
    matrices : ndarray of float64, shape (matrices, classes, classes)

    References
    ----------
    Cohen 1960.
    """
    rows = matrices.sum(axis=(1, 2))
    margins = matrices.sum(axis=1) * matrices.sum(axis=2)
    right = np.einsum("rkk->r", matrices) / rows
    by_chance = margins.sum(axis=1) / np.square(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((right - by_chance) / (1.0 - by_chance))


def least_agreement(matrix: Values) -> float:
    """Return the kappa of a table with these margins in which no row is right."""
    by_chance = float((matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / matrix.sum() ** 2)
    if by_chance >= 1.0:
        return -1.0
    return -by_chance / (1.0 - by_chance)


def matthews(matrices: Values) -> Values:
    """Return the Matthews correlation coefficient; NaN if only one class is true or predicted.

    References
    ----------
    Gorodkin 2004 (more than two classes).
    """
    rows = matrices.sum(axis=(1, 2))
    true = matrices.sum(axis=2)
    called = matrices.sum(axis=1)
    right = np.einsum("rkk->r", matrices) / rows
    covariance = rows * right * rows - (true * called).sum(axis=1)
    variances = [rows**2 - np.square(side).sum(axis=1) for side in (true, called)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(covariance / np.sqrt(np.prod(variances, axis=0)))


LEVEL = 0.975
"""Quantile of a two-sided 95 % interval."""


def wilson(share: float, rows: float, quantile: float) -> Ends:
    """Return Wilson's interval of a share of so many rows, which need not be whole."""
    ratio = quantile**2 / rows
    middle = (share + ratio / 2.0) / (1.0 + ratio)
    half = (ratio * share * (1.0 - share) + ratio**2 / 4.0) ** 0.5 / (1.0 + ratio)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def mid_p(share: float, rows: float) -> Ends:
    """Return the mid-p interval of a share of so many rows, which need not be whole (Berry and Armitage 1995)."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    right = share * rows

    def more(probability: float) -> float:
        """Return the probability of more right rows than these."""
        if right >= rows:
            return 0.0
        return float(betainc(right + 1.0, rows - right, probability))

    def at_least(probability: float) -> float:
        """Return the probability of at least as many right rows."""
        if right <= 0.0:
            return 1.0
        return float(betainc(right, rows - right + 1.0, probability))

    def end(level: float) -> float:
        """Return the share of all at which the mean of both, the mid-p, is this."""
        return float(brentq(lambda at: (more(at) + at_least(at)) / 2.0 - level, 0.0, 1.0))

    low = end(1.0 - LEVEL) if share > 0.0 else 0.0
    high = end(LEVEL) if share < 1.0 else 1.0
    return low, high


def exact(share: float, rows: float) -> Ends:
    """Return the interval of Clopper and Pearson; rows need not be whole."""
    from scipy.special import betaincinv

    right = share * rows
    low = float(betaincinv(right, rows - right + 1.0, 1.0 - LEVEL)) if share > 0.0 else 0.0
    high = float(betaincinv(right + 1.0, rows - right, LEVEL)) if share < 1.0 else 1.0
    return low, high


def kish(sizes: ArrayLike) -> float:
    """Return how many units of equal size these are worth.

    References
    ----------
    Kish 1965, "Survey Sampling", sec. 11.7.

    Examples
    --------
    >>> kish([10, 10, 0]), round(kish([100, 1, 1]), 2)
    (2.0, 1.04)
    """
    weights = np.asarray(sizes, dtype=np.float64)
    if not weights.any():
        return 0.0
    return float(weights.sum() ** 2 / np.square(weights).sum())


class Variation(NamedTuple):
    """How a mean of parts varies over units.

    Attributes
    ----------
    variance : float
        Of the mean of the parts.
    each : list of PartVariation
    counted : bool
        Whether every row is a unit, and only counts make the variance.
    most : float
        The most rows of a share that the mean may be worth.
    freedom : float
        Degrees of freedom of the variance.
    """

    variance: float
    each: list[PartVariation]
    counted: bool
    most: float
    freedom: float


def unit_variation(
    parts: Sequence[Part],
    member: Integers,
    *,
    least: float = 1.0,
    power: float = 1.0,
) -> Variation:
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

    References
    ----------
    Bell & McCaffrey 2002 (CR3, the jackknife); Pan & Wall 2002 (degrees of freedom from the squares).
    """
    each = [_part_variation(part, member, power) for part in parts]
    influence = np.zeros(int(member.max()) + 1)
    for of_part in each:
        influence += of_part.influence / len(parts)
    variance = float(np.square(influence).sum())
    inside = rows_inside(parts)
    units = len(np.unique(member[inside]))
    of_counts = all(part.counts for part in parts)
    counted = of_counts and bool(units == inside.sum())
    most = units if of_counts and (counted or variance == 0.0) else np.inf
    degrees = units - 1.0
    if len(parts) == 1:
        degrees = min(max(each[0].units - 1.0, least), degrees)
    if not counted:
        degrees = min(degrees, max(least, freedom(influence, units, degrees)))
    return Variation(variance, each, counted, most, max(degrees, 1.0))


class PartVariation(NamedTuple):
    """How one part varies over units.

    Attributes
    ----------
    influence : ndarray of float64, shape (units,)
        Of each unit, raised as the jackknife does.
    variance : float
    worth : float
        Independent rows that it is worth, by how much more it varies over units than over rows: w = r v / V, with v
        and V the sums of squared influences of rows and of units, and r what its rows are worth. At least what its
        units are worth, at most r.
    bounds : (float, float)
        The fewest and the most rows of a share that it may be worth.
    units : float
        Units of equal size that those of all sides are worth.
    """

    influence: Values
    variance: float
    worth: float
    bounds: Ends
    units: float


def _part_variation(part: Part, member: Integers, power: float) -> PartVariation:
    count = int(member.max()) + 1
    influence = np.zeros(count)
    rows_of_sides = []
    units_of_sides = []
    for side in part.sides:
        sizes = np.bincount(member[side], minlength=count)
        rows_of_sides.append(float(sizes.sum()))
        if part.by_unit:
            sizes = np.minimum(sizes, 1)
        units_of_sides.append(kish(sizes))
        others = 1.0 - sizes / sizes.sum()
        summed = np.bincount(member, np.where(side, part.effect, 0.0), count)
        influence += summed / (others + (others <= 0)) ** power  # a single unit is not corrected
    rows = _worth_of_sides(rows_of_sides, part.finer)
    units = _worth_of_sides(units_of_sides, part.finer)
    variance = float(np.square(influence).sum())
    by_row = float(np.square(part.effect).sum())
    worth = units
    if variance > 1e-12 * by_row > 0.0:
        worth = min(max(rows * by_row / variance, units), rows)
    bounds = (units / part.finer, rows if part.counts else worth)
    return PartVariation(influence, variance, worth, bounds, sum(units_of_sides))


def _worth_of_sides(sizes: Sequence[float], finer: float) -> float:
    """Return the rows of a share that sides of these sizes are worth: their harmonic mean, each row `finer` rows."""
    return finer * len(sizes) / sum(1.0 / size for size in sizes)


def freedom(influence: Values, units: int, most: float) -> float:
    """Return the degrees of freedom of the sum of the squared influences of units, at least 1.

    References
    ----------
    Pan & Wall 2002.
    """
    squares = np.square(influence)
    variance = float(squares.sum())
    varying = float(np.square(squares).sum()) - variance**2 / units
    free = min(most, 2.0 * variance**2 / varying) if varying > 1e-12 * variance**2 else most
    return max(1.0, free)
