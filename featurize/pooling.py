"""How crops become the features of an image: encoded in batches, then pooled by a `Pooling`.

`CropDescription` is the one description that the CPU, a GPU and heat maps share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import InputError
from ..core.formats import Array, Floats32, Pixels
from ..encoders import CropEncoder
from .crops import pad_image

Features = Floats32
"""Features of crops or of images, of shape (..., d)."""


def norm_pool(descriptors: Array, p: float = 3) -> Features:
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
        raise InputError(
            f"expected features of shape (crops, d) with at least one crop, got {values.shape}"
        )
    largest = np.abs(values).max(axis=0)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    ratio = values / scale
    with np.errstate(invalid="ignore", under="ignore"):
        mean = (np.sign(ratio) * np.abs(ratio) ** p).mean(axis=0)
        pooled = np.sign(mean) * np.abs(mean) ** (1.0 / p) * scale
    return np.asarray(pooled, dtype=np.float32)


def _norm_pool_tensors(descriptors: Any, p: float) -> Any:
    """Pool tensors (a, n, d) over n as `norm_pool` does arrays."""
    from keras import ops

    largest = ops.max(ops.abs(descriptors), axis=1, keepdims=True)
    scale = ops.where(largest > 0, largest, ops.ones_like(largest))
    ratio = descriptors / scale
    mean = ops.mean(ops.sign(ratio) * ops.power(ops.abs(ratio), p), axis=1)
    return ops.sign(mean) * ops.power(ops.abs(mean), 1.0 / p) * scale[:, 0]


class Pooling(NamedTuple):
    """A way to pool the features of crops to one vector; both functions must compute the same.

    Attributes
    ----------
    name : str
    on_rows : callable
        ``on_rows(descriptors, p)`` pools a NumPy array (crops, d) to float32 of shape (d,).
    on_tensors : callable
        ``on_tensors(descriptors, p)`` pools a tensor of Keras's backend (a, crops, d) to (a, d), on a GPU.
    method : str
        Phrase for a methods section; ``{p:g}`` is the exponent.
    shown : str
        Phrase for the settings of a report.
    """

    name: str
    on_rows: Callable[[Array, float], Features]
    on_tensors: Callable[[Any, float], Any]
    method: str
    shown: str


NORM = Pooling(
    "norm",
    norm_pool,
    _norm_pool_tensors,
    method="their generalised mean of order {p:g}",
    shown="pool {p:g}",
)
"""The signed norm; at p = 3 it is the pooling of Rakhlin et al. 2018."""


class CropDescription(NamedTuple):
    """How the crops of an image are described, by the settings of feature extraction.

    Attributes
    ----------
    pad : {"none", "reflect"}
        Whether images smaller than a crop are extended by mirroring.
    batch_size : int
        Crops in one pass of an encoder, at most.
    pooling : Pooling
    p : float
        Exponent of the pooling norm.
    """

    pad: str
    batch_size: int
    pooling: Pooling
    p: float

    def frame(self, image: Pixels, *, crop: int) -> Pixels:
        """Return the image from which crops of a size are cut: itself, or padded."""
        if self.pad == "none":
            return image
        return pad_image(image, crop=crop)

    def encode(self, encoder: CropEncoder, crops: Sequence[Pixels] | Any) -> Features:
        """Return the features of crops of one size, float32 of shape (crops, d)."""
        batches = [
            encoder.encode(np.asarray(crops[start : start + self.batch_size]))
            for start in range(0, len(crops), self.batch_size)
        ]
        return np.concatenate(batches)

    def pool(self, descriptors: Features) -> Features:
        """Pool the features of crops, shape (crops, d), to one vector."""
        return self.pooling.on_rows(descriptors, self.p)

    def pool_tensors(self, descriptors: Any) -> Any:
        """Pool the features of the crops of some augmentations on a device: (a, crops, d) to (a, d)."""
        return self.pooling.on_tensors(descriptors, self.p)

    def method(self) -> str:
        """Return how crops are pooled, in a methods section."""
        return self.pooling.method.format(p=self.p)

    def shown(self) -> str:
        """Return how crops are pooled, among the settings of a report."""
        return self.pooling.shown.format(p=self.p)
