"""Regions that a pathologist drew in QuPath, read from its GeoJSON.

References
----------
RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...core import InputError, counted
from ...core.formats import read_json
from .slide import Slide

_log = logging.getLogger(__name__)

_OTHERS = re.compile(r"(path)?(detection|cell|tile|tmacore|root)(object)?", re.IGNORECASE)
"""Kinds of objects that are not annotations; QuPath 0.2 wrote a kind in place of an id."""

_FARTHEST = 1e7
"""Pixels from the corner: no slide has so many."""


class Region(NamedTuple):
    """A polygon of a class.

    Attributes
    ----------
    label : str
        Name of the class; empty if the region has none.
    rings : tuple of ndarray of float, shape (points, 2)
        The outline, then its holes: x and y, pixels of level 0.
    """

    label: str
    rings: tuple[npt.NDArray[np.float64], ...]

    @property
    def box(self) -> npt.NDArray[np.float64]:
        """Smallest x and y, then the largest ones."""
        return np.concatenate([self.rings[0].min(axis=0), self.rings[0].max(axis=0)])


def read_regions(path: Path, slide: Slide) -> list[Region]:
    """Read the annotations that QuPath exported as GeoJSON: a ``FeatureCollection``, a feature, or a list of them.

    Detections, cells and tiles are not annotations. Points, lines, and polygons without an area are left out, with a
    warning; so is, as in QuPath, a class whose name ends with ``*`` (``Ignore*``).

    Parameters
    ----------
    path : Path
    slide : Slide
        The slide of these annotations.

    Returns
    -------
    list of Region
        One for each polygon.

    Raises
    ------
    InputError
        The file is not GeoJSON, or a region lies outside the slide.
    """
    regions: list[Region] = []
    left_out, content = 0, read_json(path)
    content = content.get("features", [content]) if isinstance(content, dict) else content
    for number, feature in enumerate(content if isinstance(content, list) else [content], start=1):
        try:
            properties, geometry = feature.get("properties") or {}, feature.get("geometry") or {}
            kind = properties.get("objectType") or properties.get("object_type") or feature.get("id")
            if _OTHERS.fullmatch(str(kind)):
                continue
            label, polygons = _class_of(properties), geometry.get("coordinates") or []
            polygons = {"Polygon": [polygons], "MultiPolygon": polygons}.get(str(geometry.get("type")), [])
            drawn = [Region(label, tuple(map(_ring, filter(None, rings)))) for rings in polygons]
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise InputError(f"{path}: feature {number} is not GeoJSON of QuPath ({error}); export it again") from error
        usable = [region for region in drawn if region.rings and np.ptp(region.rings[0], axis=0).all()]
        usable = [] if label.endswith("*") else usable
        left_out += not usable
        regions += usable
    if left_out:
        _log.warning("%s: %s without an area, or ignored by QuPath, left out", path, counted(left_out, "annotation"))
    for region in regions:
        left, top, right, bottom = region.box
        if min(right, bottom) <= 0 or left >= slide.width or top >= slide.height:
            where = f"{slide.path.name} ({slide.width} x {slide.height} pixels); give the annotations of this slide"
            raise InputError(f"{path}: a region at x {left:.0f}, y {top:.0f} is outside {where}")
    return regions


def _class_of(properties: dict[str, Any]) -> str:
    """Return the name of the class of an annotation; empty without one."""
    value = properties.get("classification") or ""
    if isinstance(value, dict):
        value = value.get("name") or ": ".join(map(str, value.get("names") or ()))
    return str(value).strip()


def _ring(points: Any) -> npt.NDArray[np.float64]:
    ring = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    if not (np.abs(ring) < _FARTHEST).all():  # nor a number
        raise ValueError("a coordinate that no slide has")
    return ring
