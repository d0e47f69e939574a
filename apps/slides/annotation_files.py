"""Files of annotations: GeoJSON of QuPath, XML of ASAP and ImageScope, and the same of HALO.

References
----------
RFC 7946; ``QuPathTypeAdapters`` and ``PathClassTools`` in the sources of QuPath; ``XmlRepository``,
``ImageScopeRepository`` and ``OpenSlideImage`` in those of ASAP.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from xml.etree import ElementTree  # nosec B405 - `_Tree` refuses document types, so there are no entities

import numpy as np

from ...core import DAMAGE, Content, Entries, InputError, first_line
from ...core.formats import (
    SLIDE_SUFFIXES,
    Floats,
    decimal_of,
    limits,
    open_zip,
    parse_json,
    parse_yaml,
)
from ...core.jobs import geojson_feature
from .files import files_in

if TYPE_CHECKING:
    from shapely import Geometry

Colour: TypeAlias = tuple[int, ...]
"""Red, green and blue, 0 to 255."""

_ENDING = re.compile(r"\.(geojson|json|xml|annotations)(\.gz|\.zip)?$|\.zip$", re.IGNORECASE)

_HISTOQC = re.compile(
    rf"(.+(?:{'|'.join(map(re.escape, sorted(SLIDE_SUFFIXES | {'.tif', '.tiff'})))}))_[^.]+",
    re.IGNORECASE,
)
"""The name of a slide's file with that of a mask, as HistoQC writes them."""

_OTHERS = re.compile(r"(path)?(detection|cell|tile|tma_?core|root)(object)?", re.IGNORECASE)
"""Kinds of objects that are not annotations; QuPath 0.2 wrote a kind in place of an id."""

_NAMES = ("name", "label", "class", "class_name", "category", "group")
"""Properties by which other programs, and people, tell what an object is; QuPath has classes for it."""

_GEOMETRIES = ("Polygon", "MultiPolygon", "GeometryCollection")

_POINTS = ("Dot", "PointSet", "Measurement")
"""Types of ASAP without an area."""

_RECTANGLES = ("1", "Rectangle")
_ELLIPSES = ("2", "Ellipse")
"""Types of regions of ImageScope and HALO that may have only two corners of their box; others are outlines."""

_PACKED = re.compile(r"#[0-9a-fA-F]{6}|-?[1-9]\d{0,9}|0")
"""A colour as one number."""

CURES = {
    ".ndpa": "open it with its slide in ASAP, and save it there as .xml",
    ".qpdata": "open its slide in QuPath, and choose File > Export objects as GeoJSON",
}
"""What to do with annotations of other programs, by the suffix of their files."""

_CURE = "export GeoJSON, or draw its regions in QuPath and choose File > Export objects as GeoJSON"


class Annotation(NamedTuple):
    """An area of a class, drawn in QuPath or another program.

    Attributes
    ----------
    label : str
        Name of the class; empty if it has none.
    area : shapely.Geometry
        Polygons, pixels of level 0; empty of what has no area.
    colour : (int, int, int), optional
        Red, green and blue of its class, 0 to 255.
    name : str
        What its file calls it, which is not read as its class.
    """

    label: str
    area: Geometry
    colour: Colour | None = None
    name: str = ""

    @property
    def is_ignored(self) -> bool:
        """Whether QuPath ignores its class, as all that end with an asterisk: ``Ignore*``, ``Artefact*``."""
        return self.label.endswith("*")

    @property
    def is_bare_region(self) -> bool:
        """Whether its class is ``Region*``, which QuPath offers for areas of no class."""
        return self.label.rpartition(": ")[2].casefold() == "region*"


def slide_named(path: Path) -> str | None:
    """Return the slide that a file of annotations names as its own, with or without suffix; None for other files.

    Examples
    --------
    >>> slide_named(Path("S1.geojson.gz")), slide_named(Path("S1.svs_use.geojson")), slide_named(Path("S1.csv"))
    ('S1', 'S1.svs', None)
    """
    name, endings = _ENDING.subn("", path.name)
    if not endings:
        return None
    return _HISTOQC.sub(r"\1", name)


