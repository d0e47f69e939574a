"""Optical density od of a grey level x: od = -ln((x + 1) / 240)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..core import ImageError

Image = npt.NDArray[np.uint8]

TRANSMITTED_LIGHT: Final = 240.0
"""Intensity of light through empty glass, grey levels. Rakhlin et al. 2018, published code."""


def check_rgb(image: npt.NDArray[Any]) -> Image:
    """Return `image` unchanged after checking that it is a uint8 RGB image.

    Raises
    ------
    ImageError
        The image has another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"expected a uint8 RGB image of shape (height, width, 3), got {image.dtype} {image.shape}")
    return image


def density_table(light: float = TRANSMITTED_LIGHT) -> npt.NDArray[np.float64]:
    """Return the natural-log optical density of each of the 256 grey levels, float64."""
    return -np.log((np.arange(256, dtype=np.float64) + 1.0) / light)


def optical_density(image: Image, *, light: float = TRANSMITTED_LIGHT) -> npt.NDArray[np.float32]:
    """Return the natural-log optical density of each channel.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    light : float
        Intensity through empty glass, grey levels.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Slightly negative if a channel is brighter than `light`.

    References
    ----------
    Ruifrok & Johnston 2001, eq. 1 (Lambert-Beer law).
    """
    import cv2

    table = density_table(light).astype(np.float32)
    return np.asarray(cv2.LUT(check_rgb(image), table), dtype=np.float32)
