"""How far probabilities can be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable
from .temperature import fold_temperatures, negative_log_likelihood

__all__ = ["CALIBRATION_BINS", "calibration"]

CALIBRATION_BINS = 15
"""Equal-width bins of the confidence. Guo et al. 2017, sec. 2 ("On Calibration of Modern Neural Networks")."""


def calibration(table: PredictionTable, *, bins: int = CALIBRATION_BINS) -> dict[str, Any] | None:
    """Compare the confidence of the predicted class with how often it is right.

    Parameters
    ----------
    table : PredictionTable
    bins : int
        Equal-width bins of the confidence, which is the largest probability.

    Returns
    -------
    dict or None
        ``ece`` (expected calibration error: mean over images of the gap between accuracy and confidence of their
        bin), ``brier`` (mean squared distance from the one-hot truth, 0 to 2), ``nll`` (mean negative log-likelihood),
        ``bins`` (those that hold images: ``confidence``, ``accuracy``, ``n``), and ``temperature``: per fold the
        temperature fitted on the other folds, and the three scores after scaling; None with fewer than two folds.
        None for a table without probabilities.

    References
    ----------
    Guo et al. 2017, eq. 3; Brier 1950.
    """
    if table.probabilities is None:
        return None
    hits = (table.predicted == table.labels).astype(np.float64)
    found = _scores(table.probabilities, table.labels, hits, bins)
    scaled = fold_temperatures(table)
    found["temperature"] = None
    if scaled is not None:
        temperatures, probabilities = scaled
        after = _scores(probabilities, table.labels, hits, bins)  # scaling keeps the predicted class
        found["temperature"] = {
            "per_fold": [temperatures[fold] for fold in table.fold_numbers],
            **{name: after[name] for name in ("ece", "brier", "nll")},
        }
    return found


def _scores(
    probabilities: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    hits: npt.NDArray[np.float64],
    bins: int,
) -> dict[str, Any]:
    confidence = probabilities.max(axis=1)
    # bins are (low, high], as in the paper; a confidence of 1 is in the last one
    member: npt.NDArray[np.int64] = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = []
    error = 0.0
    for place in range(bins):
        inside = member == place
        count = int(inside.sum())
        if count:
            mean, right = float(confidence[inside].mean()), float(hits[inside].mean())
            error += count / len(labels) * abs(right - mean)
            found.append({"confidence": mean, "accuracy": right, "n": count})
    truth = np.eye(probabilities.shape[1])[labels]
    return {
        "ece": error,
        "brier": float(np.square(probabilities - truth).sum(axis=1).mean()),
        "nll": negative_log_likelihood(probabilities, labels),
        "bins": found,
    }
