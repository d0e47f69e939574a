"""The regions of an image with the highest values of its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core import Content
from ...core.formats import Flags, Floats32, as_stored, read_header
from ...core.jobs import geojson_feature, joined_boxes, write_features
from ...data import Box, ImageRecord
from .draw import RED, colour_limits
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


def hottest_regions(explanation: Explanation, box: Box) -> list[Content]:
    """Outline the tenth of the image with the highest values, or less, as GeoJSON.

    Parameters
    ----------
    explanation : Explanation
        An explanation with a map. The map is slightly smoothed, and only values above its base are outlined.
    box : tuple of int
        Left, top, right and bottom of the area that the map covers, in pixels of the image.

    Returns
    -------
    list of dict
        Features, which QuPath reads as annotations: polygons in pixels of the image, the one with the highest mean
        first. Rings neither touch nor cross themselves. Empty if the map is flat.
    """
    import cv2
    import shapely

    values = explanation.values
    assert values is not None
    hot = _hottest(explanation, values)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8), connectivity=4)
    sizes = boxes[:, cv2.CC_STAT_AREA]
    largest = 1 + np.argsort(-sizes[1:], kind="stable")[:_MOST]
    start, end = np.reshape(box, (2, 2))
    scale = (end - start) / values.shape[::-1]
    polygons = []
    for label in largest[sizes[largest] >= _LEAST * values.size].tolist():
        y, x = np.nonzero(labels == label)
        pixels = joined_boxes(np.stack([x, y, x + 1, y + 1], axis=1))
        polygon = shapely.transform(pixels, lambda points: points * scale + start)
        polygons.append((float(values[y, x].mean()), polygon))
    polygons.sort(key=lambda region: -region[0])
    name = f"{explanation.method} {explanation.target}".strip()
    of_map = {"name": name, "color": RED.tolist()}
    return [
        geojson_feature(
            "annotation", polygon, {"mean": mean}, name=f"{name} {mean:.3g}", classification=of_map
        )
        for mean, polygon in polygons
    ]


def _hottest(explanation: Explanation, values: Floats32) -> Flags:
    """Return which values are the highest tenth of a map, or fewer; none if the map is flat."""
    import cv2

    # where a field shows nothing is never among the highest
    known = np.nan_to_num(values.astype(np.float64), nan=float(np.nanmin(values)))
    smooth = cv2.GaussianBlur(known, (0, 0), _BLUR * max(values.shape))
    low, high = colour_limits(explanation)
    if np.ptp(smooth) <= _FLAT * (high - low):
        return np.zeros(values.shape, np.bool_)
    # a little more than the quantile, which excludes ties, also after rounding
    least = float(np.quantile(smooth, 1 - _HOTTEST)) + 1e-6 * (high - low)
    return np.asarray((smooth > least) & (values > explanation.centre))


def write_regions(path: Path, explanation: Explanation, record: ImageRecord) -> None:
    """Write the regions with the highest values as GeoJSON, in pixels as the file stores them.

    QuPath does not apply the EXIF orientation, so that of the image is undone, and named in the properties.
    """
    header = read_header(record.path)
    features = hottest_regions(explanation, record.box or (0, 0, *header.size))
    if header.orientation != 1:
        for feature in features:
            rings = feature["geometry"]["coordinates"]
            feature["geometry"]["coordinates"] = [
                [as_stored(*point, header=header) for point in ring] for ring in rings
            ]
            feature["properties"]["frame"] = (
                f"pixels as stored, without the EXIF orientation {header.orientation}"
            )
    write_features(path, features)
