"""Contrast treatments: what an image may be brought to instead of reference stains, or for grey mammograms.

Their names are those of the BreakHis system (seed ``breakhis-resnet``); it prints no constants, so all of them here
are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import InputError, one_of
from .od import Image, check_rgb

_CLIP, _TILES = 2.0, 8
"""Clip limit and tiles a side of CLAHE: OpenCV's tutorial values."""

_SIGMA_SHARE = 1 / 32
"""Width of the Gaussian as a share of the shorter side."""

_MIDDLE, _DEVIATION = 128.0, 42.0
"""Level and spread that centred images are shown at: three deviations fill the range."""

_LEAST_VARIANCE = 1.0
"""Variances below a grey level are noise of rounding and are not blown up."""


def _clahe(image: Image) -> Image:
    """Equalise the lightness in tiles, with limited contrast (Zuiderveld 1994); colours stay."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=_CLIP, tileGridSize=(_TILES, _TILES)).apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def _whitening(image: Image) -> Image:
    """Decorrelate the colour channels of the image and give them one variance (ZCA, Bell & Sejnowski 1997)."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    centred = pixels - pixels.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.where(variances > _LEAST_VARIANCE, 1.0 / np.sqrt(np.maximum(variances, _LEAST_VARIANCE)), 0.0)
    white = centred @ (directions * scale) @ directions.T
    return _shown(_MIDDLE + _DEVIATION * white).reshape(image.shape)


def _demean(image: Image) -> Image:
    """Bring the mean colour of the image to middle grey."""
    return _shown(image - image.reshape(-1, 3).mean(axis=0) + _MIDDLE)


def _gaussian_clahe(image: Image) -> Image:
    """Take the smoothed image away, which leaves local detail, and equalise that."""
    import cv2

    sigma = max(1.0, _SIGMA_SHARE * min(image.shape[:2]))
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    return _clahe(_shown(image - smooth + _MIDDLE))


def _shown(values: Any) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


_STEPS: dict[str, tuple[Callable[[Image], Image], ...]] = {
    "clahe": (_clahe,),
    "whitening": (_whitening,),
    "demean": (_demean,),
    "gaussian-clahe": (_gaussian_clahe,),
    "clahe-whitening": (_clahe, _whitening),
    "whitening-clahe": (_whitening, _clahe),
}

TREATMENTS = tuple(_STEPS)
"""Names of the treatments."""


def treat(image: Image, method: str) -> Image:
    """Treat an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB; grey as three equal channels.
    method : str
        Of `TREATMENTS`: ``clahe`` (contrast-limited adaptive histogram equalisation of the lightness), ``whitening``
        (channels decorrelated), ``demean``, ``gaussian-clahe`` (smoothed image subtracted, then CLAHE), and both orders
        of CLAHE and whitening.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    InputError
        No such treatment.
    ImageError
        Not a uint8 RGB image.
    """
    if method not in _STEPS:
        raise InputError(f"{method}: no such treatment; {one_of(method, TREATMENTS)}")
    check_rgb(image)
    for step in _STEPS[method]:
        image = step(image)
    return image
