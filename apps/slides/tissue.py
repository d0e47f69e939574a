"""Where a slide has tissue: a mask at a low scale, without glass, pen, holes and specks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...stains import foreign_pixels
from .slide import Picture, Slide

_SCALE, _MOST = 8.0, 2048
"""Micrometres per pixel of a mask, at least, and pixels of its longer side, at most (bchisto's choice)."""

_PALEST, _STRONGEST = 10, 20
"""Bounds of Otsu's threshold of the saturation (0 to 255): without glass, or without tissue, it divides either. At 12
pixels of BreakHis to one, glass has 1 to 8, pale tissue 20 and more."""

_HOLE, _SPECK = 0.05, 0.02
"""Areas in mm2 below which a hole belongs to the tissue around it, and tissue is dirt (bchisto's choice)."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of a slide.

    Attributes
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        The slide at the scale of the mask, RGB.
    mask : ndarray of bool, shape (height, width)
    scale : float
        Micrometres per pixel of the mask.
    factor : float
        Pixels of level 0 per pixel of the mask.
    """

    picture: Picture
    mask: npt.NDArray[np.bool_]
    scale: float
    factor: float

    @property
    def area(self) -> float:
        """Area of the tissue, mm2."""
        return int(self.mask.sum()) * self.scale**2 / 1e6


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

    picture, scale = slide.thumbnail(_MOST, least=_SCALE)
    saturation = cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1], 3)
    marks = foreign_pixels(picture)
    foreign = np.zeros(saturation.shape, bool) if marks is None else marks
    own = saturation[~foreign]
    best = cv2.threshold(own, 0, 255, cv2.THRESH_OTSU)[0] if own.size else _STRONGEST
    mask = saturation > min(max(best, _PALEST), _STRONGEST)
    mask &= ~foreign
    mask |= ~_large(~mask, _HOLE * 1e6 / scale**2) & ~foreign
    return Tissue(picture, _large(mask, _SPECK * 1e6 / scale**2), scale, scale / slide.mpp)


def _large(mask: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.bool_]:
    """Return the connected areas of a mask that have at least so many pixels."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[labels])
