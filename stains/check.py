"""Whether an image's normalised stains can be trusted: what share of the stained tissue turned white, and why.

The published method keeps pixels that absorb in all three channels. In pale or eosin-rich tissue hardly any pixel does,
and stains that are estimated from a few dark nuclei bleach the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..core import few
from .macenko import StainEstimate, stained_pixels
from .methods import ROBUST
from .od import Image, check_rgb
from .ruifrok import RUIFROK_FROM_HED

WHITE: Final = 235
"""A pixel is white if all its channels reach this grey level: less than 2 % absorbed of the light
through glass, 240."""

MOST_WHITENED: Final = 0.05
"""Most stained pixels that may turn white: one in twenty is lost tissue that a reader of the picture sees."""

LEAST_BASIS: Final = 0.05
"""Least share of the stained pixels that stains may be estimated from (below it 74 of 86 images lost more than
`MOST_WHITENED`, from a half on none of 540: docs/methods.md)."""

LEAST_COMPONENT: Final = -0.05
"""Least component of a stain vector: a stain absorbs, and only noise makes it slightly negative."""

LEAST_ANGLE: Final = 8.0
"""Least angle between the two stains, degrees: the condition of their matrix, which is the cotangent of half of it, is
14 there, and every error of a density grows by as much (99 of 100 images of BreakHis are above 14)."""

FARTHEST: Final = 45.0
"""Farthest that a stain may be from Ruifrok's haematoxylin or eosin, degrees (99 of 100 images of BreakHis are
within 23 and 36)."""


@dataclass(frozen=True)
class StainCheck:
    """How far the normalised stains of an image can be trusted.

    Attributes
    ----------
    whitened : float
        Share of the stained pixels that turned white, 0 to 1. A pixel is stained if the optical density of its green
        channel is at least 0.15.
    basis : float
        Share of the stained pixels that the stains were estimated from, 0 to 1; NaN if the method estimates none.
    reasons : tuple of str
        What is out of bounds; empty if nothing is.
    """

    whitened: float
    basis: float
    reasons: tuple[str, ...]


def check_stains(before: Image, after: Image, estimate: StainEstimate | None) -> StainCheck:
    """Check what a normalisation made of an image.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (height, width, 3)
        The image and the normalised image, RGB.
    estimate : StainEstimate or None
        The stains that were estimated.

    Examples
    --------
    >>> tissue = np.full((20, 20, 3), (200, 120, 170), np.uint8)
    >>> check_stains(tissue, np.full_like(tissue, 250), None).reasons
    ('100 % of the stained tissue turned white',)
    """
    import cv2

    stained = stained_pixels(before)
    count = int(cv2.countNonZero(stained))
    white = cv2.inRange(check_rgb(after), (WHITE,) * 3, (255.0,) * 3)
    whitened = int(cv2.countNonZero(cv2.bitwise_and(white, stained))) / max(count, 1)
    reasons = (
        [f"{whitened:.0%} of the stained tissue turned white".replace("%", " %")] if whitened > MOST_WHITENED else []
    )
    if estimate is None:
        return StainCheck(whitened, float("nan"), tuple(reasons))
    basis = min(1.0, estimate.tissue * stained.size / max(count, 1))
    if basis < LEAST_BASIS:
        reasons.append(f"its stains rest on {100 * basis:.1f} % of the stained tissue")
    return StainCheck(whitened, basis, (*reasons, *_implausible(estimate.stains)))


def _implausible(stains: npt.NDArray[Any]) -> list[str]:
    reasons = []
    if stains.min() < LEAST_COMPONENT:
        reasons.append("a stain vector is negative")
    haematoxylin, eosin = stains.T
    if (between := _angle(haematoxylin, eosin)) < LEAST_ANGLE:
        reasons.append(f"its two stains are {between:.0f} degrees apart")
    for name, stain, reference in zip(("haematoxylin", "eosin"), stains.T, RUIFROK_FROM_HED, strict=False):
        if (apart := _angle(stain, reference)) > FARTHEST:
            reasons.append(f"its {name} is {apart:.0f} degrees off")
    return reasons


def _angle(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def stain_notes(skipped: Collection[str], doubtful: Collection[str], *, images: int | None, stain: str) -> list[str]:
    """Return a line on images without normalisation, and one on those whose normalised stains are in doubt.

    Parameters
    ----------
    skipped, doubtful : collection of str
        Their names.
    images : int or None
        Of how many; None of new images, which come some at a time, and for which the method is that of training.
    stain : str
        The method.

    Examples
    --------
    >>> stain_notes(["a.png"], [], images=12, stain="macenko")
    ['1 of 12 images: too little tissue, used without stain normalisation: a.png']
    >>> stain_notes(["a.png", "b.png"], [], images=None, stain="macenko")
    ['2 images: too little tissue, used without stain normalisation: a.png, b.png']
    """
    notes = []

    def counted(names: Collection[str]) -> str:
        if images is None:
            return f"{len(names)} {'image' if len(names) == 1 else 'images'}"
        return f"{len(names)} of {images} images"

    if skipped:
        notes.append(f"{counted(skipped)}: too little tissue, used without stain normalisation: {few(skipped)}")
    if doubtful:
        other = (
            f"; the stain method {ROBUST} estimates from all of the stained tissue"
            if images is not None and stain != ROBUST
            else ""
        )
        notes.append(
            f"{counted(doubtful)}: {stain} turned tissue white, or rests on few pixels or implausible "
            f"stains: {few(doubtful)}{other}"
        )
    return notes
