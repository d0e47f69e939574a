"""Figures of a table under many sets of row weights at once: from its confusion matrices, and from its ranks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .metric import Weights
from .predictions import PredictionTable

Truth = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


def confusions(table: PredictionTable, weights: Weights) -> Weights:
    """Return the confusion matrix under each set of weights, float64 of shape (replicates, classes, classes).

    Parameters
    ----------
    table : PredictionTable
    weights : ndarray of float64, shape (replicates, rows)
    """
    count = len(table.classes)
    cells = np.zeros((len(table), count * count))
    cells[np.arange(len(table)), table.labels * count + table.predicted] = 1.0
    return np.asarray(weights @ cells).reshape(-1, count, count)


def _right(matrices: Weights) -> Weights:
    return np.asarray(np.einsum("rkk->rk", matrices))


def share_right(matrices: Weights) -> Weights:
    """Return the accuracy of each confusion matrix (rows true)."""
    return np.asarray(_right(matrices).sum(axis=1) / matrices.sum(axis=(1, 2)))


def mean_recall(matrices: Weights) -> Weights:
    """Return the balanced accuracy, over the classes that have rows."""
    return _mean_of_present(_right(matrices), matrices.sum(axis=2), matrices)


def macro_f1(matrices: Weights) -> Weights:
    """Return the mean F1 of the classes that have rows."""
    return _mean_of_present(2.0 * _right(matrices), matrices.sum(axis=2) + matrices.sum(axis=1), matrices)


def _mean_of_present(part: Weights, whole: Weights, matrices: Weights) -> Weights:
    present = matrices.sum(axis=2) > 0
    shares = np.divide(part, whole, out=np.zeros_like(whole), where=present)
    return np.asarray(shares.sum(axis=1) / present.sum(axis=1))


def agreement(matrices: Weights, *, power: int = 0) -> Weights:
    """Return Cohen's kappa; NaN where chance alone agrees wholly.

    Parameters
    ----------
    matrices : ndarray of float64, shape (replicates, classes, classes)
    power : int
        Of the distance between two classes, which weighs a confusion of them; 0 weighs all alike, 2 by squares.

    References
    ----------
    Cohen 1960; Cohen 1968 (weights).
    """
    place = np.arange(matrices.shape[1], dtype=np.float64)
    apart = np.abs(place[:, None] - place)
    cost = apart**power * (apart > 0)
    true, called = matrices.sum(axis=2), matrices.sum(axis=1)
    by_chance = np.einsum("ri,ij,rj->r", true, cost, called) / matrices.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1.0 - (matrices * cost).sum(axis=(1, 2)) / by_chance)


def matthews(matrices: Weights) -> Weights:
    """Return the Matthews correlation coefficient; NaN where one class alone is true or called.

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


def weighted_auc(truth: Truth, scores: Scores, weights: Weights) -> Weights:
    """Return the AUC under many sets of case weights.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)
    weights : ndarray of float64, shape (replicates, n)

    Returns
    -------
    ndarray of float64, shape (replicates,)
        NaN where a replicate has no positive or no negative case.
    """
    yes, no = _by_score(truth, scores, weights)
    below = np.cumsum(no, axis=1) - no / 2.0  # ties count half
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((yes * below).sum(axis=1) / (yes.sum(axis=1) * no.sum(axis=1)))


def weighted_precision(truth: Truth, scores: Scores, weights: Weights) -> Weights:
    """Return the average precision under many sets of case weights, as `weighted_auc` takes them."""
    yes, no = (side[:, ::-1].cumsum(axis=1) for side in _by_score(truth, scores, weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(yes / (yes + no))  # before the first drawn case no recall is gained
        return np.asarray((np.diff(yes, axis=1, prepend=0.0) * precision).sum(axis=1) / yes[:, -1])


def _by_score(truth: Truth, scores: Scores, weights: Weights) -> tuple[Weights, Weights]:
    """Return the weight of positive and of negative cases at each score, ascending."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered = weights[:, order]
    yes = ordered * truth[order]
    no = ordered - yes
    if len(starts) < len(scores):
        yes, no = (np.add.reduceat(side, starts, axis=1) for side in (yes, no))
    return yes, no


def weighted_aurc(hits: Truth, confidence: Scores, weights: Weights) -> Weights:
    """Return the area under the risk-coverage curve under many sets of whole case weights.

    It is the mean, over how many of the surest rows are answered, of the share of these that is wrong; rows of one
    confidence come in any order, of which this is the expectation.

    References
    ----------
    Geifman & El-Yaniv 2017; Geifman, Uziel & El-Yaniv 2019, sec. 3.
    """
    wrong, right = (side[:, ::-1] for side in _by_score(~hits, confidence, weights))
    size = wrong + right
    after, errors = size.cumsum(axis=1), wrong.cumsum(axis=1)
    before = after - size
    # of a tie of `size` rows the j-th answers before + j and has errors + j * share wrong
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, after.max() + 1))])
    share = np.divide(wrong, size, out=np.zeros_like(size), where=size > 0)
    gained = harmonic[after.round().astype(np.int64)] - harmonic[before.round().astype(np.int64)]
    risks = size * share + (errors - wrong - before * share) * gained
    return np.asarray(risks.sum(axis=1) / after[:, -1])


def auc_influence(truth: Truth, scores: Scores) -> Scores:
    """Return what each case adds to the difference of the AUC from its expectation, float64 of shape (n,).

    The variance of the AUC is the sum of the squares of these numbers, added up by independent unit.

    References
    ----------
    DeLong et al. 1988; Obuchowski 1997 (clustered cases).
    """
    from scipy.stats import rankdata

    rank, found = rankdata(scores), np.empty(len(scores))
    for side in (truth, ~truth):
        others = len(scores) - side.sum()
        below = (rank[side] - rankdata(scores[side])) / others
        found[side] = (below - below.mean()) / side.sum()
    found[~truth] *= -1.0
    return found
