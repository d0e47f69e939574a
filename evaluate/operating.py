"""A two-class view by its scores: what operating points are worth, thresholds for a wanted sensitivity, and the ROC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .intervals import Sampled
from .predictions import PredictionTable, sampling_units

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]

_CURVE = tuple(step / 100 for step in range(1, 100))
"""Thresholds of a decision curve (ours)."""

_GRID = 101
"""False-positive rates at which the curves of folds are averaged (ours; 0, 0.01, ... 1)."""


def fold_rest(table: PredictionTable) -> Iterator[tuple[int, Mask, Mask]]:
    """Yield each fold, its rows, and the rows of the other folds whose images it does not test; bool of shape (n,)."""
    names, image = np.unique(np.array(table.image_ids), return_inverse=True)
    for fold, inside in table.fold_rows():
        tested = np.zeros(len(names), dtype=bool)
        tested[image[inside]] = True
        yield fold, inside, ~tested[image]


def operating_point(
    truth: Mask, called: Mask, *, threshold: float, prevalences: Sequence[float] = ()
) -> dict[str, Any]:
    """Say what calling these rows positive is worth.

    Parameters
    ----------
    truth, called : ndarray of bool, shape (n,)
    threshold : float
        Of the score; its odds are what a false positive costs in the net benefit.
    prevalences : sequence of float
        Shares of positives elsewhere, for which the predictive values and the net benefit are given too.

    Returns
    -------
    dict
        ``threshold``, ``sensitivity``, ``specificity``, ``confusion`` (rows true, negative first), ``ppv``, ``npv``,
        ``lr_positive``, ``lr_negative``, ``net_benefit``, ``at_prevalence``; None for what is not defined.

    References
    ----------
    Altman & Bland 1994 (predictive values); Deeks & Altman 2004 (likelihood ratios); Vickers & Elkin 2006.
    """
    confusion = [[int((side & answer).sum()) for answer in (~called, called)] for side in (~truth, truth)]
    (true_negative, false_positive), (false_negative, true_positive) = confusion
    sensitivity = _ratio(true_positive, false_negative + true_positive)
    specificity = _ratio(true_negative, true_negative + false_positive)
    point: dict[str, Any] = {
        "threshold": threshold,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "confusion": confusion,
        "ppv": _ratio(true_positive, true_positive + false_positive),
        "npv": _ratio(true_negative, true_negative + false_negative),
        "lr_positive": None,
        "lr_negative": None,
        "net_benefit": _net_benefit(true_positive / len(truth), false_positive / len(truth), threshold),
        "at_prevalence": [],
    }
    if sensitivity is not None and specificity is not None:
        point["lr_positive"] = _ratio(sensitivity, 1 - specificity)
        point["lr_negative"] = _ratio(1 - sensitivity, specificity)
        point["at_prevalence"] = [_elsewhere(sensitivity, specificity, share, threshold) for share in prevalences]
    return point


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _net_benefit(true: float, false: float, threshold: float) -> float | None:
    """Return the net benefit of shares of true and false positives."""
    return true - false * threshold / (1 - threshold) if threshold < 1 else None


def _elsewhere(sensitivity: float, specificity: float, share: float, threshold: float) -> dict[str, float | None]:
    """Return what holds at another prevalence, by Bayes' theorem."""
    true, false = sensitivity * share, (1 - specificity) * (1 - share)
    spared, missed = specificity * (1 - share), (1 - sensitivity) * share
    return {
        "prevalence": share,
        "ppv": _ratio(true, true + false),
        "npv": _ratio(spared, spared + missed),
        "net_benefit": _net_benefit(true, false, threshold),
    }


def sensitive_threshold(
    scores: Scores, wanted: float, *, units: npt.NDArray[np.int64] | None = None
) -> tuple[float, bool]:
    """Return the highest threshold that calls a new positive row with at least the wanted probability.

    Of m positive scores in ascending order it is the one at place (1 - wanted)(m + 1), rounded down: a new one lies
    below that with at most this probability, if it is exchangeable with them. The sensitivity on the rows themselves
    would promise too much.

    Parameters
    ----------
    scores : ndarray of float64, shape (m,)
        Of positive rows, at least one.
    wanted : float
    units : ndarray of int, shape (m,), optional
        The unit of each row (its patient where known, else its image); by default each is one of its own. Rows of one
        patient are not exchangeable with those of a new one, so the promise takes enough of these.

    Returns
    -------
    (float, bool)
        The threshold, and whether there are enough units for the promise. With too few rows it is the least score.

    References
    ----------
    Vovk, Gammerman & Shafer 2005, ch. 2 (conformal prediction).

    Examples
    --------
    >>> sensitive_threshold(np.arange(1, 20) / 20, 0.9), sensitive_threshold(np.array([0.4, 0.7]), 0.9)
    ((0.1, True), (0.4, False))
    """
    count = len(scores) if units is None else len(np.unique(units))
    place, enough = (int((1 - wanted) * (size + 1) + 1e-9) for size in (len(scores), count))  # 0.1 * 10 is not quite 1
    return float(np.sort(scores)[max(place, 1) - 1]), enough > 0


