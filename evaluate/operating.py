"""A two-class view by its scores: results of operating points, thresholds for a target sensitivity, and the ROC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from .influence import Ends, Integers, Mask, Values
from .predictions import PredictionTable, sampling_units
from .variance import LEAST_FREEDOM_OF_TERMS, Entry, Figure, Metrics, Units

Curve = tuple[Values, Values]


def fold_rest(table: PredictionTable) -> Iterator[tuple[int, Mask, Mask]]:
    """Yield each fold, its rows, and the rows of the other folds whose images it does not test; bool of shape (n,)."""
    names, image = np.unique(np.array(table.image_ids), return_inverse=True)
    for fold, inside in table.fold_rows():
        tested = np.zeros(len(names), dtype=bool)
        tested[image[inside]] = True
        yield fold, inside, ~tested[image]


def point_figures(units: Units, truth: Mask, called: Mask) -> dict[str, Figure | None]:
    """Return the shares at an operating point, and what follows from two of them.

    Returns
    -------
    dict
        ``sensitivity``, ``specificity``, ``ppv``, ``npv``, ``lr_positive``, ``lr_negative``; None for a side without
        rows.

    References
    ----------
    Altman & Bland 1994 (predictive values); Donner & Zou 2012 (the interval of a ratio from those of its terms).
    """
    figures = {
        "sensitivity": units.share(called, truth),
        "specificity": units.share(~called, ~truth),
        "ppv": units.share(truth, called, predictive=True),
        "npv": units.share(~truth, ~called, predictive=True),
    }
    # ratios are made of shares whose degrees of freedom are bounded as those of terms are
    of_positives = units.share(called, truth, least=LEAST_FREEDOM_OF_TERMS)
    of_negatives = units.share(~called, ~truth, least=LEAST_FREEDOM_OF_TERMS)
    if of_positives is None or of_negatives is None:
        return figures | {"lr_positive": None, "lr_negative": None}
    return figures | {
        "lr_positive": _quotient(of_positives, of_negatives.rest()),
        "lr_negative": _quotient(of_positives.rest(), of_negatives),
    }


def _quotient(over: Figure, under: Figure) -> Figure:
    """Return a ratio of two independent shares, its interval made of logarithms; its end may be infinite."""
    ratio = over.value / under.value if under.value else np.nan
    reason = over.reason or under.reason
    if reason:
        return Figure(ratio, reason=reason)
    low, high = _quotient_ends(over, under)
    return Figure(ratio, low, high, "of the terms, on logarithms")


def _quotient_ends(over: Figure, under: Figure) -> Ends:
    """Return the ends of a ratio, from those of its terms on logarithms (Donner & Zou 2012).

    With first = log over and second = log under, each with its ends, the ends of first - second lie
    sqrt((first - low)^2 + (most - second)^2) below it, and sqrt((high - first)^2 + (second - least)^2) above. A term
    of 0 has no logarithm, so that only its own ends count.
    """
    if under.value == 0.0:
        return float(over.low / under.high), np.inf
    if over.value == 0.0:
        if under.low == 0.0:
            return 0.0, np.inf
        return 0.0, float(over.high / under.low)
    with np.errstate(divide="ignore", invalid="ignore"):  # an end may be 0
        first, low, high = np.log((over.value, over.low, over.high))
        second, least, most = np.log((under.value, under.low, under.high))
        down = np.hypot(first - low, most - second)
        up = np.hypot(high - first, second - least)
        return float(np.exp(first - second - down)), float(np.exp(first - second + up))


def sensitive_threshold(scores: Values, wanted: float, *, units: Integers) -> tuple[float, bool]:
    """Return the highest threshold that calls a positive row of a new unit with at least the wanted probability.

    Each of K units weighs 1, shared by its rows. Below the threshold lies a weight of at most (1 - wanted)(K + 1) - 1,
    so that, if the new unit is exchangeable with these, a row of it lies there with at most the probability
    1 - wanted. Of units with one row it is the usual conformal rule. The sensitivity on the rows themselves would
    promise too much, and so would rows that count as if each were of another patient.

    Parameters
    ----------
    scores : ndarray of float64, shape (m,)
        Of positive rows, at least one.
    wanted : float
    units : ndarray of int, shape (m,)
        The unit of each row: its patient where known, else its image.

    Returns
    -------
    (float, bool)
        The threshold, and whether there are enough units for the promise. With too few it is the least score.

    References
    ----------
    Dunn, Wasserman & Ramdas 2022 (repeated subsampling of a row of each unit; this is its limit); Lee, Barber & Willett
    2023 (hierarchical conformal prediction: the promise); of single rows Vovk, Gammerman & Shafer 2005, ch. 2.

    Examples
    --------
    >>> scores = np.arange(1, 20) / 20
    >>> sensitive_threshold(scores, 0.9, units=np.arange(19)), sensitive_threshold(scores, 0.9, units=np.arange(19) % 2)
    ((0.1, True), (0.05, False))
    """
    _, member, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    weights = 1.0 / sizes[member[order]]
    below = np.cumsum(weights) - weights
    allowed = (1.0 - wanted) * (len(sizes) + 1) - 1.0 + 1e-9  # 0.1 * 10 is not quite 1
    place = int(np.searchsorted(below, allowed, side="right")) - 1
    return float(scores[order][max(place, 0)]), allowed >= 0.0


def wanted_point(
    table: PredictionTable,
    truth: Mask,
    scores: Values,
    wanted: float,
    prevalences: Sequence[float],
) -> Entry:
    """Return the results of a threshold for a target sensitivity, each fold called by that of the other folds.

    Parameters
    ----------
    table : PredictionTable
    truth : ndarray of bool, shape (n,)
        Some of it positive.
    scores : ndarray of float64, shape (n,)
    wanted : float
        Above 0, up to 1.
    prevalences : sequence of float

    Returns
    -------
    dict
        ``wanted``, ``fitted``: ``other folds``, or ``same rows`` where there are none, which flatters; ``enough``:
        whether there are positive units enough, in the others of every fold too, see `sensitive_threshold`; ``unit``
        (``image`` or ``group``); ``per_fold``; the keys of `called_point`, whose ``threshold`` is the one fitted on
        all rows.
    """
    unit, member = sampling_units(table)
    threshold, enough = sensitive_threshold(scores[truth], wanted, units=member[truth])
    called = scores >= threshold
    fitted = "same rows"
    per_fold = []
    if None not in table.folds and all((rest & truth).any() for _, _, rest in fold_rest(table)):
        fitted = "other folds"
        for fold, inside, rest in fold_rest(table):
            outside = rest & truth
            of_fold, enough_outside = sensitive_threshold(
                scores[outside], wanted, units=member[outside]
            )
            called[inside] = scores[inside] >= of_fold
            shares = {
                "sensitivity": _share(called[inside & truth]),
                "specificity": _share(~called[inside & ~truth]),
            }
            per_fold.append({"fold": fold, "threshold": of_fold, **shares})
            enough &= enough_outside
    return {
        "wanted": wanted,
        "fitted": fitted,
        "enough": enough,
        "unit": unit,
        "per_fold": per_fold,
        **called_point(table, truth, called, threshold, prevalences),
    }


def _share(hits: Mask) -> float | None:
    if len(hits) == 0:
        return None
    return float(hits.mean())


def called_point(
    table: PredictionTable,
    truth: Mask,
    called: Mask,
    threshold: float,
    prevalences: Sequence[float] = (),
) -> Entry:
    """Return the results of calling these rows positive.

    Parameters
    ----------
    table : PredictionTable
    truth, called : ndarray of bool, shape (n,)
    threshold : float
        Of the score.
    prevalences : sequence of float
        Shares of positives elsewhere, for which the predictive values are given too, if both sides have rows.

    Returns
    -------
    dict
        ``threshold``, ``confusion`` (rows true, negative first), the figures ``sensitivity``, ``specificity``,
        ``ppv``, ``npv`` (None for a side without rows), and ``at_prevalence``.
    """
    figures = point_figures(Units.of(table), truth, called)
    elsewhere = []
    if figures["lr_positive"]:
        elsewhere = [_elsewhere(figures, prevalence) for prevalence in prevalences]
    return {
        "threshold": threshold,
        "confusion": [
            [int((side & answer).sum()) for answer in (~called, called)] for side in (~truth, truth)
        ],
        **{name: figures[name] for name in ("sensitivity", "specificity", "ppv", "npv")},
        "at_prevalence": elsewhere,
    }


def _elsewhere(figures: Metrics, prevalence: float) -> Entry:
    """Return the predictive values at another prevalence: by Bayes' theorem, their intervals from likelihood ratios."""
    sensitivity = figures["sensitivity"].value
    specificity = figures["specificity"].value
    odds = prevalence / (1.0 - prevalence)
    ppv = _fraction(sensitivity * prevalence, (1 - specificity) * (1 - prevalence))
    npv = _fraction(specificity * (1 - prevalence), (1 - sensitivity) * prevalence)
    return {
        "prevalence": prevalence,
        "ppv": replace(_from_ratio(figures["lr_positive"], odds), value=ppv),
        "npv": replace(_from_ratio(figures["lr_negative"], odds).rest(), value=npv),
    }