def read_file(path: Path, *, corner: tuple[int, int] = (0, 0)) -> list[Annotation]:
    """Read a file of annotations, packed with gzip or zip or not; its content tells what it is.

    A class of ASAP is a group; of ImageScope and HALO, it is the name of the layer, or else its description, or else
    the text of the region. Detections, cells and tiles are not annotations.

    Parameters
    ----------
    path : Path
    corner : (int, int)
        x and y of the scanned area, pixels of level 0. QuPath counts from it, the others from the corner of the image.

    Returns
    -------
    list of Annotation
        One for each polygon; without an area for points, lines and the like.

    Raises
    ------
    InputError
        The file is not one of these, or damaged.
    """
    try:
        data = _content(path)
        # there may be a mark of the encoding before it
        if b"<" in data.lstrip()[:4]:
            return list(_read_xml(data, corner))
        return _read_json(data)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not in UTF-8; save it in UTF-8") from error
    except DAMAGE as error:
        text = f"{path}: cannot be read, or only in part; copy it again, or export it again"
        # others are of readers of files that end too early, or of Python
        if type(error) is ValueError:
            cure = CURES.get(path.suffix.casefold(), _CURE)
            reason = first_line(error)[:200]
            text = f"{path}: no annotations of QuPath, ASAP, ImageScope or HALO ({reason}); {cure}"
        raise InputError(text) from error


def class_colours(given: Path) -> dict[str, Colour]:
    """Return the colour of each class in a file of annotations, or in those of a folder, the first if they differ.

    Raises
    ------
    InputError
        See `read_file`. In a folder, other files may lie beside them.
    """
    paths = [given]
    if given.is_dir():
        paths = list(filter(slide_named, files_in(given)))
    colours: dict[str, Colour] = {}
    for path in paths:
        try:
            annotations = read_file(path)
        except InputError:
            if path == given:
                raise
            continue
        for annotation in annotations:
            if annotation.label and annotation.colour and not annotation.is_ignored:
                colours.setdefault(annotation.label, annotation.colour)
    return colours


def _content(path: Path) -> bytes:
    """Return the content of a file, unpacked; no more than its limit is read or unpacked.

    Raises
    ------
    InputError
        It is a zip with several such files or none.
    ValueError
        It is larger than the limit.
    """
    most = limits.JSON_BYTES
    with path.open("rb") as file:
        data = file.read(most + 1)
    if data.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(data)) as file:
            data = file.read(most + 1)
    elif data.startswith(b"PK"):
        with open_zip(io.BytesIO(data), members=limits.ARCHIVE_MEMBERS) as archive:
            names = [
                name
                for name in archive.namelist()
                # which macOS adds
                if slide_named(Path(name)) and not name.startswith("__MACOSX/")
            ]
            if len(names) != 1:
                raise InputError(
                    f"{path}: a zip of {len(names)} such files, not of one; unpack it into a folder"
                )
            with archive.open(names[0]) as member:
                data = member.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most // 1024**2} MiB")
    return data


def _read_json(data: bytes) -> list[Annotation]:
    """Return the annotations of GeoJSON: a ``FeatureCollection``, a feature, a geometry, or a list of them."""
    if data.strip() and not re.match(rb"[^!-~]*[{[]", data):
        raise ValueError("not JSON")
    content = parse_json(data)
    if isinstance(content, dict):
        content = content.get("features", [content])
    annotations: list[Annotation] = []
    for number, feature in enumerate(content, start=1):
        try:
            annotations += _read_feature(feature)
        except DAMAGE as error:
            raise ValueError(
                f"feature {number}: its class or geometry cannot be read, or is off all slides"
            ) from error
    return annotations


