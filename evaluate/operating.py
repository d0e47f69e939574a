"""A two-class view by its scores: results of operating points, thresholds for a target sensitivity, and the ROC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable, sampling_units
from .variance import LEAST_FREEDOM_OF_TERMS, Interval, Units

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]
Curve = tuple[Scores, Scores]


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
    """Return the results of calling these rows positive.

    Parameters
    ----------
    truth, called : ndarray of bool, shape (n,)
    threshold : float
        Of the score.
    prevalences : sequence of float
        Shares of positives elsewhere, for which the predictive values are given too.

    Returns
    -------
    dict
        ``threshold``, ``sensitivity``, ``specificity``, ``confusion`` (rows true, negative first), ``ppv``, ``npv``,
        ``at_prevalence``; None for what is not defined.

    References
    ----------
    Altman & Bland 1994 (predictive values).
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
        "at_prevalence": [],
    }
    if sensitivity is not None and specificity is not None:
        point["at_prevalence"] = [_elsewhere(sensitivity, specificity, share) for share in prevalences]
    return point


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _elsewhere(sensitivity: float, specificity: float, share: float) -> dict[str, Any]:
    """Return what holds at another prevalence, by Bayes' theorem."""
    true, false = sensitivity * share, (1 - specificity) * (1 - share)
    spared, missed = specificity * (1 - share), (1 - sensitivity) * share
    return {"prevalence": share, "ppv": _ratio(true, true + false), "npv": _ratio(spared, spared + missed)}


def point_intervals(units: Units, truth: Mask, called: Mask) -> dict[str, Interval | None]:
    """Return the intervals of shares at an operating point, and of what follows from two of them.

    Returns
    -------
    dict
        Of ``sensitivity``, ``specificity``, ``ppv``, ``npv``, ``lr_positive``, ``lr_negative``; None for a side without
        rows.

    References
    ----------
    Donner & Zou 2012 (the interval of a ratio from those of its terms).
    """
    shares = {
        "sensitivity": units.share(called, truth),
        "specificity": units.share(~called, ~truth),
        "ppv": units.predictive(truth, called),
        "npv": units.predictive(~truth, ~called),
    }
    sides = [units.share(*rows, least=LEAST_FREEDOM_OF_TERMS) for rows in ((called, truth), (~called, ~truth))]
    if sides[0] is None or sides[1] is None:
        return shares | {"lr_positive": None, "lr_negative": None}
    yes, no = float(called[truth].mean()), float((~called)[~truth].mean())
    return shares | {
        "lr_positive": _quotient(yes, sides[0], 1.0 - no, sides[1].scaled(1.0, 0.0)),
        "lr_negative": _quotient(1.0 - yes, sides[0].scaled(1.0, 0.0), no, sides[1]),
    }


def _quotient(part: float, of_part: Interval, whole: float, of_whole: Interval) -> Interval:
    """Return the interval of a ratio of two independent shares, on the scale of logarithms; its end may be infinite."""
    if reason := of_part.reason or of_whole.reason:
        return Interval(np.nan, np.nan, "", reason)
    over, under = (sorted((bounds.low, bounds.high)) for bounds in (of_part, of_whole))
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second, (low, high), (least, most) = (np.log(bounds) for bounds in (part, whole, over, under))
        down = np.hypot(first - low, most - second) if part > 0.0 else np.inf
        up = np.hypot(high - first, second - least) if whole > 0.0 else np.inf
        ends = [np.exp(first - second - down) if part > 0.0 else 0.0, np.exp(first - second + up)]
    if part == 0.0:
        ends[1] = over[1] / under[0] if under[0] > 0.0 else np.inf
    if whole == 0.0:
        ends = [over[0] / under[1], np.inf]
    return Interval(float(ends[0]), float(ends[1]), "of the terms, on logarithms")


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
    rank, enough = (int((1 - wanted) * (size + 1) + 1e-9) for size in (len(scores), count))  # 0.1 * 10 is not quite 1
    return float(np.sort(scores)[max(rank, 1) - 1]), enough > 0


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
        thresholds[fold], enough_rows = sensitive_threshold(scores[fitted], wanted, units=units[fitted])
        called[inside] = scores[inside] >= thresholds[fold]
        enough &= enough_rows
    return (called, thresholds, enough) if thresholds and None not in table.folds else None


def wanted_point(
    table: PredictionTable, truth: Mask, scores: Scores, wanted: float, *, prevalences: Sequence[float] = ()
) -> dict[str, Any] | None:
    """Return the results of a threshold for a target sensitivity, each fold called by that of the other folds.

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
        whether there are positive units enough, in the others of every fold too, see `sensitive_threshold`; ``unit``
        (``image`` or ``group``); ``per_fold``; the keys of `operating_point`, whose ``threshold`` is the one fitted on
        all rows; and 95 % intervals of both shares. None without positive rows.
    """
    if not truth.any():
        return None
    unit, member = sampling_units(table)
    threshold, enough = sensitive_threshold(scores[truth], wanted, units=member[truth])
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
        "unit": unit,
        "per_fold": per_fold,
        **called_point(table, truth, called, threshold, prevalences),
    }


def called_point(
    table: PredictionTable, truth: Mask, called: Mask, threshold: float, prevalences: Sequence[float] = ()
) -> dict[str, Any]:
    """Return an `operating_point` with 95 % intervals, each under the name of its figure with ``_interval``.

    Those of predictive values at other prevalences follow from those of likelihood ratios.
    """
    point = operating_point(truth, called, threshold=threshold, prevalences=prevalences)
    known = point_intervals(Units.of(table), truth, called)
    for at in point["at_prevalence"]:
        odds = at["prevalence"] / (1.0 - at["prevalence"])
        for name, ratio in (("ppv", known["lr_positive"]), ("npv", known["lr_negative"])):
            ends = None
            if ratio is not None and ratio.ends is not None:
                shares = [1.0 - 1.0 / (1.0 + odds * end) for end in ratio.ends]
                ends = shares if name == "ppv" else [1.0 - share for share in reversed(shares)]
            at[f"{name}_interval"] = ends
    shown = ("sensitivity", "specificity", "ppv", "npv")
    return point | {f"{name}_interval": (span := known[name]) and span.ends for name in shown}


def fold_curves(table: PredictionTable, truth: Mask, scores: Scores) -> tuple[list[float | None], list[Curve]]:
    """Compute the ROC of every fold.

    Parameters
    ----------
    table : PredictionTable
        Gives the fold of each row.
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)

    Returns
    -------
    (list of float or None, list of (ndarray, ndarray))
        AUC by fold, None where it tests one side only; and false and true positive rates of the others.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    aucs: list[float | None] = []
    curves = []
    for _, inside in table.fold_rows():
        both = truth[inside].any() and not truth[inside].all()
        aucs.append(float(roc_auc_score(truth[inside], scores[inside])) if both else None)
        if both:
            curves.append(roc_curve(truth[inside], scores[inside])[:2])
    return aucs, curves
