"""H&E augmentation by Ruifrok deconvolution: scale haematoxylin and eosin, recompose.

With a pixel as a row: od = -log10((x + 1)/240), c = od D^T, out = 240 * 10^-((c * [h, e, 1]) M) - 1. The three
linear steps are one 3x3 matrix, so an augmentation costs one affine map and one exponential per pixel, and the
optical density is computed once per image.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .od import TRANSMITTED_LIGHT, Image, optical_density

RUIFROK_TO_HED: Final = np.array([[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]])
"""Deconvolution matrix D: c = od D^T with od a row (log10). Ruifrok & Johnston 2001, sec. "Color
deconvolution", rounded to two decimals as in the published code of Rakhlin et al. 2018."""

RUIFROK_FROM_HED: Final = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Stain matrix M: rows haematoxylin, eosin, residual. It inverts D^T only to two decimals, so factors of 1 are
nearly but not exactly the identity. Source as `RUIFROK_TO_HED`."""


class HeAugmenter:
    """Make many H&E augmentations of one image; works in a buffer of its own, so one thread at a time.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.

    Raises
    ------
    ImageError
        Not a uint8 RGB image.

    References
    ----------
    Ruifrok & Johnston 2001; Rakhlin et al. 2018, sec. 2.3, and published code for the constants.
    """

    def __init__(self, image: Image) -> None:
        self._density = optical_density(image)
        self._buffer = np.empty_like(self._density)

    def augment(self, *, hematoxylin: float, eosin: float) -> Image:
        """Scale the two stains.

        Parameters
        ----------
        hematoxylin, eosin : float
            Factors; the paper draws both from U[0.7, 1.3].

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Clipped to 0..255 and truncated.
        """
        import cv2

        mixing = augmentation_matrix(hematoxylin=hematoxylin, eosin=eosin).T  # cv2.transform takes columns
        affine = np.column_stack([-mixing, np.full(3, np.log(TRANSMITTED_LIGHT))]).astype(np.float32)
        bright = cv2.exp(cv2.transform(self._density, affine, dst=self._buffer), dst=self._buffer)
        # Minus 1 as published, and minus 0.5 because the saturating cast rounds where the published code truncates. A
        # very dark pixel is below 0 then and must saturate: convertScaleAbs would take its absolute value.
        return np.asarray(cv2.subtract(bright, (1.5, 1.5, 1.5, 0.0), dtype=cv2.CV_8U), dtype=np.uint8)


def augmentation_matrix(*, hematoxylin: float, eosin: float) -> npt.NDArray[np.float64]:
    """Return the three linear steps of an augmentation as one matrix.

    Parameters
    ----------
    hematoxylin, eosin : float
        Factors.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        A, so that with a pixel as a row ``out = 240 exp(-(od A)) - 1`` for ``od = -ln((x + 1)/240)``: the bases of the
        published logarithm and power cancel.
    """
    return np.asarray(RUIFROK_TO_HED.T @ np.diag([hematoxylin, eosin, 1.0]) @ RUIFROK_FROM_HED)


def augment_he(image: Image, *, hematoxylin: float, eosin: float) -> Image:
    """Scale the haematoxylin and eosin of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    hematoxylin, eosin : float
        Factors.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        Not a uint8 RGB image.

    Notes
    -----
    Factors of 1 are nearly the identity, not exactly: the published matrices invert each other to two decimals.
    """
    return HeAugmenter(image).augment(hematoxylin=hematoxylin, eosin=eosin)
