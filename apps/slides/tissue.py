"""The tissue of a slide, and what it covers of squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...core.formats import Flags, Floats, Pixels
from ...stains import foreign_pixels, large_areas
from .grid import Positions
from .slide import Slide

_SCALE = 8.0
"""Micrometres per pixel of a mask, at least (bchisto's choice)."""

_MOST = 2048
"""Pixels of the longer side of a mask, at most (bchisto's choice)."""

_PALEST = 10
_STRONGEST = 20
"""Bounds of Otsu's threshold of the saturation (0 to 255): without glass, or without tissue, it divides either. At 12
pixels of BreakHis to one, glass has 1 to 8, pale tissue 20 and more."""

_HOLE = 0.05
"""Area in mm2 below which a hole belongs to the tissue around it (bchisto's choice)."""

_SPECK = 0.02
"""Area in mm2 below which tissue is dirt (bchisto's choice)."""


class Tissue(NamedTuple):
    """The tissue of a slide.

    Attributes
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        The slide at the scale of the mask, RGB.
    mask : ndarray of bool, shape (height, width)
    factor : float
        Pixels of level 0 per pixel of the mask.
    area : float
        Of the tissue, mm2.
    """

    picture: Pixels
    mask: Flags
    factor: float
    area: float


def find_tissue(slide: Slide) -> Tissue:
    """Find the tissue of a slide, by Otsu's threshold of the saturation.

    Raises
    ------
    ImageError
        A part of the slide is damaged.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    import cv2

    scale = max(slide.mpp, _SCALE, slide.mpp * max(slide.width, slide.height) / _MOST)
    width, height = (max(1, int(side * slide.mpp / scale)) for side in (slide.width, slide.height))
    picture = slide.read(0, 0, width, height, scale)
    saturation = cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1], 3)
    foreign = foreign_pixels(picture)
    if foreign is None:
        foreign = np.zeros(saturation.shape, bool)
    threshold = _STRONGEST
    if not foreign.all():
        otsu, _ = cv2.threshold(saturation[~foreign], 0, 255, cv2.THRESH_OTSU)
        threshold = min(max(otsu, _PALEST), _STRONGEST)
    mask = (saturation > threshold) & ~foreign
    mask |= ~large_areas(~mask, _HOLE * 1e6 / scale**2) & ~foreign
    mask = large_areas(mask, _SPECK * 1e6 / scale**2)
    return Tissue(picture, mask, scale / slide.mpp, int(mask.sum()) * scale**2 / 1e6)


def tissue_shares(tissue: Tissue, corners: Positions, side: float) -> Floats:
    """Return the share of tissue in squares, 0 to 1.

    Parameters
    ----------
    tissue : Tissue
    corners : ndarray, shape (squares, 2)
    side : float
        Pixels of level 0.
    """
    import cv2

    sums = cv2.integral(tissue.mask.astype(np.uint8))
    begin = np.rint(corners / tissue.factor).astype(int)
    length = max(1, round(side / tissue.factor))
    (left, top), (right, bottom) = (
        np.minimum(at, tissue.mask.shape[::-1]).T for at in (begin, begin + length)
    )
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(inside / length**2, dtype=np.float64)
