"""Calibration: slope and intercept, and the temperature that scales probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .intervals import Entry, Figure, Part, Units, interval, normal_interval
from .predictions import (
    LEAST,
    Answers,
    Integers,
    Mask,
    PredictionTable,
    Values,
    apply_temperature,
    fold_rest,
    sampling_units,
)

_BOUNDS = (0.05, 20.0)
"""Range of the temperatures that are searched."""

_MOST_WORK = 3_000_000
"""Maximum of folds times rows for which temperatures of folds are fitted: about ten seconds."""

PENALTY = 5.0
"""Weight of the square of log T relative to the log-likelihood of the units, chosen on
simulated data (docs/statistics.md)."""

_AVERAGING = 0.3
"""By how much log T may fall if the models of the folds are averaged, chosen on simulated data (docs/statistics.md)."""


def shrunk_temperature(table: PredictionTable, *, averaged: bool = False) -> float | None:
    """Return a temperature that a few images cannot drive far from 1.

    To the negative log-likelihood ``PENALTY (log T)^2 / 2`` is added, over the number of units (patients if known, else
    images): images that are all right would sink T to nothing, and one wrong new image would then cost all that was
    gained.

    Parameters
    ----------
    table : PredictionTable
        Of single models.
    averaged : bool
        Of the mean of such models, as a bundle gives for new images, whose temperature nothing measures, as every
        labelled image trained most of them. The mean is less sure than each, so its temperature is the smaller one:
        where the one found softens, it is brought nearer to 1 by a factor of up to ``exp(0.3)``, and never past it.

    Returns
    -------
    float or None
        None without probabilities, or for shares of votes.

    References
    ----------
    Guo et al. 2017, sec. 4.2; Rahaman & Thiery 2021 (ensembles are less sure than their members).
    """
    if table.probabilities is None or table.votes:
        return None
    units = sampling_units(table)[1]
    temperature = _fitted_temperature(table.probabilities, table.labels, units)
    if averaged and temperature > 1:
        return max(1.0, temperature * float(np.exp(-_AVERAGING)))
    return temperature


def _fitted_temperature(probabilities: Values, labels: Integers, units: Integers) -> float:
    """Return the temperature of the least penalised loss of some rows."""
    from scipy.optimize import minimize_scalar

    logs = np.log(np.maximum(probabilities, LEAST)).T
    # of each class over the true one, of shape (classes, n)
    margins = logs - logs[labels, np.arange(len(labels))]
    weight = PENALTY / len(np.unique(units))

    def loss(log_temperature: float) -> float:
        """Return the penalised loss, in the logarithm, so that halving and doubling are steps of one size."""
        # no margin over the least temperature is too large for the exponential function
        sums = np.exp(margins / np.exp(log_temperature)).sum(axis=0)
        losses = np.minimum(np.log(sums), -np.log(LEAST))
        return float(losses.mean() + weight * log_temperature**2 / 2)

    optimum = minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded")
    return float(np.exp(optimum.x))


def fold_temperatures(table: PredictionTable) -> tuple[dict[int, float], Values] | None:
    """Scale each fold by a `shrunk_temperature` of the other folds.

    Of these the images that this fold tests as well are left out. The models that predicted the others had this fold's
    test images in training, so that a temperature is not wholly without them.

    Parameters
    ----------
    table : PredictionTable

    Returns
    -------
    (dict of int to float, ndarray of float64, shape (n, classes)) or None
        Temperature per fold and the scaled probabilities. None without probabilities, with fewer than two folds, or
        with so many that it would take minutes (more than 3 million, folds times rows).
    """
    folds = len(table.fold_numbers)
    if table.probabilities is None or table.votes or folds < 2 or None in table.folds:
        return None
    if folds * len(table) > _MOST_WORK:
        return None
    units = sampling_units(table)[1]
    scaled = np.empty_like(table.probabilities)
    temperatures = {}
    for fold, inside, rest in fold_rest(table):
        if not rest.any():
            return None
        temperatures[fold] = _fitted_temperature(
            table.probabilities[rest], table.labels[rest], units[rest]
        )
        scaled[inside] = apply_temperature(table.probabilities[inside], temperatures[fold])
    return temperatures, scaled


def negative_log_likelihood(probabilities: Values, labels: Integers) -> float:
    """Return the mean over rows of minus the logarithm of the true class's probability."""
    of_true_class = _of_class(probabilities, labels)
    return float(-np.log(np.maximum(of_true_class, LEAST)).mean())


