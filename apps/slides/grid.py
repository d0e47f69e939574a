"""The grid of a slide: regular positions, and the class of each by the regions that cover it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...core.formats import Array, Integers, Pixels
from .regions import Annotation

Positions = Integers
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_RASTER = 64
"""Points along a side of a field that show what an annotation covers of it."""

_FINE = 1024
"""Points along an annotation, at most one a pixel, that show whether it is inside another one that nearly agrees."""


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


def covering_classes(
    annotations: Sequence[Annotation], corners: Positions, side: float, *, least: float
) -> list[tuple[str, ...]]:
    """Return the class that covers enough of each field, and others that overlap it and cover more than the rest.

    Of annotations inside one another, the innermost counts, as in QuPath's hierarchy. What is ignored has no class,
    apart from what is drawn inside it. Annotations without a class take nothing away, and count only if no class covers
    more than the rest. Of an outline that crosses itself, every second area is inside.

    Parameters
    ----------
    annotations : sequence of Annotation
    corners : ndarray, shape (fields, 2)
    side : float
        Pixels of level 0.
    least : float
        Share of a field that is enough, 0.5 to 1.

    Returns
    -------
    list of tuple of str
        For each field the classes in the order of their names; an empty name for annotations without a class, and
        none if it is not covered enough.
    """
    boxes = np.array([annotation.box for annotation in annotations]).reshape(-1, 4)
    takes = functools.cache(lambda *numbers: _takes(*(annotations[at] for at in numbers)))
    covering = []
    for corner in corners:
        touches = ((boxes[:, :2] < corner + side) & (boxes[:, 2:] > corner)).all(axis=1)
        drawn = {
            at: _draw(annotations[at], corner, side) for at in np.flatnonzero(touches).tolist()
        }
        shares = _covered_shares(annotations, drawn, takes)
        # a class that covers more than the rest, though not enough, is a rival of one that covers enough
        rivals = {
            label: share
            for label, share in shares.items()
            if label and (share >= least or share > 1 - least)
        }
        if not rivals and "" in shares:
            rivals = {"": shares[""]}
        if max(rivals.values(), default=0) < least:
            rivals = {}
        covering.append(tuple(sorted(rivals)))
    return covering


def _covered_shares(
    annotations: Sequence[Annotation],
    drawn: Mapping[int, Pixels],
    takes: Callable[[int, int], bool],
) -> dict[str, float]:
    """Return the share of a field that the annotations of each class cover together.

    Parameters
    ----------
    annotations : sequence of Annotation
    drawn : mapping of int to ndarray
        What those in the field cover of it, by their numbers.
    takes : callable
        Whether the first of two takes area away from the other one, by their numbers.
    """
    covered: dict[str, Array] = {}
    for index, area in drawn.items():
        owner = annotations[index]
        if owner.is_ignored:
            continue
        left = area.copy()
        for other, taken in drawn.items():
            # most have the same class, or do not meet in this field
            are_apart = annotations[other].label == owner.label or not (left & taken).any()
            if not are_apart and takes(other, index):
                left &= ~taken
        covered[owner.label] = covered.get(owner.label, 0) | left
    return {label: float(area.mean()) for label, area in covered.items()}


def _takes(taker: Annotation, owner: Annotation) -> bool:
    """Return whether an annotation takes area away from another one."""
    if taker.is_ignored:
        return not owner.label or not is_inside(owner, taker)
    return bool(taker.label) and is_inside(taker, owner)


def is_inside(inner: Annotation, outer: Annotation) -> bool:
    """Return whether an annotation is inside another one, and not the same drawn twice.

    A hand that draws along a border overshoots it a little; of two that nearly agree, pixels decide.
    """
    for points in (_RASTER, _FINE):
        if not _covers(outer, inner, points):
            return False
        if not _covers(inner, outer, points):
            return True
    return False


def _covers(outer: Annotation, inner: Annotation, points: int) -> bool:
    """Whether nothing of an annotation is outside another one, but for a point of the raster at the border."""
    import cv2

    corner = inner.box[:2]
    side = max(np.ptp(inner.box.reshape(2, 2), axis=0).tolist())
    points = min(points, math.ceil(side))
    reach = cv2.dilate(_draw(outer, corner, side, points), np.ones((3, 3), np.uint8))
    return not (_draw(inner, corner, side, points) & ~reach).any()


def _draw(annotation: Annotation, corner: Array, side: float, points: int = _RASTER) -> Pixels:
    """Draw what an annotation covers of a square, in so many points a side: 1 inside, 0 outside."""
    return annotation.draw(corner, points / side, (points, points))
