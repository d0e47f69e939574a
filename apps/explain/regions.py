"""Outline the regions with the highest values of a heat map as polygons for QuPath."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.formats import Flags, as_stored, read_header
from ...core.jobs import atomic_output
from ...data import ImageRecord
from .draw import colour_limits
from .explanation import Explanation

_HOTTEST = 0.1
"""Largest fraction of the image that is outlined, by its highest values."""

_BLUR = 0.01
"""Standard deviation of the smoothing, as a fraction of the longer side, so that single pixels are not outlined."""

_LEAST = 0.001
_MOST = 25
"""Smallest area of a region as a fraction of the image, and the largest number of regions."""

_FLAT = 0.01
"""Smallest range of a map, as a fraction of the colour bar, for any region: a smaller range is invisible."""

Point = tuple[int, int]
"""Steps to the right and down: of a corner of pixels from the origin, or, as the way of an edge, to its other end."""

Ring = list[Point]


def hottest_regions(
    explanation: Explanation, *, width: int, height: int, left: int = 0, top: int = 0
) -> dict[str, Any]:
    """Outline the tenth of the image with the highest values, or less, as GeoJSON.

    Parameters
    ----------
    explanation : Explanation
        An explanation with a map. The map is slightly smoothed, and only values above its base are outlined.
    width, height : int
        Size of the area that the map covers, in pixels of the image.
    left, top : int
        Position of that area in the image.

    Returns
    -------
    dict
        A ``FeatureCollection`` of polygons in pixels of the image, those with the highest mean first, which QuPath
        reads as annotations. Rings are closed, and neither touch nor cross themselves; holes are separate rings. Empty
        if the map is flat.
    """
    import cv2

    values = explanation.values
    assert values is not None
    hot = _hottest(explanation, values)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8), connectivity=4)
    sizes = boxes[:, cv2.CC_STAT_AREA]
    largest = 1 + np.argsort(-sizes[1:], kind="stable")[:_MOST]
    across = width / values.shape[1]
    down = height / values.shape[0]
    polygons = []
    for label in largest[sizes[largest] >= _LEAST * values.size].tolist():
        x0, y0, columns, rows = boxes[label, :4].tolist()
        window = np.s_[y0 : y0 + rows, x0 : x0 + columns]
        inside = labels[window] == label
        rings = [
            [[left + (x0 + x) * across, top + (y0 + y) * down] for x, y in ring]
            for ring in outline(inside)
        ]
        polygons.append((float(values[window][inside].mean()), rings))
    polygons.sort(key=lambda polygon: -polygon[0])
    name = f"{explanation.method} {explanation.target}".strip()
    of_map = {"name": name, "color": [178, 12, 36]}
    features = [
        geojson_feature(
            "annotation", rings, {"mean": mean}, name=f"{name} {mean:.3g}", classification=of_map
        )
        for mean, rings in polygons
    ]
    return {"type": "FeatureCollection", "features": features}


def geojson_feature(
    kind: str, rings: Sequence[Any], measured: Mapping[str, float], **further: Any
) -> dict[str, Any]:
    """Return a polygon as a GeoJSON feature in QuPath's form, whose first ring is its outline.

    Parameters
    ----------
    kind : {"annotation", "tile"}
    rings : sequence of sequence of (float, float)
        x and y in pixels; each ring ends where it begins; all but the first are holes.
    measured : mapping of str to float
    **further : JSON-ready values
        More properties. QuPath takes a class only with name and colour.
    """
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"objectType": kind, **further, "measurements": measured},
    }


def _hottest(explanation: Explanation, values: npt.NDArray[np.float32]) -> Flags:
    """Return which values are the highest tenth of a map, or fewer; none if the map is flat."""
    import cv2

    smooth = cv2.GaussianBlur(values.astype(np.float64), (0, 0), _BLUR * max(values.shape))
    low, high = colour_limits(explanation)
    if np.ptp(smooth) <= _FLAT * (high - low):
        return np.zeros(values.shape, np.bool_)
    # a little more than the quantile, which excludes ties, also after rounding
    least = float(np.quantile(smooth, 1 - _HOTTEST)) + 1e-6 * (high - low)
    return np.asarray((smooth > least) & (values > explanation.centre))


def outline(inside: Flags) -> list[Ring]:
    """Return the outline of an edge-connected region, then those of its holes, as closed rings along pixel edges.

    Each edge has the region on its right and the background on its left: outlines run clockwise on screen, holes the
    other way. If two pixels touch only at a corner, the ring turns towards the background there, so that no ring meets
    itself.
    """
    padded = np.pad(inside, 1)
    ways: dict[Point, list[Point]] = {}
    # where each edge of a pixel begins, and its way, clockwise
    for begin, way in (
        ((0, 0), (1, 0)),
        ((1, 0), (0, 1)),
        ((1, 1), (-1, 0)),
        ((0, 1), (0, -1)),
    ):
        right, down = _left_of(way)
        outside = ~np.roll(padded, (-down, -right), axis=(0, 1))[1:-1, 1:-1]
        for y, x in np.argwhere(inside & outside).tolist():
            ways.setdefault((x + begin[0], y + begin[1]), []).append(way)
    rings = []
    while ways:
        # of the corners that are left, the upper one on the far left: no hole is as far left as the outline around it,
        # only one edge begins there, and it does not go straight on
        start = min(ways)
        ring = [start]
        way = (0, 0)
        while len(ring) == 1 or ring[-1] != start:
            x, y = ring[-1]
            before = way
            way = _next_way(ways[x, y], before)
            ways[x, y].remove(way)
            if not ways[x, y]:
                del ways[x, y]
            if way == before:
                ring.pop()  # straight on: one longer edge
            ring.append((x + way[0], y + way[1]))
        rings.append(ring)
    return rings


def _next_way(ways: list[Point], before: Point) -> Point:
    """Return the way on from a corner, of one or two; two begin where two pixels of the region touch only there.

    The turn to the left then goes over to the other pixel. The turn to the right would stay at this one, and the ring
    would come back to the corner by the other.
    """
    left = _left_of(before)
    if left in ways:
        return left
    return ways[0]


def _left_of(way: Point) -> Point:
    """Return the way to the left, where the background is; up is negative."""
    return way[1], -way[0]


def write_regions(path: Path, explanation: Explanation, record: ImageRecord) -> None:
    """Write the regions with the highest values as GeoJSON, in pixels as the file stores them.

    QuPath does not apply the EXIF orientation, so that of the image is undone, and named in the properties.
    """
    header = read_header(record.path)
    left, top, right, bottom = record.box or (0, 0, header.width, header.height)
    content = hottest_regions(
        explanation, width=right - left, height=bottom - top, left=left, top=top
    )
    if header.orientation != 1:
        for polygon in content["features"]:
            rings = polygon["geometry"]["coordinates"]
            polygon["geometry"]["coordinates"] = [
                [as_stored(*point, header=header) for point in ring] for ring in rings
            ]
            polygon["properties"]["frame"] = (
                f"pixels as stored, without the EXIF orientation {header.orientation}"
            )
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
