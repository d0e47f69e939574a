"""How far probabilities can be believed, which predictions are unsure, and how right a model is where it is surest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .intervals import Sampled
from .predictions import PredictionTable, sampling_units
from .temperature import fold_temperatures, negative_log_likelihood

Values = npt.NDArray[np.float64]

CALIBRATION_BINS = 15
"""Equal-width bins of the confidence. Guo et al. 2017, sec. 2 ("On Calibration of Modern Neural Networks")."""

_LEAST = 1e-12
"""Scores nearer to 0 or 1 count as this near: their log odds would be infinite (ours, as for temperatures)."""

_ROUNDS, _CLOSE = 100, 1e-10
"""Newton steps at most, and the step at which they end (ours)."""

_REPLICATES, _MOST_DRAWN, _CHUNK = 1000, 20_000_000, 2_000_000
"""Tables drawn for the expected error, of large tables fewer, down to a tenth; outcomes at a time (ours)."""

_COVERAGES = tuple(share / 100 for share in range(100, 0, -5))
"""Shares of images that are answered (ours)."""

UNSURE_SHARE = 0.2
"""Share of out-of-fold predictions that lie below the confidence under which one counts as unsure (ours)."""


def calibration_note(table: PredictionTable) -> str | None:
    """Say why the probabilities of a table cannot be believed or doubted as such; None where they can."""
    if table.probabilities is None:
        return "the table names classes, without probabilities"
    if table.votes:
        return "its shares are votes, no probabilities"
    if np.isin(table.probabilities, (0.0, 1.0)).all():
        return "its probabilities are all 0 or 1: they name a class, and claim nothing"
    return None


def calibration(table: PredictionTable, *, bins: int = CALIBRATION_BINS, seed: int = 0) -> dict[str, Any] | None:
    """Compare the confidence of the predicted class with how often it is right.

    Parameters
    ----------
    table : PredictionTable
    bins : int
        Equal-width bins of the confidence, which is the probability of the predicted class.
    seed : int
        Of the tables that are drawn for the expected error.

    Returns
    -------
    dict or None
        ``ece`` (expected calibration error: mean over images of the gap between accuracy and confidence of their
        bin), ``ece_expected``, ``ece_expected_range`` and ``ece_p`` (its mean, where 95 % of it lie, and the share that
        is at least ``ece``, where outcomes are drawn from the probabilities, row by row), ``brier`` (mean squared
        distance from the one-hot truth, 0 to 2), ``nll`` (mean negative log-likelihood), ``bins`` (those that hold
        images: ``confidence``, ``accuracy``, ``n``), ``slope``, ``intercept`` and their intervals (`recalibration` of
        the confidence), ``class_wise`` (by class, against the rest) and ``class_wise_ece``, and ``temperature``: per
        fold the temperature fitted on the other folds, and the first scores after scaling; None with fewer than two
        folds. None for a table with a `calibration_note`.

    References
    ----------
    Guo et al. 2017, eq. 3; Brier 1950; Bröcker & Smith 2007 (consistency resampling); Van Calster et al. 2019; Kull et
    al. 2019 (class-wise error).
    """
    confidence = table.confidence
    if table.probabilities is None or confidence is None or calibration_note(table) is not None:
        return None
    units = sampling_units(table)[1]
    hits = table.predicted == table.labels
    found = _scores(table, table.probabilities, bins)
    found |= _chance(confidence, found["ece"], bins, seed) | recalibration(confidence, hits, units=units)
    found["class_wise"] = {
        name: _class_wise(table.probabilities[:, place], table.labels == place, units, bins, seed)
        for place, name in enumerate(table.classes)
    }
    found["class_wise_ece"] = float(np.mean([one["ece"] for one in found["class_wise"].values()]))
    found["temperature"] = None
    if (scaled := fold_temperatures(table)) is not None:
        temperatures, probabilities = scaled
        after = _scores(table, probabilities, bins)  # scaling keeps the predicted class
        found["temperature"] = {
            "per_fold": [temperatures[fold] for fold in table.fold_numbers],
            **{name: after[name] for name in ("ece", "brier", "nll")},
        }
    return found


def _members(confidence: Values, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin of each row: bins are (low, high], as in the paper; a confidence of 1 is in the last one."""
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))


def _binned(confidence: Values, hits: npt.NDArray[np.bool_], bins: int) -> tuple[float, list[dict[str, Any]]]:
    """Return the calibration error and its bins."""
    member = _members(confidence, bins)
    found = []
    error = 0.0
    for place in range(bins):
        inside = member == place
        count = int(inside.sum())
        if count:
            mean, right = float(confidence[inside].mean()), float(hits[inside].mean())
            error += count / len(hits) * abs(right - mean)
            found.append({"confidence": mean, "accuracy": right, "n": count})
    return error, found


