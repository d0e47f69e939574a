"""The hottest regions of a map as polygons for QuPath."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..data import ImageRecord, read_header
from ..jobs import atomic_output
from .explanation import Explanation

_HOTTEST = 0.1
"""Share of the picture, its highest values, that is outlined (ours)."""

_LEAST = 9
"""Pixels of the shown picture below which a region is left out (ours)."""


def hottest_regions(
    explanation: Explanation, *, width: int, height: int, left: int = 0, top: int = 0
) -> dict[str, Any]:
    """Outline the tenth of the picture with the highest values, as GeoJSON.

    Parameters
    ----------
    explanation : Explanation
        With a map; of one of two sides no value at or below its centre is outlined.
    width, height : int
        Of what the map covers, pixels of the image.
    left, top : int
        Where that begins in the image.

    Returns
    -------
    dict
        A ``FeatureCollection`` of polygons in pixels of the image, closed, the hottest first; QuPath reads them as
        annotations. Holes are filled.
    """
    import cv2

    values = explanation.values
    if values is None:
        raise ValueError("an explanation without a map has no regions")
    least = float(np.quantile(values, 1 - _HOTTEST))
    hot = (values >= least) & (values > explanation.centre)
    outlines, _ = cv2.findContours(hot.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    across, down = width / values.shape[1], height / values.shape[0]
    found = []
    for outline in outlines:
        inside = np.zeros(values.shape, np.uint8)
        cv2.drawContours(inside, [outline], -1, 1, cv2.FILLED)
        if inside.sum() < _LEAST or len(outline) < 3:
            continue
        points = [[left + (x + 0.5) * across, top + (y + 0.5) * down] for x, y in outline[:, 0].tolist()]
        found.append((float(values[inside > 0].mean()), [*points, points[0]]))
    found.sort(key=lambda one: -one[0])
    name = f"{explanation.method} {explanation.target}".strip()
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [points]},
                "properties": {
                    "objectType": "annotation",
                    "name": f"{name} {mean:.3g}",
                    "classification": {"name": name, "color": [178, 12, 36]},
                    "measurements": {"mean": mean},
                },
            }
            for mean, points in found
        ],
    }


def write_regions(path: Path, explanation: Explanation, record: ImageRecord) -> None:
    """Write the hottest regions of an image, in its own pixels."""
    header = read_header(record.path)
    left, top, right, bottom = record.box or (0, 0, header.width, header.height)
    content = hottest_regions(explanation, width=right - left, height=bottom - top, left=left, top=top)
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
