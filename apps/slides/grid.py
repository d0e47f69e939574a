"""The grid of a slide: regular positions, and the class of each by the regions that cover it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.formats import Integers
from .annotation_files import Annotation

if TYPE_CHECKING:
    from shapely import Geometry

Positions = Integers
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_OVERSHOOT = 0.05
"""Share of an area by which a hand that draws along a border overshoots it (bchisto's choice)."""


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

    Annotations without a class count only if no class covers more than the rest.

    Parameters
    ----------
    annotations : sequence of Annotation
        See `areas_of_classes`.
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
    import shapely

    fields = shapely.box(*corners.T, *(corners + side).T)
    shares = {}
    for label, area in sorted(areas_of_classes(annotations).items()):
        parts = shapely.get_parts(area)
        field, part = shapely.STRtree(parts).query(fields)
        covered = shapely.area(shapely.intersection(fields[field], parts[part]))
        # without what a computer adds to or takes from a whole
        shares[label] = np.round(np.bincount(field, covered, len(fields)) / side**2, 6)
    covering = []
    for number in range(len(fields)):
        of_field = {label: share[number] for label, share in shares.items()}
        # a class that covers more than the rest, though not enough, is a rival of one that covers enough
        rivals = [
            label
            for label, share in of_field.items()
            if label and (share >= least or share > 1 - least)
        ]
        rivals = rivals or [""]
        if max(of_field.get(label, 0) for label in rivals) < least:
            rivals = []
        covering.append(tuple(rivals))
    return covering


def areas_of_classes(annotations: Sequence[Annotation]) -> dict[str, Geometry]:
    """Return what the annotations of each class cover together.

    Of annotations inside one another, the innermost counts, as in QuPath's hierarchy. What is ignored has no class,
    apart from what is drawn inside it. Annotations without a class take nothing away.
    """
    import shapely

    areas = [annotation.area for annotation in annotations]
    tree = shapely.STRtree(areas)
    own: dict[str, list[Geometry]] = {}
    for owner in annotations:
        if not owner.is_ignored:
            meeting = [annotations[number] for number in tree.query(owner.area, "intersects")]
            taken = [taker.area for taker in meeting if _takes(taker, owner)]
            own.setdefault(owner.label, []).append(owner.area - shapely.union_all(taken))
    return {label: shapely.union_all(parts) for label, parts in own.items()}


def _takes(taker: Annotation, owner: Annotation) -> bool:
    """Return whether an annotation takes area away from another one."""
    if taker.is_ignored:
        return not owner.label or not _is_inside(owner.area, taker.area)
    return taker.label not in ("", owner.label) and _is_inside(taker.area, owner.area)


def _is_inside(inner: Geometry, outer: Geometry) -> bool:
    """Return whether an area is inside another one, and not the same drawn twice."""
    common = inner.intersection(outer).area
    outside = inner.area - common
    return bool(outside <= _OVERSHOOT * inner.area and 2 * outside < outer.area - common)
