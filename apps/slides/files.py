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
import numpy.typing as npt

from ...core import ImageError, InputError, Message, Settings, counted, few, option, readable_name
from ...core.formats import GROUP, IMAGE, SLIDE_SUFFIXES, Role, read_csv, read_json
from ...core.jobs import write_or_remove
from ...data import PathRule, match_names
from .slide import Slide

_log = logging.getLogger(__name__)

Failures = list[tuple[str, str]]

_RULE = (
    "Patient by the path inside a folder, or the name of a file: a level, or a regular expression."
)

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
        for path in source.rglob("[!.]*") if source.is_dir() else [source]:
            if path == source or path.suffix.casefold() in SLIDE_SUFFIXES | {".tif", ".tiff"}:
                paths.setdefault(
                    path, path.relative_to(source if source.is_dir() else source.parent).as_posix()
                )
    if not paths:
        raise InputError(
            f"{few(map(str, sources))}: no slide in this folder (.svs, .ndpi, .tif and the like)"
        )
    names = {path: path.stem for path in sorted(paths)}
    stems = Counter(names.values())
    names |= {
        path: f"{path.absolute().parent.name}_{stem}"
        for path, stem in names.items()
        if stems[stem] > 1
    }
    counts = Counter(names.values())
    if unfit := [
        path for path, name in names.items() if counts[name] > 1 or readable_name(name) != name
    ]:
        raise InputError(
            f"{few(map(readable_name, map(str, unfit)))}: give each slide a name of its own, in UTF-8"
        )
    return [SlideFile(name, path, paths[path]) for path, name in names.items()]


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
    names, _ = match_names(files, (slide.name for slide in slides), where=given.name)
    if not names:
        raise InputError(
            "{annotations} {}: give a folder with a file a slide ({}.geojson)",
            given,
            slides[0].name,
        )
    if bare := [slide.name for slide in slides if slide.name not in names.values()]:
        _log.warning(
            "%s without annotations, and so without labels: %s",
            counted(len(bare), "slide"),
            few(bare),
        )
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
    table, rule = settings.patients, settings.group_from
    if table is not None and rule is not None:
        raise InputError(Message("{patients} and {group_from}: give one of them"))
    if table is not None:
        return values_of(slides, table, GROUP)
    if rule is None:
        return {slide.name: slide.name for slide in slides}
    groups = PathRule.of(rule, name="group_from").find(slide.relative for slide in slides)
    if bare := [slide.name for slide in slides if not groups[slide.relative]]:
        raise InputError(
            "{group_from} {}: names no patient of {}: {}",
            rule,
            counted(len(bare), "slide"),
            few(bare),
        )
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
    image, column = read.choose(IMAGE), read.choose(role)
    rows, values = [(row[image], row[column]) for _, row in read.rows], dict[str, str]()
    while names := match_names(
        (name for name, _ in rows), (slide.name for slide in slides), where=table.name
    )[0]:
        for name, value in rows:
            if name in names and (first := values.setdefault(names[name], value)) != value:
                raise InputError(
                    f"{table}: {what} of {names[name]} is {first!r} and {value!r}; keep one row"
                )
        rows = [row for row in rows if row[0] not in names]
    if bare := [slide.name for slide in slides if not values.get(slide.name)]:
        text = f"{table}: names no {what} of {counted(len(bare), 'slide')}: {few(bare)}"
        if role is GROUP or len(bare) == len(slides):
            raise InputError(text)
        _log.warning("%s", text)
    return values


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
            kind = (
                properties.get("objectType") or properties.get("object_type") or feature.get("id")
            )
            if _OTHERS.fullmatch(str(kind)):
                continue
            label, polygons = _class_of(properties), geometry.get("coordinates") or []
            polygons = {"Polygon": [polygons], "MultiPolygon": polygons}.get(
                str(geometry.get("type")), []
            )
            drawn = [Region(label, tuple(map(_ring, filter(None, rings)))) for rings in polygons]
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise InputError(
                f"{path}: feature {number} is not GeoJSON of QuPath ({error}); export it again"
            ) from error
        usable = [
            region for region in drawn if region.rings and np.ptp(region.rings[0], axis=0).all()
        ]
        usable = [] if label.endswith("*") else usable
        left_out += not usable
        regions += usable
    if left_out:
        _log.warning(
            "%s: %s without an area, or ignored by QuPath, left out",
            path,
            counted(left_out, "annotation"),
        )
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
    if not (np.abs(ring) < 1e7).all():  # nor a number
        raise ValueError("a coordinate that no slide has")
    return ring