def _chance(confidence: Values, error: float, bins: int, seed: int) -> dict[str, Any]:
    """Return the calibration error of tables whose outcomes are drawn from the confidence."""
    rows = len(confidence)
    member = _members(confidence, bins)
    order = np.argsort(member, kind="stable")
    chosen = confidence[order]
    starts = np.flatnonzero(np.diff(member[order], prepend=-1))
    claimed = np.add.reduceat(chosen, starts)
    replicates = max(_REPLICATES // 10, min(_REPLICATES, _MOST_DRAWN // rows))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // rows)
    errors = []
    for at in range(0, replicates, step):
        hits = rng.random((min(step, replicates - at), rows)) < chosen
        errors.append(np.abs(np.add.reduceat(hits, starts, axis=1, dtype=np.int64) - claimed).sum(axis=1) / rows)
    drawn = np.concatenate(errors)
    return {
        "ece_expected": float(drawn.mean()),
        "ece_expected_range": np.percentile(drawn, [2.5, 97.5]).tolist(),
        "ece_p": float((1 + (drawn >= error - 1e-9).sum()) / (1 + replicates)),  # two sums of one thing, rounded apart
    }


def _class_wise(
    scores: Values, truth: npt.NDArray[np.bool_], units: npt.NDArray[np.int64], bins: int, seed: int
) -> dict[str, Any]:
    error, _ = _binned(scores, truth, bins)
    found = _chance(scores, error, bins, seed) | recalibration(scores, truth, units=units)
    picked = {key: found[key] for key in ("ece_expected", "slope", "intercept")}
    return {"n": int(truth.sum()), "ece": error, **picked}


def _scores(table: PredictionTable, probabilities: Values, bins: int) -> dict[str, Any]:
    confidence = probabilities[np.arange(len(table)), table.predicted]
    error, found = _binned(confidence, table.predicted == table.labels, bins)
    truth = np.eye(len(table.classes))[table.labels]
    return {
        "ece": error,
        "brier": float(np.square(probabilities - truth).sum(axis=1).mean()),
        "nll": negative_log_likelihood(probabilities, table.labels),
        "bins": found,
    }


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


def unsure_rule(table: PredictionTable, *, share: float = UNSURE_SHARE) -> dict[str, Any] | None:
    """Return the confidence below which the least sure predictions of a table lie, and how many are right on each side.

    The share is named beforehand and the confidence follows from it without a look at a label, so that how many are
    right above it is measured as on any images, and its interval holds. A confidence that were chosen for a wanted
    accuracy would be the one at which chance was kindest.

    Parameters
    ----------
    table : PredictionTable
        Out-of-fold predictions.
    share : float

    Returns
    -------
    dict or None
        ``below`` (a confidence), ``share`` (as asked for), ``calibrated`` (whether confidences are scaled by
        `fold_temperatures`), ``unit`` (``group`` or ``image``), and ``sure`` and ``unsure``, each with ``n``, ``right``
        and the 95 % ``interval`` of the share that is right. None without probabilities, or where none is less sure
        than the others.

    References
    ----------
    Geifman & El-Yaniv 2017, sec. 2 (selective classification).
    """
    if table.probabilities is None or not len(table):
        return None
    scaled = fold_temperatures(table)
    probabilities = table.probabilities if scaled is None else scaled[1]
    confidence = probabilities[np.arange(len(table)), table.predicted]
    below = round(float(np.sort(confidence)[int(share * len(table))]), 3)
    unsure = confidence < below
    if not unsure.any() or unsure.all():
        return None
    hits, sampled = table.predicted == table.labels, Sampled(table)
    sides: dict[str, Any] = {}
    for name, inside in (("sure", ~unsure), ("unsure", unsure)):
        interval = sampled.share(hits, inside)
        ends = None if interval is None else interval.ends
        sides[name] = {"n": int(inside.sum()), "right": int(hits[inside].sum()), "interval": ends}
    return {"below": below, "share": share, "calibrated": scaled is not None, "unit": sampled.unit, **sides}


def abstention(table: PredictionTable) -> list[dict[str, Any]] | None:
    """Compute the accuracy when only the most confident predictions are given.

    Parameters
    ----------
    table : PredictionTable

    Returns
    -------
    list of dict or None
        Per share of images answered, from 1 down by 0.05: ``coverage`` (asked for), ``confidence`` (the least that is
        answered), ``n`` (images answered; all of equal confidence are) and ``accuracy`` over them. None for a table
        without probabilities.

    References
    ----------
    Geifman & El-Yaniv 2017, sec. 2 (selective classification, risk against coverage).
    """
    confidence = table.confidence
    if confidence is None:
        return None
    hits = table.predicted == table.labels
    ordered = np.sort(confidence)[::-1]
    found = []
    for coverage in _COVERAGES:
        least = float(ordered[max(1, round(coverage * len(table))) - 1])
        kept = confidence >= least
        found.append(
            {
                "coverage": coverage,
                "confidence": least,
                "n": int(kept.sum()),
                "accuracy": float(hits[kept].mean()),
            }
        )
    return found
