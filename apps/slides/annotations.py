"""Regions that a pathologist drew in QuPath, read from its GeoJSON.

References
----------
RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import InputError
from ...core.formats import read_json
from .slide import Slide

_FARTHEST = 1e7
"""Pixels from the corner: no slide has so many."""


@dataclass(frozen=True)
class Region:
    """A polygon of a class.

    Attributes
    ----------
    label : str
        Name of the class; empty if the region has none.
    colour : str
        That of the class in QuPath as ``rgb(0, 0, 0)``; empty if unknown.
    rings : tuple of ndarray of float, shape (points, 2)
        The outline, then its holes: x and y, pixels of level 0.
    """

    label: str
    colour: str
    rings: tuple[npt.NDArray[np.float64], ...]

    @property
    def box(self) -> npt.NDArray[np.float64]:
        """Smallest x and y, then the largest ones."""
        return np.concatenate([self.rings[0].min(axis=0), self.rings[0].max(axis=0)])


def read_regions(path: Path, slide: Slide) -> tuple[list[Region], int]:
    """Read the annotations that QuPath exported as GeoJSON: a ``FeatureCollection``, a feature, or a list of them.

    Detections, cells and tiles are not annotations. Points, lines, and polygons without an area are left out; so is, as
    in QuPath, a class whose name ends with ``*`` (``Ignore*``).

    Parameters
    ----------
    path : Path
    slide : Slide
        The slide of these annotations.

    Returns
    -------
    list of Region
        One for each polygon.
    int
        Number of annotations that were left out.

    Raises
    ------
    InputError
        The file is not GeoJSON, or a region lies outside the slide.
    """
    regions: list[Region] = []
    left_out = 0
    for number, feature in enumerate(_features(read_json(path)), start=1):
        try:
            properties = feature.get("properties") or {}
            # QuPath 0.2 wrote the kind of an object in place of its id
            kind = properties.get("objectType", properties.get("object_type", feature.get("id")))
            if str(kind).casefold() in ("detection", "cell", "tile", "tmacore", "root") or (
                str(kind).endswith("Object") and kind != "PathAnnotationObject"
            ):
                continue
            label, colour = _class_of(properties)
            geometry = feature.get("geometry") or {}
            polygons = geometry.get("coordinates") or []
            polygons = {"Polygon": [polygons], "MultiPolygon": polygons}.get(geometry.get("type"), [])
            read = [Region(label, colour, tuple(map(_ring, rings))) for rings in polygons if rings]
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise InputError(f"{path}: feature {number} is not GeoJSON of QuPath ({error}); export it again") from error
        usable = [region for region in read if _has_area(region.rings[0]) and not label.endswith("*")]
        left_out += not usable
        regions += usable
    for region in regions:
        left, top, right, bottom = region.box
        if right <= 0 or bottom <= 0 or left >= slide.width or top >= slide.height:
            raise InputError(
                f"{path}: a region at x {left:.0f}, y {top:.0f} lies outside {slide.path.name} "
                f"({slide.width} x {slide.height} pixels); is it of another slide?"
            )
    return regions, left_out


def _features(content: Any) -> Iterator[Any]:
    """Yield features, and those that QuPath wrote within them."""
    if isinstance(content, list):
        for item in content:
            yield from _features(item)
    elif isinstance(content, dict) and "features" in content:
        yield from _features(content["features"])
    else:
        yield content
        if isinstance(content, dict) and isinstance(content.get("properties"), dict):
            yield from _features(content["properties"].get("childObjects", []))


def _class_of(properties: dict[str, Any]) -> tuple[str, str]:
    """Return name and colour of the class of an annotation."""
    value = properties.get("classification") or {}
    if isinstance(value, str):
        return value.strip(), ""
    name = value.get("name") or ": ".join(map(str, value.get("names") or ()))
    colour, packed = value.get("color") or (), value.get("colorRGB")
    if isinstance(packed, int):
        colour = packed >> 16, packed >> 8, packed
    return str(name).strip(), f"rgb({', '.join(str(int(part) & 255) for part in colour)})" if colour else ""


def _ring(points: Any) -> npt.NDArray[np.float64]:
    ring = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    if not (np.abs(ring) < _FARTHEST).all():  # nor a number
        raise ValueError("a coordinate that no slide has")
    return ring


def _has_area(ring: npt.NDArray[np.float64]) -> bool:
    """Return whether an outline has three corners or more that are not on one line."""
    return len(ring) >= 3 and np.linalg.matrix_rank(ring - ring[0]) == 2
