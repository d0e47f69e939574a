"""Fields of a slide: regular positions, and what tissue and regions cover of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...core import counted
from .annotations import Region
from .tissue import Tissue

_log = logging.getLogger(__name__)

Positions: TypeAlias = npt.NDArray[np.int64]
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_RASTER = 64
"""Squares along a side of a field that show which part of it a region covers."""

_BITS = 4
"""Bits of the fraction of a square in the coordinates of an outline."""


def positions(width: int, height: int, side: float, *, overlap: float = 0.0, edges: bool = False) -> Positions:
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
    columns, rows = (
        np.rint(np.arange((length - 1 if edges else length - side) // step + 1) * step).astype(np.int64)
        for length in (width, height)
    )
    return np.stack([np.tile(columns, len(rows)), np.repeat(rows, len(columns))], axis=1)


def tissue_shares(tissue: Tissue, corners: Positions, side: float) -> npt.NDArray[np.float64]:
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
    begin, length = np.rint(corners / tissue.factor).astype(int), max(1, round(side / tissue.factor))
    most = tissue.mask.shape[::-1]
    (left, top), (right, bottom) = (np.minimum(at, most).T for at in (begin, begin + length))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(inside / length**2, dtype=np.float64)


def field_classes(regions: Sequence[Region], corners: Positions, side: float, *, least: float) -> list[str | None]:
    """Return the class of each field: the one that covers enough of it, if all others cover no more than the rest.

    Parameters
    ----------
    regions : sequence of Region
        Of an outline that crosses itself, every second area is inside. Regions without a class count only if no class
        covers more than the rest.
    corners : ndarray, shape (fields, 2)
    side : float
        Pixels of level 0.
    least : float
        Share of a field that is enough, 0.5 to 1.

    Returns
    -------
    list of (str or None)
        Empty for a field of regions without a class, None for one that is not covered enough, or by several classes.
    """
    import cv2

    boxes = np.array([region.box for region in regions]).reshape(-1, 4)
    classes: list[str | None] = []
    several = 0
    for corner in corners:
        covered: dict[str, npt.NDArray[Any]] = {}
        for index in np.flatnonzero(((boxes[:, :2] < corner + side) & (boxes[:, 2:] > corner)).all(axis=1)).tolist():
            squares = [((ring - corner) * (_RASTER / side) - 0.5) * 2**_BITS for ring in regions[index].rings]
            drawn = np.zeros((_RASTER, _RASTER), np.uint8)
            cv2.fillPoly(drawn, [np.rint(ring).astype(np.int32) for ring in squares], 1, shift=_BITS)
            covered[regions[index].label] = covered.get(regions[index].label, 0) | drawn
        shares = {label: float(drawn.mean()) for label, drawn in covered.items()}
        rivals = [label for label, share in shares.items() if label and (share >= least or share > 1 - least)]
        label = rivals[0] if rivals else ""
        classes.append(label if len(rivals) < 2 and shares.get(label, 0) >= least else None)
        several += len(rivals) > 1
    if several:
        _log.warning("%s in regions of several classes, left out", counted(several, "field"))
    return classes
