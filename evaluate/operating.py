"""A two-class view by its scores: results of operating points, thresholds for a target sensitivity, and the ROC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable, sampling_units
from .variance import LEAST_FREEDOM_OF_TERMS, Figure, Units

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
    yes, no = (
        units.share(*rows, least=LEAST_FREEDOM_OF_TERMS)
        for rows in ((called, truth), (~called, ~truth))
    )
    if yes is None or no is None:
        return figures | {"lr_positive": None, "lr_negative": None}
    return figures | {
        "lr_positive": _quotient(yes, no.rest()),
        "lr_negative": _quotient(yes.rest(), no),
    }


def _quotient(over: Figure, under: Figure) -> Figure:
    """Return a ratio of two independent shares, its interval made of logarithms; its end may be infinite."""
    part, whole = over.value, under.value
    ratio = part / whole if whole else np.nan
    if reason := over.reason or under.reason:
        return Figure(ratio, reason=reason)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, low, high = np.log((part, over.low, over.high))
        second, least, most = np.log((whole, under.low, under.high))
        down = np.hypot(first - low, most - second) if part > 0.0 else np.inf
        up = np.hypot(high - first, second - least) if whole > 0.0 else np.inf
        ends = [np.exp(first - second - down) if part > 0.0 else 0.0, np.exp(first - second + up)]
    if part == 0.0:
        ends[1] = over.high / under.low if under.low > 0.0 else np.inf
    if whole == 0.0:
        ends = [over.low / under.high, np.inf]
    return Figure(ratio, float(ends[0]), float(ends[1]), "of the terms, on logarithms")


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
    rank, enough = (
        int((1 - wanted) * (size + 1) + 1e-9) for size in (len(scores), count)
    )  # 0.1 * 10 is not quite 1
    return float(np.sort(scores)[max(rank, 1) - 1]), enough > 0


def wanted_point(
    table: PredictionTable,
    truth: Mask,
    scores: Scores,
    wanted: float,
    *,
    prevalences: Sequence[float] = (),
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
        (``image`` or ``group``); ``per_fold``; the keys of `called_point`, whose ``threshold`` is the one fitted on
        all rows. None without positive rows.
    """
    if not truth.any():
        return None
    unit, member = sampling_units(table)
    threshold, enough = sensitive_threshold(scores[truth], wanted, units=member[truth])
    called, per_fold = scores >= threshold, list[dict[str, Any]]()
    crossed = bool(table.fold_numbers) and None not in table.folds
    if crossed := crossed and all((rest & truth).any() for _, _, rest in fold_rest(table)):
        for fold, inside, rest in fold_rest(table):
            fitted = rest & truth
            of_fold, enough_outside = sensitive_threshold(
                scores[fitted], wanted, units=member[fitted]
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
        "fitted": "other folds" if crossed else "same rows",
        "enough": enough,
        "unit": unit,
        "per_fold": per_fold,
        **called_point(table, truth, called, threshold, prevalences),
    }


def _share(hits: Mask) -> float | None:
    return float(hits.mean()) if len(hits) else None


def called_point(
    table: PredictionTable,
    truth: Mask,
    called: Mask,
    threshold: float,
    prevalences: Sequence[float] = (),
) -> dict[str, Any]:
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
    return {
        "threshold": threshold,
        "confusion": [
            [int((side & answer).sum()) for answer in (~called, called)] for side in (~truth, truth)
        ],
        **{
            name: (figure := figures[name]) and figure.json()
            for name in ("sensitivity", "specificity", "ppv", "npv")
        },
        "at_prevalence": [_elsewhere(figures, share) for share in prevalences]
        if figures["lr_positive"]
        else [],
    }


def _elsewhere(figures: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return the predictive values at another prevalence: by Bayes' theorem, their intervals from likelihood ratios."""
    yes, no, positive, negative = (
        figures[name] for name in ("sensitivity", "specificity", "lr_positive", "lr_negative")
    )
    true, false = yes.value * share, (1 - no.value) * (1 - share)
    spared, missed = no.value * (1 - share), (1 - yes.value) * share
    odds = share / (1.0 - share)
    ppv, npv = (
        replace(
            ratio,
            low=1.0 - 1.0 / (1.0 + odds * ratio.low),
            high=1.0 - 1.0 / (1.0 + odds * ratio.high),
        )
        for ratio in (positive, negative)
    )
    return {
        "prevalence": share,
        "ppv": ppv.json() | {"value": true / (true + false) if true + false else None},
        "npv": npv.rest().json()
        | {"value": spared / (spared + missed) if spared + missed else None},
    }


def fold_curves(
    table: PredictionTable, truth: Mask, scores: Scores
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
        both = truth[inside].any() and not truth[inside].all()
        aucs.append(float(roc_auc_score(truth[inside], scores[inside])) if both else None)
        if both:
            curves.append(roc_curve(truth[inside], scores[inside])[:2])
    return aucs, curves
