"""Temperature scaling: one number that makes probabilities as sure as they should be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .operating import fold_rest
from .predictions import PredictionTable, sampling_units

_BOUNDS = (0.05, 20.0)
"""Range of the temperatures that are searched."""

_LEAST = 1e-12
"""Least probability: the logarithm of 0 has no temperature."""

_MOST_WORK = 3_000_000
"""Maximum of folds times rows for which temperatures of folds are fitted: about ten seconds."""

PENALTY = 5.0
"""Weight of the square of log T relative to the log-likelihood of the units, chosen by
``tools/benchmarks/temperature.py``."""

_AVERAGING = 0.3
"""By how much log T may fall if the models of the folds are averaged, chosen by ``tools/benchmarks/temperature.py``."""

Probabilities = npt.NDArray[np.float64]


def apply_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Divide the logarithms of probabilities by a temperature and normalise again; keeps the predicted class.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    temperature : float
        Above 1 makes them less sure.

    Examples
    --------
    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    from scipy.special import softmax

    return np.asarray(softmax(np.log(np.maximum(probabilities, _LEAST)) / temperature, axis=1))


def shrunk_temperature(table: PredictionTable, *, averaged: bool = False, penalty: float = PENALTY) -> float | None:
    """Return a temperature that a few images cannot drive far from 1.

    To the negative log-likelihood ``penalty (log T)^2 / 2`` is added, over the number of units (patients if known, else
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
    temperature = _least(
        _margins(table.probabilities, table.labels), penalty / len(np.unique(sampling_units(table)[1]))
    )
    return max(1.0, temperature * float(np.exp(-_AVERAGING))) if averaged and temperature > 1 else temperature


def _margins(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> Probabilities:
    """Return by how much the logarithm of each class exceeds that of the true one, of shape (classes, n)."""
    logs = np.log(np.maximum(probabilities, _LEAST)).T
    return np.asarray(logs - logs[labels, np.arange(len(labels))])


def _least(margins: Probabilities, penalty: float) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        # no margin over the least temperature is too large for the exponential function
        losses = np.log(np.exp(margins / float(np.exp(log_temperature))).sum(axis=0))
        return float(np.minimum(losses, -np.log(_LEAST)).mean() + penalty * log_temperature**2 / 2)

    # in the logarithm, so that halving and doubling are steps of one size
    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded").x))


def fold_temperatures(table: PredictionTable) -> tuple[dict[int, float], Probabilities] | None:
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
    scaled = np.empty_like(table.probabilities)
    units, margins = sampling_units(table)[1], _margins(table.probabilities, table.labels)
    temperatures = {}
    for fold, inside, rest in fold_rest(table):
        if not rest.any():
            return None
        temperatures[fold] = _least(margins[:, rest], PENALTY / len(np.unique(units[rest])))
        scaled[inside] = apply_temperature(table.probabilities[inside], temperatures[fold])
    return temperatures, scaled


def negative_log_likelihood(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over rows of minus the logarithm of the true class's probability."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _LEAST)).mean())