def _of_class(probabilities: Values, numbers: Integers) -> Values:
    """Return the probability of one class of each row, by its number."""
    return probabilities[np.arange(len(numbers)), numbers]


CALIBRATION_BINS = 15
"""Equal-width bins of the confidence. Guo et al. 2017, sec. 2 ("On Calibration of Modern Neural Networks")."""

_SUREST = 1e-4
"""Scores nearer to 0 or 1 count as this near in slope and intercept: a few images whose log odds are extreme, or
infinite, would else decide both, and no study of some hundred images shows whether 0.9999 or 1 is right."""

_ROUNDS = 100
"""Maximum number of Newton steps."""

_CLOSE = 1e-10
"""The size of a step at which they end."""

_MANY = 400
"""With at least so many rows in a bin, the number of right ones counts as normal: exact within a thousandth."""

UNSURE_SHARE = 0.2
"""Fraction of out-of-fold predictions whose confidence is below the limit under which an image is uncertain."""


def calibration_note(table: PredictionTable) -> str | None:
    """Return why a table has no calibration: its values are not probabilities; None if they are."""
    if table.probabilities is None:
        return "the table names classes, without probabilities"
    if table.votes:
        return "its shares are votes, no probabilities"
    if np.isin(table.probabilities, (0.0, 1.0)).all():
        return "its probabilities are all 0 or 1: they name a class, and claim nothing"
    return None


def calibration(table: PredictionTable, units: Units) -> Entry | None:
    """Compare the confidence of the predicted class with how often it is right.

    Parameters
    ----------
    table : PredictionTable
        Its confidence is the probability of the predicted class.
    units : Units
        Of the table.

    Returns
    -------
    dict or None
        ``ece`` (expected calibration error: mean over images of the gap between accuracy and confidence of their
        bin), ``ece_expected`` (its mean where outcomes are drawn from the probabilities, row by row), ``brier`` (a
        figure: mean squared distance from the one-hot truth, 0 to 2), ``nll`` (mean negative log-likelihood), ``bins``
        (those that hold images: ``confidence``, ``accuracy``, ``n``), the figures ``slope`` and ``intercept``
        (`recalibration` of the confidence), and ``temperature``: per fold the temperature fitted on the other folds,
        and the first scores after scaling; None with fewer than two
        folds. None for a table with a `calibration_note`.

    References
    ----------
    Guo et al. 2017, eq. 3; Brier 1950; Bröcker & Smith 2007 (consistency resampling); Van Calster et al. 2019.
    """
    confidence = table.confidence
    if table.probabilities is None or confidence is None or calibration_note(table):
        return None
    scores = _scores(table, table.probabilities)
    scores |= recalibration(confidence, table.hits, units=units)
    scores |= {"brier": brier_score(table, units), "temperature": None}
    scaled = fold_temperatures(table)
    if scaled is not None:
        temperatures, probabilities = scaled
        after = _scores(table, probabilities)  # scaling keeps the predicted class
        scores["temperature"] = {
            "per_fold": [temperatures[fold] for fold in table.fold_numbers],
            **{name: after[name] for name in ("ece", "brier", "nll")},
        }
    return scores


def brier_score(table: PredictionTable, units: Units) -> Figure:
    """Return the Brier score of a table with probabilities.

    If no row is wrong, nothing tells how much a wrong one would lose. Then as many may be wrong as the interval of the
    accuracy allows, and each may lose 2, the most there is.
    """
    loss = _squared_distances(np.asarray(table.probabilities), table.labels)
    brier = float(loss.mean())
    everywhere = np.ones(len(loss), np.bool_)
    part = Part(brier, (loss - brier) / len(loss), (everywhere,), finer=np.inf)
    figure = interval([part], units, limits=(0.0, 2.0))
    accuracy = units.share(table.hits)
    if accuracy is None or accuracy.reason or not table.hits.all():
        return figure
    # losses of right rows hardly vary, and would promise that there is no wrong one
    return replace(figure, high=max(figure.high, brier + (1.0 - accuracy.low) * (2.0 - brier)))


def _squared_distances(probabilities: Values, labels: Integers) -> Values:
    """Return the squared distance of each row from its one-hot truth, float64 of shape (n,)."""
    one_hot = np.eye(probabilities.shape[1])[labels]
    return np.asarray(np.square(probabilities - one_hot).sum(axis=1))


