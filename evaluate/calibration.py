"""Calibration: slope and intercept, and the temperature that scales probabilities."""

from __future__ import annotations

import math
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
    equalised,
    fold_rest,
    sampling_units,
)

_BOUNDS = (0.05, 20.0)
"""Range of the temperatures that are searched."""

_MOST_WORK = 3_000_000
"""Maximum of folds times rows for which temperatures of folds are fitted: about ten seconds."""

PENALTY = 5.0
"""Weight of the square of log T relative to the log-likelihood of the units, chosen on
simulated data (docs/methods.md)."""

_AVERAGING = 0.3
"""Largest decrease of log T for the mean of the models of all folds, chosen on simulated data (docs/methods.md)."""


def shrunk_temperature(table: PredictionTable, *, averaged: bool = False) -> float | None:
    """Return the temperature with the least penalised loss, which a few images cannot drive far from 1.

    The penalty ``PENALTY (log T)^2 / 2``, divided by the number of units (patients if known, else images), is added to
    the mean negative log-likelihood. Without it, images that are all right would drive T to 0, and one wrong new image
    would then cost more than was gained.

    Parameters
    ----------
    table : PredictionTable
        Predictions of single models.
    averaged : bool
        Whether the temperature is for the mean of such models, as a model file predicts new images. It cannot be
        measured, since every labelled image trained most of the models. A mean is less sure than each model, so its
        temperature is smaller: one above 1 is brought nearer to 1 by a factor of up to ``exp(0.3)``, and never past it.

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
    """Return the temperature with the least penalised loss of these rows."""
    from scipy.optimize import minimize_scalar

    logs = np.log(np.maximum(probabilities, LEAST)).T
    # log odds of each class against the true one, of shape (classes, n)
    margins = logs - logs[labels, np.arange(len(labels))]
    weight = PENALTY / len(np.unique(units))

    def loss(log_temperature: float) -> float:
        """Return the penalised loss. It takes a logarithm, so that halving and doubling are steps of one size."""
        # even divided by the least temperature, no margin is too large for the exponential function
        sums = np.exp(margins / np.exp(log_temperature)).sum(axis=0)
        losses = np.minimum(np.log(sums), -np.log(LEAST))
        return float(losses.mean() + weight * log_temperature**2 / 2)

    optimum = minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded")
    return float(np.exp(optimum.x))


def fold_temperatures(table: PredictionTable) -> tuple[dict[int, float], Values] | None:
    """Scale each fold by a `shrunk_temperature` of the other folds.

    Images of the other folds that this fold tests too are left out. The models that predicted the others were trained
    on this fold's test images, so a temperature is not fully independent of them.

    Parameters
    ----------
    table : PredictionTable

    Returns
    -------
    (dict of int to float, ndarray of float64, shape (n, classes)) or None
        Temperature per fold and the scaled probabilities. None without probabilities, for shares of votes, if a row has
        no fold, with fewer than two folds, if a fold tests all images of the others too, and if the fits would take
        more than about ten seconds (more than 3 million, folds times rows).
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
    shares = _of_class(probabilities, labels)
    return float(-np.log(np.maximum(shares, LEAST)).mean())


def _of_class(probabilities: Values, numbers: Integers) -> Values:
    """Return the probability of one class, given by its number, for each row."""
    return probabilities[np.arange(len(numbers)), numbers]


CALIBRATION_BINS = 15
"""Equal-width bins of the confidence. Guo et al. 2017, sec. 2 ("On Calibration of Modern Neural Networks")."""

_SUREST = 1e-4
"""Scores nearer to 0 or 1 count as this near in slope and intercept. Otherwise a few images with extreme or infinite
log odds would decide both, and no study of some hundred images shows whether 0.9999 or 1 is right."""

_ROUNDS = 100
"""Maximum number of Newton steps."""

_CLOSE = 1e-10
"""Newton's steps end at one of at most this size."""

_MANY = 400
"""With more rows in a bin, the number of right ones is taken as normal, which is exact within a thousandth."""

