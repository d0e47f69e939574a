"""Pool the features of crops by a p-norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError


def norm_pool(descriptors: npt.NDArray[Any], p: float = 3) -> npt.NDArray[np.float32]:
    """Pool the features of crops by the signed p-norm: ``m = mean(sign(d) |d|^p)``, result ``sign(m) |m|^(1/p)``.

    For non-negative features this is the p-norm of the paper: the mean at p = 1, and closer to the maximum as p grows.
    Each feature is first divided by its largest absolute value, so that powers do not overflow.

    Parameters
    ----------
    descriptors : ndarray, shape (crops, d)
        One row per crop.
    p : float
        Exponent, at least 1.

    Returns
    -------
    ndarray of float32, shape (d,)
        A feature with NaN or infinity keeps it.

    Raises
    ------
    InputError
        `p` is below 1 or not finite, or there are no crops.

    References
    ----------
    Boureau et al. 2010; Rakhlin et al. 2018, eq. 1 (p = 3).

    Examples
    --------
    >>> norm_pool(np.array([[1.0, -2.0], [1.0, 2.0]]))
    array([1., 0.], dtype=float32)
    """
    if not (np.isfinite(p) and p >= 1):
        raise InputError("{p} {}: give a finite exponent of at least 1", p)
    values = np.asarray(descriptors, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise InputError(f"expected features of shape (crops, d) with at least one crop, got {values.shape}")
    largest = np.abs(values).max(axis=0)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    ratio = values / scale
    with np.errstate(invalid="ignore", under="ignore"):
        mean = (np.sign(ratio) * np.abs(ratio) ** p).mean(axis=0)
        pooled = np.sign(mean) * np.abs(mean) ** (1.0 / p) * scale
    return np.asarray(pooled, dtype=np.float32)
