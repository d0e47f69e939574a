"""Training images as a normal distribution of their descriptors, and how far other descriptors are from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

AXES = 64
"""Principal components that are kept, 128 bytes for each number of a descriptor; 8 tell images apart as well
(``benchmarks/outliers.py``)."""

_FOLDS = 5
"""Parts of the training images of which each is left out once."""

Values = npt.NDArray[np.float64]


def left_out_distances(rows: Values, units: npt.NDArray[np.int64]) -> Values:
    """Return the distance of each row to the others, in folds that keep units whole.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    units : ndarray of int, shape (images,)
        What each belongs to, from 0; at least two.

    Returns
    -------
    ndarray of float64, shape (images,)
    """
    from sklearn.model_selection import GroupKFold

    distances = np.empty(len(rows))
    for train, held in GroupKFold(min(_FOLDS, int(units.max()) + 1)).split(rows, groups=units):
        distances[held] = placed(rows[held], fit_gaussian(rows[train]))[0]
    return distances


def fit_gaussian(rows: Values, *, axes: int = AXES) -> dict[str, npt.NDArray[Any]]:
    """Fit a covariance to standardised rows, shrunk by Ledoit and Wolf's estimate, and keep its largest components.

    All is computed from the products of rows, of which there are fewer than numbers in each.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    axes : int
        Components that are kept at most; along all others the variance is their mean.

    Returns
    -------
    dict of str to ndarray
        ``mean``, ``scale``, ``axes``, ``variances``, ``rest`` of `TrainingReference`.

    References
    ----------
    Ledoit and Wolf 2004, Journal of Multivariate Analysis 88, as in scikit-learn's ``ledoit_wolf_shrinkage``.
    """
    images, d = rows.shape
    spread = rows.std(axis=0)
    mean, scale = rows.mean(axis=0).astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32)
    centred = (rows - mean) / scale
    products = centred @ centred.T
    target = float(np.trace(products)) / images / d or 1.0  # if all images are equal there is no spread
    squared = float((products**2).sum()) / images**2
    error = (float((np.diag(products) ** 2).sum()) / images - squared) / images / d
    excess = squared / d - target**2
    shrinkage = min(error, excess) / excess if excess > 0 else 1.0
    values, vectors = np.linalg.eigh(products)
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[::-1][: min(axes, d)]
    along = values[kept] / images
    elsewhere = max(target * d - float(along.sum()), 0.0) / max(d - len(kept), 1)
    return {
        "mean": mean,
        "scale": scale,
        "axes": (centred.T @ vectors[:, kept] / np.sqrt(values[kept])).astype(np.float16),
        "variances": (1 - shrinkage) * along + shrinkage * target,
        "rest": np.array((1 - shrinkage) * elsewhere + shrinkage * target or target),
    }


def placed(rows: Values, fitted: Mapping[str, npt.NDArray[Any]]) -> tuple[Values, Values]:
    """Place rows among those of `fit_gaussian`.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
    fitted : mapping
        Of `fit_gaussian`.

    Returns
    -------
    ndarray of shape (n,), ndarray of shape (n, q)
        The Mahalanobis distance of each to the mean, and the row of length 1 along the axes.
    """
    centred = (rows - fitted["mean"]) / fitted["scale"]
    along = centred @ fitted["axes"].astype(np.float64)
    squared = (centred**2).sum(axis=1)
    beside = np.clip(squared - (along**2).sum(axis=1), 0, None)
    distances = np.sqrt((along**2 / fitted["variances"]).sum(axis=1) + beside / fitted["rest"])
    lengths = np.sqrt(squared)[:, None]
    return distances, np.asarray(along / np.where(lengths > 0, lengths, 1.0))