SUREST_SHARE = 0.1
"""Fraction of the rows whose confidence is judged by itself: the decile of the test of Hosmer & Lemeshow (1980)."""

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
        The confidence of a row is the probability of the predicted class.
    units : Units
        Units of the table.

    Returns
    -------
    dict or None
        ``ece`` (expected calibration error: mean over images of the gap between accuracy and confidence of their
        bin), ``ece_expected`` (its mean if outcomes were drawn from the probabilities, row by row), ``brier`` (a
        figure: mean squared distance from the one-hot truth, 0 to 2), ``nll`` (mean negative log-likelihood),
        those of `surest`, ``floored`` (number of rows that give the true class less than `LEAST`, which counts as
        `LEAST` in it), ``bins``
        (those that hold images: ``confidence``, ``accuracy``, ``n``), the figures ``slope`` and ``intercept``
        (`recalibration` of the confidence), and ``temperature``: per fold the temperature fitted on the other folds,
        and some scores after scaling; None if `fold_temperatures` returns none. None for a table with a
        `calibration_note`.

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
    scores |= surest(confidence, table.hits, units=units)
    scaled = fold_temperatures(table)
    if scaled is not None:
        temperatures, probabilities = scaled
        rescored = _scores(table, probabilities)  # scaling keeps the predicted class
        scores["temperature"] = {
            "per_fold": [temperatures[fold] for fold in table.fold_numbers],
            **{name: rescored[name] for name in ("ece", "brier", "nll")},
        }
    return scores


def brier_score(table: PredictionTable, units: Units) -> Figure:
    """Return the Brier score of a table with probabilities.

    If no row is wrong, nothing shows how much a wrong one would lose. The upper end of the interval then assumes as
    many wrong rows as the interval of the accuracy allows, each with the largest loss, 2.
    """
    loss = _squared_distances(np.asarray(table.probabilities), table.labels)
    brier = float(loss.mean())
    all_rows = np.ones(len(loss), np.bool_)
    part = Part(brier, (loss - brier) / len(loss), (all_rows,), finer=np.inf)
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
    """Return the scores of probabilities, without intervals."""
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
    """Return the mean score, the share of true rows, and the number of rows of each bin that is not empty.

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
    """Return a mask of the rows of each bin that is not empty: (low, high], as in the paper; the first also has 0."""
    member = np.ceil(scores * CALIBRATION_BINS).clip(1, CALIBRATION_BINS)
    return [member == number for number in np.unique(member)]


def _expected_error(confidence: Values) -> float:
    """Return the expected gap of right rows of a bin and the sum of confidences, if each is right with its confidence.

    It follows from the distribution of the number of right rows, exactly or, if rows are many, by a normal one.
    """
    if len(confidence) > _MANY:
        return float(np.sqrt(2.0 / np.pi * (confidence * (1.0 - confidence)).sum()))
    # the distribution of the number of right rows; rows differ in their chances, so it is not binomial
    right = np.ones(1)
    for chance in confidence:
        right = np.convolve(right, [1.0 - chance, chance])
    return float(right @ np.abs(np.arange(len(right)) - confidence.sum()))


def surest(confidence: Values, truth: Mask, *, units: Units) -> Entry:
    """Return how often the tenth of the rows with the highest confidence is right, with those that equal its last one.

    Returns
    -------
    dict
        The figure ``surest_right``, their mean ``surest_confidence``, their number ``surest_n``, and whether they are
        ``overconfident``: the interval of the figure lies below that mean.
    """
    last = np.sort(confidence)[-math.ceil(SUREST_SHARE * len(confidence))]
    inside = confidence >= last
    right = units.share(truth, inside)
    assert right is not None
    mean = float(confidence[inside].mean())
    return {
        "surest_right": right,
        "surest_confidence": mean,
        "surest_n": int(inside.sum()),
        "overconfident": bool(right.high < mean),
    }


def recalibration(scores: Values, truth: Mask, *, units: Units) -> Entry:
    """Compute the calibration slope and intercept of scores.

    The slope is that of a logistic regression of the truth on the log odds of the score: below 1 if scores are too
    sure, above 1 if they are not sure enough. The intercept is that of a regression whose slope is held at 1: above 0
    if scores are too low on the whole.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
    truth : ndarray of bool, shape (n,)
    units : Units
        Rows of one unit are not taken for independent, see `_last_coefficient`.

    Returns
    -------
    dict
        The figures ``slope`` and ``intercept``; None if all rows are on one side, and for a slope also if a
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

    The influence of a unit is the change of the coefficient if the unit is left out, by one Newton step.

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
    """Solve linear equations, of shape (..., n, n) and (..., n); a singular matrix is made invertible."""
    size = matrices.shape[-1]
    # without a unit that holds all information nothing is left; a little keeps its influence finite, but huge
    least = 1e-12 * np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] + 1e-300
    return np.linalg.solve(matrices + least * np.eye(size), vectors[..., None])[..., 0]