def _read_feature(feature: Any) -> Iterator[Annotation]:
    """Yield the polygons of a GeoJSON feature or geometry, and of the objects inside it in QuPath's hierarchy."""
    import shapely

    if feature.get("type") in _GEOMETRIES:
        feature = {"geometry": feature}
    if not {"geometry", "properties"} & feature.keys():
        raise ValueError("it has no geometry")
    properties = feature.get("properties") or {}
    name = next(filter(None, map(properties.get, _NAMES)), "")
    kinds = (properties.get(key) for key in ("objectType", "object_type", "type"))
    kind = next(filter(None, kinds), feature.get("id"))
    if _OTHERS.fullmatch(str(kind)) is not None:
        yield Annotation("", shapely.Polygon())
    else:
        label, colour = _class_of(properties.get("classification"))
        # other geometries have no ring
        for rings in list(_rings_of(feature.get("geometry") or {})) or [[]]:
            area = _area(*map(_ring, rings))
            for part in shapely.get_parts(area).tolist() or [area]:
                yield Annotation(label, part, colour, str(name))
    for child in properties.get("childObjects") or properties.get("children") or ():
        yield from _read_feature(child)


def _rings_of(geometry: Entries) -> Iterator[Sequence[Any]]:
    """Yield the rings of each area of a geometry: in HistoQC's, polygons inside others are holes."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield geometry.get("coordinates") or []
    elif kind == "MultiPolygon":
        yield [*itertools.chain.from_iterable(geometry.get("coordinates") or [])]
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _rings_of(part)


def _class_of(value: Any) -> tuple[str, Colour | None]:
    """Return the name of a class of QuPath, empty without one, and its colour."""
    if isinstance(value, str) and value.startswith("{"):
        # as GDAL writes it, or geopandas, whose texts of a dict are YAML
        value = parse_yaml(value)
    colour = None
    if isinstance(value, dict):
        colour = _colour_of(value.get("color", value.get("colorRGB")))
        value = value.get("name") or ": ".join(map(str, value.get("names") or ()))
    return str(value or "").strip(), colour


def _colour_of(value: object) -> Colour | None:
    """Return a colour from three numbers, a packed one, or ``#rrggbb``; None from anything else."""
    if isinstance(value, str) and _PACKED.fullmatch(value):
        value = int(value.replace("#", "0x"), 0)
    if isinstance(value, int):
        value = [value >> 16, value >> 8, value]
    if isinstance(value, list) and [type(part) for part in value] == [int] * 3:
        return tuple(part & 255 for part in value)
    return None


class _Tree(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        """Refuse a document type, which could define entities and name other files."""
        raise ValueError("XML with a document type")


def _read_xml(data: bytes, corner: tuple[int, int]) -> Iterator[Annotation]:
    """Return the annotations of a file of ASAP, ImageScope or HALO."""
    import shapely

    if data.count(b"<") > limits.XML_TAGS:
        raise ValueError(f"more than {limits.XML_TAGS:,} tags")
    root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Tree()))  # nosec B314 - see `_Tree`
    if root.tag == "ASAP_Annotations":
        annotations = _read_asap(root)
    elif root.tag == "Annotations":
        annotations = _read_layers(root)
    else:
        raise ValueError(f"XML of another program, {root.tag}")
    for annotation in annotations:
        area = shapely.transform(annotation.area, lambda points: points - corner)
        yield annotation._replace(area=area)


def _read_asap(root: ElementTree.Element) -> Iterator[Annotation]:
    colours = {group.get("Name"): group.get("Color") for group in root.iter("Group")}
    for drawn in root.iter("Annotation"):
        group = drawn.get("PartOfGroup", "None")
        area = _area()
        if drawn.get("Type") not in _POINTS:
            points = sorted(drawn.iter("Coordinate"), key=lambda point: int(point.get("Order", 0)))
            area = _area(_ring_of(points))
        colour = _colour_of(colours.get(group) or drawn.get("Color"))
        label = group.strip()
        if group == "None":
            label = ""
        yield Annotation(label, area, colour)


