"""Areas as GeoJSON, as QuPath reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import Content, Entries
from .packs import atomic_output, json_text

if TYPE_CHECKING:
    from shapely import Geometry

    from ..formats import Integers


def geojson_feature(
    kind: str, polygon: Geometry, measured: Mapping[str, float], **further: Any
) -> Content:
    """Return a polygon as a GeoJSON feature in QuPath's form.

    Parameters
    ----------
    kind : {"annotation", "tile"}
    polygon : shapely.Polygon
        In pixels.
    measured : mapping of str to float
    **further : JSON-ready values
        More properties. QuPath takes a class only with name and colour.
    """
    from shapely.geometry import mapping

    return {
        "type": "Feature",
        "geometry": mapping(polygon),
        "properties": {"objectType": kind, **further, "measurements": measured},
    }


def joined_boxes(boxes: Integers) -> Geometry:
    """Return what boxes cover together, without points along straight edges.

    Parts that touch only at a corner are parts of their own. Outlines run clockwise on screen, holes the other way.

    Parameters
    ----------
    boxes : ndarray of int64, shape (boxes, 4)
        Left, top, right and bottom of each; if two share a part of an edge, they share all of it.
    """
    import shapely

    # each ring then begins at a corner, so that no point of it is on a straight edge
    area = shapely.coverage_union_all(shapely.box(*boxes.T)).normalize()
    return area.simplify(0).reverse()


def write_features(path: Path, features: Iterable[Entries]) -> None:
    """Write features as GeoJSON, one after the other, since there may be very many."""
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write('{"type": "FeatureCollection", "features": [')
        between = "\n"
        for feature in features:
            handle.write(f"{between}{json_text(feature)}")
            between = ",\n"
        handle.write("\n]}\n")
