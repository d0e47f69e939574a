"""A normal distribution fitted to the features of training images, and the distance of other images from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

AXES = 64
"""Number of principal components that are kept; they take 128 bytes per feature. 8 detect outliers as well
(``tools/benchmarks/outliers.py``)."""

_FOLDS = 5
"""Number of parts of the training images; each is left out once."""

Values = npt.NDArray[np.float64]


def left_out_distances(rows: Values, units: npt.NDArray[np.int64]) -> Values:
    """Return the distance of each row to a distribution fitted without it, in folds that keep units together.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    units : ndarray of int, shape (images,)
        Number of the unit of each image, such as its patient, from 0; at least two units.

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

    This uses only the inner products of rows, because there are fewer rows than features.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    axes : int
        Maximum number of components. The variance along all other directions is their mean.

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
    target = float(np.trace(products)) / images / d or 1.0  # 1 if all images are equal
    squared = float((products**2).sum()) / images**2
    error = (float((np.diag(products) ** 2).sum()) / images - squared) / images / d
    excess = squared / d - target**2
    shrinkage = min(error, excess) / excess if excess > 0 else 1.0
    values, vectors = np.linalg.eigh(products)
    largest = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[::-1][: min(axes, d)]
    along = values[largest] / images
    elsewhere = max(target * d - float(along.sum()), 0.0) / max(d - len(largest), 1)
    return {
        "mean": mean,
        "scale": scale,
        "axes": (centred.T @ vectors[:, largest] / np.sqrt(values[largest])).astype(np.float16),
        "variances": (1 - shrinkage) * along + shrinkage * target,
        "rest": np.array((1 - shrinkage) * elsewhere + shrinkage * target or target),
    }


def placed(rows: Values, fitted: Mapping[str, npt.NDArray[Any]]) -> tuple[Values, Values]:
    """Return the distances of rows from a fitted distribution, and their coordinates.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
    fitted : mapping
        Result of `fit_gaussian`.

    Returns
    -------
    ndarray of shape (n,), ndarray of shape (n, q)
        Mahalanobis distance of each row from the mean, and the row scaled to length 1, along the principal axes.
    """
    centred = (rows - fitted["mean"]) / fitted["scale"]
    along = centred @ fitted["axes"].astype(np.float64)
    squared = (centred**2).sum(axis=1)
    orthogonal = np.clip(squared - (along**2).sum(axis=1), 0, None)
    distances = np.sqrt((along**2 / fitted["variances"]).sum(axis=1) + orthogonal / fitted["rest"])
    lengths = np.sqrt(squared)[:, None]
    return distances, np.asarray(along / np.where(lengths > 0, lengths, 1.0))
