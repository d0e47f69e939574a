"""Regions of slides that were drawn in QuPath: which file is of which slide, and the polygons in it.

References
----------
RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import InputError, counted, few
from ...core.formats import Floats, read_json
from ...data import match_names, report_findings
from .files import SlideFile
from .slide import Slide

_log = logging.getLogger(__name__)

_OTHERS = re.compile(r"(path)?(detection|cell|tile|tmacore|root)(object)?", re.IGNORECASE)
"""Kinds of objects that are not annotations; QuPath 0.2 wrote a kind in place of an id."""


def annotations_of(slides: Sequence[SlideFile], given: Path | None) -> dict[str, Path]:
    """Return the file of annotations of each slide that has one, by the name of the slide.

    Parameters
    ----------
    slides : sequence of SlideFile
    given : Path, optional
        The file of the only slide; or a folder with files named as the slides: ``S1.geojson``.

    Raises
    ------
    InputError
        There are several slides and one file, or no slide has a file.
    """
    if given is None:
        return {}
    if given.is_file() and len(slides) == 1:
        return {slides[0].name: given}
    files = {
        path.stem: path
        for path in sorted(given.rglob("*json"))
        if path.suffix in (".geojson", ".json")
    }
    names, findings = match_names(files, (slide.name for slide in slides), where=given.name)
    report_findings(findings)
    if not names:
        raise InputError(
            "{annotations} {}: give a folder with a file a slide ({}.geojson)",
            given,
            slides[0].name,
        )
    bare = [slide.name for slide in slides if slide.name not in names.values()]
    if bare:
        text = "%s without annotations, and so without labels: %s"
        _log.warning(text, counted(len(bare), "slide"), few(bare))
    return {name: files[stem] for stem, name in names.items()}


class Annotation(NamedTuple):
    """A polygon of a class, drawn in QuPath.

    Attributes
    ----------
    label : str
        Name of the class; empty if it has none.
    rings : tuple of ndarray of float, shape (points, 2)
        The outline, then its holes: x and y, pixels of level 0.
    """

    label: str
    rings: tuple[Floats, ...]

    @property
    def box(self) -> Floats:
        """Smallest x and y, then the largest ones."""
        return np.concatenate([self.rings[0].min(axis=0), self.rings[0].max(axis=0)])

    @property
    def is_usable(self) -> bool:
        """Whether it has an area, and a class that QuPath does not ignore."""
        has_area = bool(self.rings) and bool(np.ptp(self.rings[0], axis=0).all())
        return has_area and not self.label.endswith("*")


def read_annotations(path: Path, slide: Slide) -> list[Annotation]:
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
    list of Annotation
        One for each polygon.

    Raises
    ------
    InputError
        The file is not GeoJSON, or an annotation lies outside the slide.
    """
    features = read_json(path)
    if isinstance(features, dict):
        features = features.get("features", [features])
    if not isinstance(features, list):
        features = [features]
    annotations = []
    left_out = 0
    for number, feature in enumerate(features, start=1):
        try:
            polygons = _polygons_of(feature)
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise InputError(
                f"{path}: feature {number} is not GeoJSON of QuPath ({error}); export it again"
            ) from error
        if polygons is None:
            continue
        usable = [polygon for polygon in polygons if polygon.is_usable]
        left_out += not usable
        annotations += usable
    if left_out:
        text = "%s: %s without an area, or ignored by QuPath, left out"
        _log.warning(text, path, counted(left_out, "annotation"))
    for annotation in annotations:
        left, top, right, bottom = annotation.box
        if min(right, bottom) <= 0 or left >= slide.width or top >= slide.height:
            where = f"{slide.path.name} ({slide.width} x {slide.height} pixels); give the annotations of this slide"
            raise InputError(f"{path}: a region at x {left:.0f}, y {top:.0f} is outside {where}")
    return annotations


def _polygons_of(feature: Any) -> list[Annotation] | None:
    """Return the polygons of a GeoJSON feature; none of other geometries, and None if it is not an annotation."""
    properties = feature.get("properties") or {}
    geometry = feature.get("geometry") or {}
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("id")
    if _OTHERS.fullmatch(str(kind)):
        return None
    label = _class_of(properties)
    coordinates = geometry.get("coordinates") or []
    polygons = []
    if geometry.get("type") == "Polygon":
        polygons = [coordinates]
    elif geometry.get("type") == "MultiPolygon":
        polygons = _nested(coordinates)
    return [Annotation(label, tuple(map(_ring, filter(None, rings)))) for rings in polygons]


def _nested(polygons: Sequence[Any]) -> list[Any]:
    """Return the polygons of a MultiPolygon, those inside the first as its holes, as HistoQC writes them."""
    import cv2

    first, *others = polygons
    outline = np.array(first[0], dtype=np.float32)[:, :2]
    nested = [[*first]]
    for polygon in others:
        if any(cv2.pointPolygonTest(outline, point[:2], False) > 0 for point in polygon[0]):
            nested[0] += polygon
        else:
            nested.append(polygon)
    return nested


def _class_of(properties: dict[str, Any]) -> str:
    """Return the name of the class of an annotation; empty without one."""
    value = properties.get("classification") or ""
    if isinstance(value, dict):
        value = value.get("name") or ": ".join(map(str, value.get("names") or ()))
    return str(value).strip()


def _ring(points: Any) -> Floats:
    ring = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    if not (np.abs(ring) < 1e7).all():  # nor a number
        raise ValueError("a coordinate that no slide has")
    return ring
