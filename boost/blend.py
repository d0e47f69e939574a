"""Weights of a blend: how much each member counts, fitted on predictions of held-out training images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDS = 2000
_TOLERANCE = 1e-9


def blend_weights(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weights whose mixture has the highest likelihood.

    The likelihood of a mixture is concave in its weights; expectation-maximisation climbs it without leaving the
    simplex.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (members, images, classes)
        Of images that the members did not train on; images with a NaN are left out.
    labels : ndarray of int, shape (images,)

    Returns
    -------
    ndarray of float64, shape (members,)
        Not negative, sum 1. Equal weights where no image is known to all members.

    References
    ----------
    Dempster, Laird & Rubin 1977, sec. 4.3 (mixtures of known components).
    """
    members = len(probabilities)
    chosen = probabilities[:, np.arange(len(labels)), labels]
    chosen = np.maximum(chosen[:, ~np.isnan(chosen).any(axis=0)], 1e-12)
    weights = np.full(members, 1.0 / members)
    if not chosen.shape[1]:
        return weights
    for _ in range(_ROUNDS):
        shares = weights[:, None] * chosen
        after = (shares / shares.sum(axis=0)).mean(axis=1)
        done = np.abs(after - weights).max() < _TOLERANCE
        weights = after
        if done:
            break
    return np.asarray(weights / weights.sum())