def _fraction(first: float, second: float) -> float:
    """Return the first over the sum of both; NaN of nothing."""
    if not first + second:
        return np.nan
    return first / (first + second)


def _from_ratio(ratio: Figure, odds: float) -> Figure:
    """Return the ends of the share of positives that a likelihood ratio makes of these odds.

    It is 1 - 1 / (1 + odds * ratio); its value is left to the caller, since a ratio may have none where it has.
    """
    low = 1.0 - 1.0 / (1.0 + odds * ratio.low)
    high = 1.0 - 1.0 / (1.0 + odds * ratio.high)
    return replace(ratio, low=low, high=high)


def net_benefit(truth: Mask, scores: Values) -> Values:
    """Return thresholds, and the net benefit of calling rows positive by their score, all rows, and none.

    At a threshold t it is ``(true positives - false positives * t / (1 - t)) / n``: a false positive is weighed as who
    calls from t on weighs it.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Whether the true class is on the positive side.
    scores : ndarray of float64, shape (n,)
        A row is called positive if its score is at least the threshold.

    Returns
    -------
    ndarray of float64, shape (99, 4)
        A row for each threshold from 0.01 to 0.99.

    References
    ----------
    Vickers & Elkin 2006.
    """
    thresholds = np.arange(1, 100) / 100
    weight = thresholds / (1.0 - thresholds)
    by_score = scores >= thresholds[:, None]
    benefits = [
        (called & truth).mean(axis=1) - weight * (called & ~truth).mean(axis=1)
        for called in (by_score, by_score | True, by_score & False)
    ]
    return np.transpose([thresholds, *benefits])


def fold_curves(
    table: PredictionTable, truth: Mask, scores: Values
) -> tuple[list[float | None], list[Curve]]:
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
        if truth[inside].all() or not truth[inside].any():
            aucs.append(None)
            continue
        aucs.append(float(roc_auc_score(truth[inside], scores[inside])))
        curves.append(roc_curve(truth[inside], scores[inside])[:2])
    return aucs, curves