def _read_layers(root: ElementTree.Element) -> Iterator[Annotation]:
    """Yield the regions of ImageScope or HALO; negative ones are taken out of all others of their layer."""
    import shapely

    for layer in root.iter("Annotation"):
        name = layer.get("Name", "").strip()
        attribute = layer.find("Attributes/Attribute")
        if not name and attribute is not None:
            # its description: the value of an attribute, or the name of another one
            name = attribute.get("Name", "")
            if name == "Description":
                name = attribute.get("Value", "")
            name = name.strip()
        colour = _colour_of(layer.get("LineColor"))
        if colour is not None:
            # its lowest byte is red
            colour = colour[::-1]
        regions = list(layer.iter("Region"))
        negative = [region for region in regions if _is_set(region, "NegativeROA")]
        taken_out = shapely.union_all(list(map(_area_of, negative)))
        for region in regions:
            if not _is_set(region, "NegativeROA"):
                text = region.get("Text", "").strip()
                label = name or text
                called = text or label or "a layer without a name"
                yield Annotation(label, _area_of(region) - taken_out, colour, called)


def _is_set(region: ElementTree.Element, attribute: str) -> bool:
    value = region.get(attribute, "0").strip().casefold()
    if value not in ("0", "1", "false", "true", ""):
        raise ValueError(f"{attribute} is {value!r}, not 0 or 1")
    return value in ("1", "true")


def _area_of(region: ElementTree.Element) -> Geometry:
    """Return the area of a region, which may have only two corners if it is a rectangle or an ellipse."""
    import shapely

    if _is_set(region, "HasEndcaps"):
        # a line of HALO
        return _area()
    ring = _ring_of([*region.iter("Vertex"), *region.iter("V")])
    kind = region.get("Type")
    if kind in _RECTANGLES and len(ring) == 2:
        return shapely.box(*ring.ravel())
    if kind in _ELLIPSES and 2 <= len(ring) <= 4:
        low = ring.min(axis=0)
        half = (ring.max(axis=0) - low) / 2
        # a circle of 72 corners
        circle = shapely.Point(1, 1).buffer(1, quad_segs=18)
        return shapely.transform(circle, lambda points: low + half * points)
    return _area(ring)


def _area(*rings: Floats) -> Geometry:
    """Return the area of rings, which may cross one another and themselves: every second part is inside."""
    import shapely

    outlines = [shapely.Polygon(ring) for ring in rings if len(ring) > 2]
    if len(outlines) == 1 and outlines[0].is_valid:
        return outlines[0]
    for outline in outlines:
        _refuse_tangle(np.array(outline.exterior.coords))
    lines = shapely.union_all([outline.exterior for outline in outlines])
    parts = shapely.get_parts(shapely.polygonize([lines]))
    # not by make_valid, which takes minutes if there are hundreds of crossings
    part, _ = shapely.STRtree(outlines).query(shapely.point_on_surface(parts), "within")
    return shapely.union_all(parts[np.bincount(part, minlength=len(parts)) % 2 == 1])


def _refuse_tangle(ring: Floats) -> None:
    """Refuse an outline that crosses itself so often that its area would take minutes."""
    import shapely

    sides = shapely.linestrings(np.stack([ring[:-1], ring[1:]], axis=1))
    tree = shapely.STRtree(sides)
    crossings = 0
    for begin in range(0, len(sides), 20):
        crossings += tree.query(sides[begin : begin + 20], "crosses").shape[1] // 2
        if crossings > limits.CROSSINGS:
            raise ValueError(f"an outline crosses itself more than {limits.CROSSINGS:,} times")


def _ring_of(points: Iterable[ElementTree.Element]) -> Floats:
    return _ring([[decimal_of(point.attrib[axis]) for axis in "XY"] for point in points])


def _ring(points: Any) -> Floats:
    ring = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    if not (np.abs(ring) < 1e7).all():  # nor a number
        raise ValueError("a coordinate that no slide has")
    return ring


def tile_feature(box: Sequence[float], measured: Mapping[str, float], **further: Any) -> Content:
    """Return a tile from its left, top, right and bottom, pixels of level 0."""
    import shapely

    return geojson_feature("tile", shapely.box(*box), measured, **further)
