"""The grid of a slide: where it has tissue, regular positions, and what tissue and regions cover of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...core.formats import Array, Flags, Floats, Integers, Pixels
from ...stains import foreign_pixels, large_areas
from .files import Annotation
from .slide import Slide

Positions = Integers
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_RASTER = 64
"""Squares along a side of a field that show what an annotation covers of it."""

_BITS = 4
"""Bits of the fraction of a square."""

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


def positions(
    width: int, height: int, side: float, *, overlap: float = 0.0, edges: bool = False
) -> Positions:
    """Return regular positions of squares, row by row from the left upper corner.

    Parameters
    ----------
    width, height : int
        Size of the slide, pixels of level 0.
    side : float
        Side of a square, pixels of level 0.
    overlap : float
        Share of the side by which squares overlap the next, 0 to below 1.
    edges : bool
        Add squares that reach beyond the right and lower edge, so that all of the slide is covered.

    Returns
    -------
    ndarray of int64, shape (squares, 2)
        None if the slide is smaller than a square, unless `edges` is set.

    Examples
    --------
    >>> positions(250, 100, 100).tolist()
    [[0, 0], [100, 0]]
    >>> positions(250, 100, 100, edges=True).tolist()
    [[0, 0], [100, 0], [200, 0]]
    """
    step = side * (1 - overlap)
    needed = 1 if edges else side
    counts = ((length - needed) // step + 1 for length in (width, height))
    columns, rows = (np.rint(np.arange(count) * step).astype(np.int64) for count in counts)
    return np.stack([np.tile(columns, len(rows)), np.repeat(rows, len(columns))], axis=1)


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


def field_classes(
    annotations: Sequence[Annotation], corners: Positions, side: float, *, least: float
) -> list[str | None]:
    """Return the class of each field: the one that covers enough of it, if all others cover no more than the rest.

    Parameters
    ----------
    annotations : sequence of Annotation
        Of an outline that crosses itself, every second area is inside. Annotations without a class count only if no
        class covers more than the rest.
    corners : ndarray, shape (fields, 2)
    side : float
        Pixels of level 0.
    least : float
        Share of a field that is enough, 0.5 to 1.

    Returns
    -------
    list of (str or None)
        Empty for a field of annotations without a class, None for one that is not covered enough, or by several
        classes.
    """
    boxes = np.array([annotation.box for annotation in annotations]).reshape(-1, 4)
    classes = []
    for corner in corners:
        touches = ((boxes[:, :2] < corner + side) & (boxes[:, 2:] > corner)).all(axis=1)
        near = [annotations[index] for index in np.flatnonzero(touches).tolist()]
        shares = _covered_shares(near, corner, side)
        # a class that covers more than the rest, though not enough, is a rival of one that covers enough
        rivals = [
            label
            for label, share in shares.items()
            if label and (share >= least or share > 1 - least)
        ]
        label = next(iter(rivals), "")
        is_enough = shares.get(label, 0) >= least
        classes.append(label if is_enough and len(rivals) < 2 else None)
    return classes


def _covered_shares(
    annotations: Sequence[Annotation], corner: Integers, side: float
) -> dict[str, float]:
    """Return the share of a field that the annotations of each class cover together."""
    import cv2

    covered: dict[str, Array] = {}
    for annotation in annotations:
        rings = [
            np.rint(((ring - corner) * (_RASTER / side) - 0.5) * 2**_BITS).astype(np.int32)
            for ring in annotation.rings
        ]
        drawn = np.zeros((_RASTER, _RASTER), np.uint8)
        cv2.fillPoly(drawn, rings, 1, shift=_BITS)
        covered[annotation.label] = covered.get(annotation.label, 0) | drawn
    return {label: float(drawn.mean()) for label, drawn in covered.items()}
