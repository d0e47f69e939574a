"""The grid of a slide: regular positions, and the class of each by the regions that cover it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.formats import Array, Integers
from .regions import Annotation

Positions = Integers
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_RASTER = 64
"""Squares along a side of a field that show what an annotation covers of it."""

_BITS = 4
"""Bits of the fraction of a square."""


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
