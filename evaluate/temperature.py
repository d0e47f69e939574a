"""Temperature scaling: one number that makes probabilities as sure as they should be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable

__all__ = ["apply_temperature", "fit_temperature", "fold_temperatures", "negative_log_likelihood"]

_BOUNDS = (0.05, 20.0)
"""Temperatures that are searched (ours)."""

_LEAST = 1e-12
"""Probabilities below this count as this much: a logarithm of 0 has no temperature (ours)."""

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


def fit_temperature(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature of the least negative log-likelihood.

    References
    ----------
    Guo et al. 2017, sec. 4.2.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(apply_temperature(probabilities, float(np.exp(log_temperature))), labels)

    # in the logarithm, so that halving and doubling are steps of one size
    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded").x))


def fold_temperatures(table: PredictionTable) -> tuple[dict[int, float], Probabilities] | None:
    """Scale each fold by a temperature that its test images had no part in.

    The temperature of a fold is fitted on the predictions of the other folds' test images, which are training images
    of this one, without those that this fold tests as well.

    Parameters
    ----------
    table : PredictionTable

    Returns
    -------
    (dict of int to float, ndarray of float64, shape (n, classes)) or None
        Temperature per fold and the scaled probabilities. None without probabilities or with fewer than two folds.
    """
    if table.probabilities is None or len(table.fold_numbers) < 2 or None in table.folds:
        return None
    folds = np.array(table.folds)
    images = np.array(table.image_ids)
    scaled = np.empty_like(table.probabilities)
    temperatures = {}
    for fold in table.fold_numbers:
        inside = folds == fold
        others = ~inside & ~np.isin(images, images[inside])
        if not others.any():
            return None
        temperatures[fold] = fit_temperature(table.probabilities[others], table.labels[others])
        scaled[inside] = apply_temperature(table.probabilities[inside], temperatures[fold])
    return temperatures, scaled


def negative_log_likelihood(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over rows of minus the logarithm of the true class's probability."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _LEAST)).mean())
