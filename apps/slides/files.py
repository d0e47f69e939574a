"""The slides that a command takes: files and folders, a name for each, its patient, and regions drawn in QuPath.

References
----------
RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import ImageError, InputError, Message, Settings, counted, few, option, readable_name
from ...core.formats import GROUP, IMAGE, SLIDE_SUFFIXES, Floats, Role, read_csv, read_json
from ...core.jobs import write_or_remove
from ...data import NO_GROUPS, PathRule, match_names, report_findings
from .slide import Slide

_log = logging.getLogger(__name__)

Failures = list[tuple[str, str]]

_RULE = "Patient by the path inside a folder, or the name of a file: a level, a regular expression, or none."

_SUFFIXES = SLIDE_SUFFIXES | {".tif", ".tiff"}

_OTHERS = re.compile(r"(path)?(detection|cell|tile|tmacore|root)(object)?", re.IGNORECASE)
"""Kinds of objects that are not annotations; QuPath 0.2 wrote a kind in place of an id."""


@dataclass(frozen=True, kw_only=True)
class SlideSettings(Settings):
    """What every command on slides is told of them."""

    tissue: float = option(
        0.5, group="Input", least=0, most=1, help="Share of tissue that a square needs."
    )
    mpp: float | None = option(
        None, group="Input", least=0.02, most=20, help="Micrometres a pixel if none is stated."
    )
    patients: Path | None = option(
        None, group="Input", decides=False, help="Table with columns slide and patient."
    )
    group_from: str | None = option(
        None, group="Input", metavar="LEVEL|PATTERN", decides=False, help=_RULE
    )


class SlideFile(NamedTuple):
    """A slide.

    Attributes
    ----------
    name : str
        Unique: the name of its file without suffix, with that of its folder in front if several slides have it.
    path : Path
    relative : str
        Its path for rules of groups: in the folder that was given; of a file that was given, its name.
    """

    name: str
    path: Path
    relative: str


def list_slides(sources: Sequence[Path]) -> list[SlideFile]:
    """Return the slides in files and folders.

    Parameters
    ----------
    sources : sequence of Path
        Files, whatever their suffix; of folders, those with a suffix of slides or of TIFF.

    Raises
    ------
    InputError
        There is no slide, or two slides cannot be told apart by their names and folders.
    """
    paths: dict[Path, str] = {}
    for source in sources:
        if source.is_dir():
            for path in source.rglob("[!.]*"):
                if path.suffix.casefold() in _SUFFIXES:
                    paths.setdefault(path, path.relative_to(source).as_posix())
        else:
            paths.setdefault(source, source.name)
    if not paths:
        raise InputError(
            f"{few(map(str, sources))}: no slide in this folder (.svs, .ndpi, .tif and the like)"
        )
    names = _names_of(sorted(paths))
    return [SlideFile(name, path, paths[path]) for path, name in names.items()]


def _names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each slide: that of its file, with its folder in front if several slides have it.

    Raises
    ------
    InputError
        Slides cannot be told apart, or a name is not UTF-8.
    """
    stems = Counter(path.stem for path in paths)
    names = {}
    for path in paths:
        names[path] = path.stem
        if stems[path.stem] > 1:
            names[path] = f"{path.absolute().parent.name}_{path.stem}"
    counts = Counter(names.values())
    unfit = [
        path for path, name in names.items() if counts[name] > 1 or readable_name(name) != name
    ]
    if unfit:
        raise InputError(
            f"{few(map(readable_name, map(str, unfit)))}: give each slide a name of its own, in UTF-8"
        )
    return names


@contextlib.contextmanager
def leaving_out(name: str, failures: Failures, *, skip: bool) -> Iterator[None]:
    """Add what cannot be used to the failures, with the reason, or raise its error."""
    try:
        yield
    except (InputError, ImageError) as error:
        if not skip:
            raise
        _log.warning("left out: %s", error.args[0])
        failures.append((name, str(error)))


def write_failures(folder: Path, failures: Failures) -> None:
    """Write ``failures.csv``, or remove that of an earlier call."""
    write_or_remove(folder / "failures.csv", ["image_id", "error"], failures)


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


def groups_of(slides: Sequence[SlideFile], settings: SlideSettings) -> dict[str, str]:
    """Return the patient of each slide, by the name of the slide; by default the slide itself.

    Parameters
    ----------
    slides : sequence of SlideFile
    settings : SlideSettings
        Its table of slides and patients, or its rule, see `bchisto.data.PathRule`.

    Raises
    ------
    InputError
        Both are given, the rule is invalid, or a slide has no patient.
    """
    table = settings.patients
    rule = settings.group_from
    if rule == NO_GROUPS:
        rule = None
    if table is not None and rule is not None:
        raise InputError(Message("{patients} and {group_from}: give one of them"))
    if table is not None:
        return values_of(slides, table, GROUP)
    if rule is None:
        return {slide.name: slide.name for slide in slides}
    groups = PathRule.of(rule, name="group_from").find(slide.relative for slide in slides)
    bare = [slide.name for slide in slides if not groups[slide.relative]]
    if bare:
        text = "{group_from} {}: names no patient of {}: {}"
        raise InputError(text, rule, counted(len(bare), "slide"), few(bare))
    return {slide.name: str(groups[slide.relative]) for slide in slides}


def values_of(slides: Sequence[SlideFile], table: Path, role: Role) -> dict[str, str]:
    """Return what a column of a table says of slides, by the name of the slide; other rows are left out.

    Raises
    ------
    InputError
        Rows of a slide differ, none of the slides has a value, or one of them has no patient.
    """
    what = "patient" if role is GROUP else role.name
    read = read_csv(table, needed=(IMAGE, role), expected=f"slide,{what}")
    image = read.choose(IMAGE)
    column = read.choose(role)
    values: dict[str, str] = {}
    for slide, value in _values_in(
        [(row[image], row[column]) for _, row in read.rows], slides, table
    ):
        first = values.setdefault(slide, value)
        if first != value:
            raise InputError(f"{table}: {what} of {slide} is {first!r} and {value!r}; keep one row")
    bare = [slide.name for slide in slides if not values.get(slide.name)]
    if bare:
        text = f"{table}: names no {what} of {counted(len(bare), 'slide')}: {few(bare)}"
        if role is GROUP or len(bare) == len(slides):
            raise InputError(text)
        _log.warning("%s", text)
    return values


def _values_in(
    rows: Sequence[tuple[str, str]], slides: Sequence[SlideFile], table: Path
) -> Iterator[tuple[str, str]]:
    """Yield the name of the slide and the value of each row of slides."""
    while True:
        names, _ = match_names(
            (name for name, _ in rows), (slide.name for slide in slides), where=table.name
        )
        if not names:
            return
        for name, value in rows:
            if name in names:
                yield names[name], value
        # rows that name a slide in several ways match one way after the other
        rows = [row for row in rows if row[0] not in names]


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
        polygons = coordinates
    return [Annotation(label, tuple(map(_ring, filter(None, rings)))) for rings in polygons]


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
