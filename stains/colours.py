"""Optical density, and changes of H&E colours (Ruifrok & Johnston 2001).

With a pixel as a row: od = -log10((x + 1)/240), c = od D^T, out = 240 * 10^-((c * [h, e, 1]) M) - 1. The three
linear steps are combined into one 3x3 matrix. An augmentation therefore costs one affine map and one exponential per
pixel. The optical density is computed once per image.
"""

from __future__ import annotations

import numpy as np

from ..core import ImageError, InputError
from ..core.formats import Array, Floats, Floats32, Pixels

Image = Pixels

TRANSMITTED_LIGHT = 240.0
"""Intensity of light through empty glass, grey levels. Rakhlin et al. 2018, published code."""

_ROWS = 64
"""Rows that are changed at a time: their densities stay in the cache of a core."""


def check_rgb(image: Array) -> Image:
    """Return `image` unchanged after checking that it is a uint8 RGB image.

    Raises
    ------
    ImageError
        The image has another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            f"expected a uint8 RGB image of shape (height, width, 3), got {image.dtype} {image.shape}"
        )
    return image


def density_table() -> Floats:
    """Return the natural-log optical density of each of the 256 grey levels, float64."""
    return -np.log((np.arange(256, dtype=np.float64) + 1.0) / TRANSMITTED_LIGHT)


def optical_density(image: Image) -> Floats32:
    """Return the natural-log optical density of each channel.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Slightly negative if a channel is brighter than empty glass.

    References
    ----------
    Ruifrok & Johnston 2001, eq. 1 (Lambert-Beer law).
    """
    import cv2

    table = density_table().astype(np.float32)
    return np.asarray(cv2.LUT(check_rgb(image), table))


RUIFROK_TO_HED = np.array([[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]])
"""Deconvolution matrix D: c = od D^T with od a row (log10). Ruifrok & Johnston 2001, sec. "Color
deconvolution", rounded to two decimals as in the published code of Rakhlin et al. 2018."""

RUIFROK_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Stain matrix M: rows haematoxylin, eosin, residual. It inverts D^T only to two decimals, so factors of 1 change an
image slightly. Source as `RUIFROK_TO_HED`."""


class HeAugmenter:
    """Create many H&E augmentations of one image.

    It reuses an internal buffer, so only one thread may use it at a time.

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
        self._buffer = np.empty_like(self._density[: _ROWS + 1])

    def augment(self, *, hematoxylin: float, eosin: float) -> Image:
        """Scale the two stains of the image.

        Parameters
        ----------
        hematoxylin, eosin : float
            Factors of the stain concentrations; the paper draws both from U[0.7, 1.3].

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Clipped to 0..255 and truncated.
        """
        import cv2

        # cv2.transform takes columns
        mixing = augmentation_matrix(hematoxylin=hematoxylin, eosin=eosin).T
        affine = np.column_stack([-mixing, np.full(3, np.log(TRANSMITTED_LIGHT))]).astype(
            np.float32
        )
        augmented = np.empty(self._density.shape, np.uint8)
        for top in range(0, len(augmented), _ROWS):
            # one row more, as the last pixels of a call are computed by other instructions, which round otherwise
            rows = self._density[top : top + _ROWS + 1]
            block = augmented[top : top + _ROWS]
            light = self._buffer[: len(rows)]
            cv2.exp(cv2.transform(rows, affine, dst=light), dst=light)
            # Subtract 1 as published, and 0.5 because this cast rounds and the published code truncates. Very dark
            # pixels become negative and must saturate at 0; convertScaleAbs would return their absolute values.
            cv2.subtract(light[: len(block)], (1.5, 1.5, 1.5, 0.0), dst=block, dtype=cv2.CV_8U)
        return augmented


def augmentation_matrix(*, hematoxylin: float, eosin: float) -> Floats:
    """Return the matrix that combines the three linear steps of an augmentation.

    Parameters
    ----------
    hematoxylin, eosin : float
        Factors of the stain concentrations.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        A matrix A such that, with a pixel as a row, ``out = 240 exp(-(od A)) - 1`` for ``od = -ln((x + 1)/240)``. The
        published formulas use base 10 for both logarithm and power, and the base cancels.

    Raises
    ------
    InputError
        A factor is negative.
    """
    if min(hematoxylin, eosin) < 0:
        raise InputError(f"factors {hematoxylin} and {eosin}: give none below 0")
    return np.asarray(RUIFROK_TO_HED.T @ np.diag([hematoxylin, eosin, 1.0]) @ RUIFROK_FROM_HED)


def augment_he(image: Image, *, hematoxylin: float, eosin: float) -> Image:
    """Scale the haematoxylin and eosin of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    hematoxylin, eosin : float
        Factors of the stain concentrations.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        Not a uint8 RGB image.
    InputError
        A factor is negative.

    Notes
    -----
    Factors of 1 change an image slightly, because the published matrices invert each other only to two decimals.
    """
    return HeAugmenter(image).augment(hematoxylin=hematoxylin, eosin=eosin)
