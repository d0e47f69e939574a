"""Linear discriminant analysis whose covariance is shrunk by Ledoit and Wolf's estimate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.models import pack_arrays
from .arrays import Places
from .head import TrainingPart
from .inner import array_head, standardisation
from .linear_head import ABSENT, LinearModel

_SHAPES: dict[str, tuple[str, ...]] = {
    "mean": ("d",), "scale": ("d",), "coefficients": ("k", "d"), "intercepts": ("k",), "shrinkage": (),
}  # fmt: skip


def discriminant(
    rows: npt.NDArray[np.float64], labels: Places, *, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Fit a discriminant analysis with the covariance ``(1 - s) S + s tr(S) / d I`` of rows around their class means.

    The shrunk covariance is inverted only in the space of the rows, which contains all differences of means. So 360
    rows of 2,336 features need a decomposition of 360 x 2,336 numbers, and not of 2,336 x 2,336.

    Parameters
    ----------
    rows : ndarray of float64, shape (images, d)
    labels : ndarray of int, shape (images,)
    classes : int

    Returns
    -------
    ndarray of shape (classes, d), ndarray of shape (classes,), float
        Coefficients, intercepts, and the shrinkage ``s``. A class without rows gets the probability zero.

    References
    ----------
    Ledoit and Wolf 2004, Journal of Multivariate Analysis 88, for ``s``. The covariance has the form of scikit-learn's
    ``LinearDiscriminantAnalysis(shrinkage=s)``.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    images, d = rows.shape
    of_class = np.eye(classes)[labels]
    counts = of_class.sum(axis=0)
    present = counts > 0
    means = of_class.T @ rows / np.where(present, counts, 1.0)[:, None]
    centred = rows - means[labels]
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    target = float((centred**2).sum()) / images / d  # tr(S) / d
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    ridge = shrinkage * target or 1.0  # 1 if the images of each class are all equal
    # inverse = I / ridge + axes.T (1 / variances - 1 / ridge) axes, also outside of the space of `axes`
    variances = (1 - shrinkage) * singular**2 / images + ridge
    weights = means / ridge + (means @ axes.T) * (1 / variances - 1 / ridge) @ axes
    with np.errstate(divide="ignore"):
        offsets = np.where(present, np.log(counts / images) - 0.5 * (weights * means).sum(axis=1), ABSENT)
    return weights * present[:, None], offsets, shrinkage


def fit_lda(part: TrainingPart) -> bytes:
    """Fit a discriminant analysis on the standardised mean features of images.

    Parameters
    ----------
    part : TrainingPart

    Returns
    -------
    bytes
        The model, packed by `pack_arrays`.
    """
    mean, scale = standardisation(part.features)
    rows = (part.features.mean(axis=1, dtype=np.float64) - mean) / scale
    weights, offsets, shrinkage = discriminant(rows, part.labels, classes=part.classes)
    arrays = {"coefficients": weights, "intercepts": offsets, "shrinkage": np.array(shrinkage)}
    return pack_arrays({"mean": mean, "scale": scale, **arrays})


LDA = array_head(
    "lda",
    fit=fit_lda,
    model=LinearModel,
    shapes=_SHAPES,
    method="linear discriminant analyses with a shrunk covariance [@ledoit2004]",
    few="was fitted on",
)
"""Linear discriminant analysis with Ledoit and Wolf's shrinkage."""