def _scores(table: PredictionTable, probabilities: Values) -> Entry:
    """Return the scores of probabilities that need no interval."""
    confidence = _of_class(probabilities, table.predicted)
    bins = reliability_bins(confidence, table.hits)
    error = sum(entry["n"] * abs(entry["accuracy"] - entry["confidence"]) for entry in bins)
    expected = sum(_expected_error(confidence[inside]) for inside in _members(confidence))
    return {
        "ece": error / len(confidence),
        "brier": float(_squared_distances(probabilities, table.labels).mean()),
        "nll": negative_log_likelihood(probabilities, table.labels),
        "floored": int((_of_class(probabilities, table.labels) < LEAST).sum()),
        "bins": bins,
        "ece_expected": expected / len(confidence),
    }


def reliability_bins(scores: Values, truth: Mask) -> list[Entry]:
    """Return of each bin of scores that holds rows their mean, the share of true rows, and their number.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
        The confidence, or the score of a class.
    truth : ndarray of bool, shape (n,)
        Whether the predicted class, or this class, is the true one.
    """
    return [
        {
            "confidence": float(scores[inside].mean()),
            "accuracy": float(truth[inside].mean()),
            "n": int(inside.sum()),
        }
        for inside in _members(scores)
    ]


def _members(scores: Values) -> list[Mask]:
    """Return which rows each bin holds; those are (low, high], as in the paper, and the first also has scores of 0."""
    member = np.ceil(scores * CALIBRATION_BINS).clip(1, CALIBRATION_BINS)
    return [member == number for number in np.unique(member)]


def _expected_error(confidence: Values) -> float:
    """Return by how many rows of a bin the right ones are off on average, if each is right with its confidence.

    It is exact, by the distribution of how many rows are right, or a normal one's if they are many.
    """
    if len(confidence) > _MANY:
        return float(np.sqrt(2.0 / np.pi * (confidence * (1.0 - confidence)).sum()))
    # the distribution of how many are right, row by row: they differ in their chances, so it is no binomial one
    right = np.ones(1)
    for chance in confidence:
        right = np.convolve(right, [1.0 - chance, chance])
    return float(right @ np.abs(np.arange(len(right)) - confidence.sum()))


def recalibration(scores: Values, truth: Mask, *, units: Units) -> Entry:
    """Compute calibration slope and intercept of scores against what they are scores of.

    The slope is that of a logistic regression of the truth on the log odds of the score: below 1 where scores are too
    sure, above 1 where they are not sure enough. The intercept is that of a regression whose slope is held at 1: above
    0 where scores are too low on the whole.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
    truth : ndarray of bool, shape (n,)
    units : Units
        Rows of one unit are not taken for independent, see `_last_coefficient`.

    Returns
    -------
    dict
        The figures ``slope`` and ``intercept``; None where all rows are on one side, and for a slope also where a
        threshold separates the sides or all scores are equal.

    References
    ----------
    Cox 1958; Van Calster et al. 2019 (weak calibration).
    """
    odds = np.clip(scores, _SUREST, 1 - _SUREST)
    odds = np.log(odds) - np.log1p(-odds)
    figures: Entry = {"slope": None, "intercept": None}
    if truth.all() or not truth.any():
        return figures
    positives = odds[truth]
    negatives = odds[~truth]
    ones = np.ones((len(odds), 1))
    regressions = {"intercept": (ones, odds)}
    if positives.min() < negatives.max() and negatives.min() < positives.max():
        regressions["slope"] = (np.c_[ones, odds], np.zeros_like(odds))
    few = min(len(positives), len(negatives))
    for name, (design, offset) in regressions.items():
        value, influence, model = _last_coefficient(design, offset, truth, units)
        figures[name] = normal_interval(value, influence, units, model=model, few=few)
    return figures