def _called_as_wanted(
    table: PredictionTable, truth: Mask, scores: Scores, wanted: float
) -> tuple[Mask, dict[int, float], bool] | None:
    """Call each fold by the threshold for a wanted sensitivity that was fitted on the other folds.

    Returns
    -------
    (ndarray of bool of shape (n,), dict of int to float, bool) or None
        Which rows are called positive, the threshold of each fold, and whether every fold had enough units in the
        others. None where a fold has no other that holds positive rows.
    """
    called = np.zeros(len(table), dtype=bool)
    units = sampling_units(table)[1]
    thresholds, enough = {}, True
    for fold, inside, rest in fold_rest(table):
        if not (rest & truth).any():
            return None
        fitted = rest & truth
        thresholds[fold], one = sensitive_threshold(scores[fitted], wanted, units=units[fitted])
        called[inside] = scores[inside] >= thresholds[fold]
        enough &= one
    return (called, thresholds, enough) if thresholds and None not in table.folds else None


def wanted_point(
    table: PredictionTable, truth: Mask, scores: Scores, wanted: float, *, prevalences: Sequence[float] = ()
) -> dict[str, Any] | None:
    """Say what a threshold for a wanted sensitivity is worth, each fold called by that of the other folds.

    Parameters
    ----------
    table : PredictionTable
    truth : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)
    wanted : float
        Above 0, up to 1.
    prevalences : sequence of float

    Returns
    -------
    dict or None
        ``wanted``, ``fitted``: ``other folds``, or ``same rows`` where there are none, which flatters; ``enough``:
        whether there are positive units enough, in the others of every fold too, see `sensitive_threshold`;
        ``per_fold``; the keys of `operating_point`, whose ``threshold`` is the one fitted on all rows; and 95 %
        intervals of both shares. None without positive rows.
    """
    if not truth.any():
        return None
    threshold, enough = sensitive_threshold(scores[truth], wanted, units=sampling_units(table)[1][truth])
    others = _called_as_wanted(table, truth, scores, wanted)
    called, thresholds, each = others or (scores >= threshold, {}, True)
    per_fold = []
    for fold, inside in table.fold_rows():
        if fold in thresholds:
            here = operating_point(truth[inside], called[inside], threshold=thresholds[fold])
            per_fold.append({"fold": fold, **{key: here[key] for key in ("threshold", "sensitivity", "specificity")}})
    return {
        "wanted": wanted,
        "fitted": "other folds" if others else "same rows",
        "enough": enough and each,
        "per_fold": per_fold,
        **called_point(table, truth, called, threshold, prevalences),
    }


def called_point(
    table: PredictionTable, truth: Mask, called: Mask, threshold: float, prevalences: Sequence[float] = ()
) -> dict[str, Any]:
    """Return an `operating_point` with ``sensitivity_interval`` and ``specificity_interval``, of 95 %."""
    point = operating_point(truth, called, threshold=threshold, prevalences=prevalences)
    sampled = Sampled(table)
    sides = {"sensitivity": sampled.share(called, truth), "specificity": sampled.share(~called, ~truth)}
    return point | {f"{side}_interval": found and found.ends for side, found in sides.items()}


def decision_curve(truth: Mask, scores: Scores) -> dict[str, list[float]]:
    """Compute the net benefit of calling by each threshold, beside that of calling every row.

    Returns
    -------
    dict
        ``threshold`` (0.01 to 0.99), ``model``, ``treat_all``. Calling none has a net benefit of 0.

    References
    ----------
    Vickers & Elkin 2006, eq. 1.
    """
    thresholds = np.array(_CURVE)
    odds = thresholds / (1 - thresholds)
    called = scores[:, np.newaxis] >= thresholds
    model = (called & truth[:, np.newaxis]).mean(axis=0) - odds * (called & ~truth[:, np.newaxis]).mean(axis=0)
    share = float(truth.mean())
    return {
        "threshold": thresholds.tolist(),
        "model": model.tolist(),
        "treat_all": (share - odds * (1 - share)).tolist(),
    }


@dataclass(frozen=True)
class FoldCurves:
    """ROC curves of the folds.

    Attributes
    ----------
    aucs : list of float or None
        Per fold, in fold order; None where a fold tests one side only.
    curves : list of (ndarray, ndarray)
        False and true positive rates of the folds that have an AUC.
    grid, mean, spread : ndarray of float64, shape (101,)
        Vertical average: at each false-positive rate the mean and the population standard deviation of the true
        positive rates. Empty where no fold has an AUC.

    References
    ----------
    Fawcett 2006, sec. 8.1 (vertical averaging).
    """

    aucs: list[float | None]
    curves: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
    grid: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


def fold_curves(table: PredictionTable, truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> FoldCurves:
    """Compute the ROC of every fold and their mean.

    Parameters
    ----------
    table : PredictionTable
        Gives the fold of each row.
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    aucs: list[float | None] = []
    curves = []
    for _, inside in table.fold_rows():
        if truth[inside].all() or not truth[inside].any():
            aucs.append(None)
            continue
        false, true, _ = roc_curve(truth[inside], scores[inside])
        aucs.append(float(roc_auc_score(truth[inside], scores[inside])))
        curves.append((false, true))
    if not curves:
        empty = np.zeros(0)
        return FoldCurves(aucs, [], empty, empty, empty)
    grid = np.linspace(0.0, 1.0, _GRID)
    stack = np.array([np.interp(grid, false, true) for false, true in curves])
    stack[:, 0] = 0.0
    return FoldCurves(aucs, curves, grid, stack.mean(axis=0), stack.std(axis=0))