def informs(rule: Entry) -> bool:
    """Return whether images below the limit of `unsure_rule` were wrong more often than the others."""
    sure = rule["sure"]
    unsure = rule["unsure"]
    return bool(unsure["right"] * sure["n"] < sure["right"] * unsure["n"])


def unsure_rule(table: PredictionTable, *, share: float = UNSURE_SHARE) -> Entry | None:
    """Return the sureness below which the least sure predictions of a table lie, and how many are right on each side.

    The sureness is the confidence, `equalised` if rows are called by shares in training: it follows the call.

    The share is fixed beforehand, and the limit follows from it without a look at any label. So the accuracy above
    it is unbiased, and its interval holds. A confidence chosen for a wanted accuracy would be the one at which chance
    was kindest.

    Parameters
    ----------
    table : PredictionTable
        Out-of-fold predictions.
    share : float

    Returns
    -------
    dict or None
        ``below`` (a sureness), ``share`` (as asked for), ``calibrated`` (whether confidences are scaled by
        `fold_temperatures`), ``equalised`` (only if they are as at equal shares in training), ``unit`` (``group`` or
        ``image``), and ``sure`` and ``unsure``, each with ``n``, ``right`` and the 95 % ``interval`` of the share that
        is right. None without probabilities, or if none is less sure than the others.

    References
    ----------
    Geifman & El-Yaniv 2017, sec. 2 (selective classification).
    """
    if table.probabilities is None or not len(table):
        return None
    _, sureness, calibrated = _confidence_by_fold(table)
    limit = _limit(sureness, share)
    unsure = sureness < limit
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

    rule = {
        "below": limit,
        "share": share,
        "calibrated": calibrated,
        "unit": units.kind,
        "sure": side(~unsure),
        "unsure": side(unsure),
    }
    if table.shares is not None:
        rule["equalised"] = True
    return rule


def answers_by_fold(table: PredictionTable) -> Answers:
    """Return the predictions of each fold, with confidences that the other folds calibrate and mark as uncertain.

    Parameters
    ----------
    table : PredictionTable
        Out-of-fold predictions with probabilities. Without a rule by `unsure_rule`, or other folds, no row is marked.
    """
    confidence, sureness, calibrated = _confidence_by_fold(table)
    unsure = None
    if calibrated and len(np.unique(sureness < _limit(sureness))) == 2:
        unsure = np.zeros(len(table), np.bool_)
        for _, inside, rest in fold_rest(table):
            unsure[inside] = sureness[inside] < _limit(sureness[rest])
    called_from = None
    if table.shares is not None:
        called_from = _of_class(table.shares, table.predicted)
    return Answers(table.classes, table.predicted, confidence, unsure, called_from)


def _confidence_by_fold(table: PredictionTable) -> tuple[Values, Values, bool]:
    """Return confidence and sureness of each row with probabilities, and whether `fold_temperatures` scale them."""
    probabilities = table.probabilities
    assert probabilities is not None
    equal = equalised(probabilities, table.shares)
    scaled = fold_temperatures(table)
    if scaled is not None:
        temperatures, probabilities = scaled
        of_rows = np.array([[temperatures[fold]] for fold in table.fold_array])
        equal = apply_temperature(equal, of_rows)
    confidence = _of_class(probabilities, table.predicted)
    return confidence, _of_class(equal, table.predicted), scaled is not None


def _limit(sureness: Values, share: float = UNSURE_SHARE) -> float:
    """Return the sureness below which the least sure rows lie."""
    return round(float(np.sort(sureness)[int(share * len(sureness))]), 3)