def _last_coefficient(
    design: Values, offset: Values, truth: Mask, units: Units
) -> tuple[float, Values, float]:
    """Return the last coefficient of a logistic regression, the influence of each unit on it, and its Wald variance.

    The influence is by how much the coefficient changes where a unit is left out, by one Newton step.

    References
    ----------
    Pregibon 1981 (the step); Lipsitz, Dear & Zhao 1994 (the jackknife over units).
    """
    from scipy.special import expit

    coefficients = _fit_logistic(design, offset, truth)
    size = len(coefficients)
    probability = expit(design @ coefficients + offset)
    scores = np.zeros((units.count, size))
    np.add.at(scores, units.member, design * (truth - probability)[:, np.newaxis])
    information = np.zeros((units.count, size, size))
    weighted = design * (probability * (1 - probability))[:, np.newaxis]
    np.add.at(information, units.member, weighted[:, :, np.newaxis] * design[:, np.newaxis])
    total = information.sum(axis=0)
    # a unit that is left out takes its information along, so one of much weight moves the coefficient further
    influence = _solved(total - information, scores)[:, -1]
    model_variance = float(_solved(total, np.eye(size)[-1])[-1])
    return float(coefficients[-1]), influence, model_variance


def _fit_logistic(design: Values, offset: Values, truth: Mask) -> Values:
    """Return the coefficients of a logistic regression: Newton's steps, each halved until it lowers the loss."""
    from scipy.special import expit

    sign = np.where(truth, -1.0, 1.0)

    def loss_of(linear: Values) -> float:
        return float(np.logaddexp(0, sign * linear).sum())

    coefficients = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        linear = design @ coefficients + offset
        probability = expit(linear)
        loss = loss_of(linear)
        step = _solved(
            (design.T * (probability * (1 - probability))) @ design,
            design.T @ (truth - probability),
        )
        while (
            loss_of(design @ (coefficients + step) + offset) > loss and np.abs(step).max() > _CLOSE
        ):
            step /= 2
        coefficients = coefficients + step
        if np.abs(step).max() <= _CLOSE:
            break
    return coefficients


def _solved(matrices: Values, vectors: Values) -> Values:
    """Solve linear equations, of shape (..., n, n) and (..., n); a matrix that has no inverse is made to have one."""
    size = matrices.shape[-1]
    # of a unit that holds all information nothing is left: a little keeps its influence finite, and huge
    least = 1e-12 * np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] + 1e-300
    return np.linalg.solve(matrices + least * np.eye(size), vectors[..., None])[..., 0]


def informs(rule: Entry) -> bool:
    """Return whether images below the confidence of `unsure_rule` were wrong more often than the others."""
    sure = rule["sure"]
    unsure = rule["unsure"]
    return bool(unsure["right"] * sure["n"] < sure["right"] * unsure["n"])


def unsure_rule(table: PredictionTable, *, share: float = UNSURE_SHARE) -> Entry | None:
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
    confidence, calibrated = _confidence_by_fold(table)
    below = _limit(confidence, share)
    unsure = confidence < below
    if not unsure.any() or unsure.all():
        return None
    units = Units.of(table)

    def side(inside: Mask) -> Entry:
        right = units.share(table.hits, inside)
        return {
            "n": int(inside.sum()),
            "right": int(table.hits[inside].sum()),
            "interval": right.interval if right else None,
        }

    return {
        "below": below,
        "share": share,
        "calibrated": calibrated,
        "unit": units.kind,
        "sure": side(~unsure),
        "unsure": side(unsure),
    }


def answers_by_fold(table: PredictionTable) -> Answers:
    """Return what the models of each fold say, calibrated and marked by what the other folds show.

    Parameters
    ----------
    table : PredictionTable
        Out-of-fold predictions with probabilities. Without a rule by `unsure_rule`, or other folds, no row is marked.
    """
    confidence, calibrated = _confidence_by_fold(table)
    unsure = None
    if calibrated and len(np.unique(confidence < _limit(confidence))) == 2:
        unsure = np.zeros(len(table), np.bool_)
        for _, inside, rest in fold_rest(table):
            unsure[inside] = confidence[inside] < _limit(confidence[rest])
    return Answers(table.classes, table.predicted, confidence, unsure)


def _confidence_by_fold(table: PredictionTable) -> tuple[Values, bool]:
    """Return the confidence of each row of a table with probabilities, and whether `fold_temperatures` scale it."""
    probabilities = table.probabilities
    scaled = fold_temperatures(table)
    if scaled is not None:
        _, probabilities = scaled
    assert probabilities is not None
    return _of_class(probabilities, table.predicted), scaled is not None


def _limit(confidence: Values, share: float = UNSURE_SHARE) -> float:
    """Return the confidence below which the least sure rows lie."""
    return round(float(np.sort(confidence)[int(share * len(confidence))]), 3)
