"""Regions of slides: the file of each slide, the annotations in it that lie on the slide, and the fields they cover."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core import InputError, MissingInputError, Parameter, by_key, counted, few
from ...core.formats import Integers
from ...data import report_findings
from .annotation_files import CURES, Annotation, read_file, slide_named
from .files import SlideFile, files_in, match_slides
from .slide import Slide

if TYPE_CHECKING:
    from shapely import Geometry

_log = logging.getLogger(__name__)

_NO_CLASS = re.compile(
    r"((new|neue) )?(annotations?|layer|ebene|calque|regions?)?[\s_]*\d*", re.IGNORECASE
)
"""Matches names that programs give to layers by themselves, and the empty name."""


def annotations_of(slides: Sequence[SlideFile], given: Path | None) -> dict[str, Path]:
    """Return the file of annotations of each slide that has one, by the name of the slide; it warns of the others.

    Parameters
    ----------
    slides : sequence of SlideFile
    given : Path, optional
        See `files_by_slide`.

    Raises
    ------
    InputError
        See `files_by_slide`.
    """
    if given is None:
        return {}
    files = files_by_slide(slides, given, option="annotations")
    missing = [slide.name for slide in slides if slide.name not in files]
    if missing:
        text = "%s without annotations, and so without labels: %s"
        _log.warning(text, counted(len(missing), "slide"), few(missing))
    return files


def files_by_slide(slides: Sequence[SlideFile], given: Path, *, option: str) -> dict[str, Path]:
    """Return the file of annotations of each slide that has one, by its name.

    Parameters
    ----------
    slides : sequence of SlideFile
    given : Path
        The file of the only slide; or a folder with files named as the slides: ``S1.geojson``, ``S1.geojson.gz``,
        ``S1.zip``, ``S1.xml``, ``S1.annotations``, and as HistoQC does ``S1.svs_SUFFIX.geojson``. As in QuPath, that of
        ``S1.ome.tif`` is ``S1.geojson``.
    option : str
        Name of the option that gave it.

    Raises
    ------
    InputError
        It does not exist, there are several slides and one file, no slide has a file that can be read, or one has
        several.
    """
    if given.is_file() and len(slides) == 1:
        return {slides[0].name: given}
    if not given.exists():
        raise MissingInputError("{} {}: no such file or folder", Parameter(option), given)
    stems = {path: slide_named(path) for path in files_in(given)}
    files = {path: stem for path, stem in stems.items() if stem is not None}
    names, findings = match_slides(files.values(), slides, where=given)
    report_findings(findings)
    if len(names) < len(slides):
        _warn_of_other_formats(stems)
    if not names:
        raise InputError(
            "{} {}: give a folder with a file a slide ({}.geojson)",
            Parameter(option),
            given,
            slides[0].name,
        )
    matched = (path for path in files if files[path] in names)
    paths_by_slide = by_key(matched, lambda path: names[files[path]])
    for name, paths in paths_by_slide.items():
        if len(paths) > 1:
            raise InputError(
                "{}: {} has several files: {}; keep one",
                Parameter(option),
                name,
                few(map(str, paths)),
            )
    return {name: paths[0] for name, paths in paths_by_slide.items()}


def _warn_of_other_formats(paths: Iterable[Path]) -> None:
    """Warn of the first file of a format that is not read."""
    for path in paths:
        cure = CURES.get(path.suffix.casefold())
        if cure is not None:
            _log.warning("%s: is not read; %s", path, cure)
            return


def read_annotations(path: Path, slide: Slide) -> list[Annotation]:
    """Read the annotations of a slide, see `read_file`.

    What has no area, and regions off the slide, are left out with a warning.

    Parameters
    ----------
    path : Path
    slide : Slide
        The slide of these annotations.

    Returns
    -------
    list of Annotation
        One for each polygon, those of ``Ignore*`` and ``Region*`` among them.

    Raises
    ------
    InputError
        The file cannot be read, or all its regions except ``Region*`` lie off the slide.
    """
    annotations = read_file(path, corner=slide.origin)
    regions = [annotation for annotation in annotations if annotation.area]
    if len(regions) < len(annotations) or not annotations:
        text = "%s: %s, and %s left out that are cells or without an area"
        left_out = counted(len(annotations) - len(regions), "object")
        _log.warning(text, path, counted(len(regions), "region"), left_out)
    fitting = []
    stray = []
    for region in regions:
        left, top, right, bottom = region.area.bounds
        if min(right, bottom) <= 0 or left >= slide.width or top >= slide.height:
            stray.append(f"{region.label or 'unnamed'} at x {left:.0f}, y {top:.0f}")
        else:
            fitting.append(region)
    _report_names(path, fitting)
    if stray:
        size = f"{slide.path.name} ({slide.width} x {slide.height} pixels)"
        if all(region.is_bare_region for region in fitting):
            raise InputError(
                f"{path}: a region is outside {size}: {few(stray)}; give the annotations of this slide"
            )
        text = "%s: left out, outside %s: %s; delete what was not meant"
        _log.warning(text, path, size, few(stray))
    return fitting


def _report_names(path: Path, regions: Sequence[Annotation]) -> None:
    """Print the names of regions without a class, which are not read as one."""
    names = [
        region.name
        for region in regions
        if region.name not in ("", region.label) and _NO_CLASS.fullmatch(region.label)
    ]
    if names:
        text = (
            "%s: what %s are called is not read as a class: %s; set classes in QuPath, or rename their "
            "layer by its class, or that property to classification"
        )
        _log.warning(text, path, counted(len(names), "region"), few(sorted({*names})))


Positions = Integers
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""

_OVERSHOOT = 0.05
"""Share of an area by which a hand that draws along a border overshoots it (bchisto's choice)."""


def positions(
    width: int, height: int, side: float, *, overlap: float = 0.0, edges: bool = False
) -> Positions:
    """Return regular positions of squares, row by row from the left upper corner.

    Parameters
    ----------
    width, height : int
        Size of the slide, pixels of level 0.
    side : float
        Side of a square, pixels of level 0.
    overlap : float
        Share of the side by which squares overlap the next, 0 to below 1.
    edges : bool
        Add squares that reach beyond the right and lower edge, so that all of the slide is covered.

    Returns
    -------
    ndarray of int64, shape (squares, 2)
        Empty if the slide is smaller than a square, unless `edges` is set.

    Examples
    --------
    >>> positions(250, 100, 100).tolist()
    [[0, 0], [100, 0]]
    >>> positions(250, 100, 100, edges=True).tolist()
    [[0, 0], [100, 0], [200, 0]]
    """
    step = side * (1 - overlap)
    needed = 1 if edges else side
    counts = ((length - needed) // step + 1 for length in (width, height))
    columns, rows = (np.rint(np.arange(count) * step).astype(np.int64) for count in counts)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def covering_classes(
    annotations: Sequence[Annotation], corners: Positions, side: float, *, least: float
) -> list[tuple[str, ...]]:
    """Return the class that covers enough of each field, and others that overlap it and cover more than the rest.

    Annotations without a class count only if no class covers more than the rest.

    Parameters
    ----------
    annotations : sequence of Annotation
        See `areas_of_classes`.
    corners : ndarray, shape (fields, 2)
    side : float
        Pixels of level 0.
    least : float
        Share of a field that is enough, 0.5 to 1.

    Returns
    -------
    list of tuple of str
        For each field the classes in the order of their names; an empty name for annotations without a class, and
        none if it is not covered enough.
    """
    import shapely

    fields = shapely.box(*corners.T, *(corners + side).T)
    shares = {}
    for label, area in sorted(areas_of_classes(annotations).items()):
        parts = shapely.get_parts(area)
        field, part = shapely.STRtree(parts).query(fields)
        covered = shapely.area(shapely.intersection(fields[field], parts[part]))
        # without the rounding errors of areas
        shares[label] = np.round(np.bincount(field, covered, len(fields)) / side**2, 6)
    covering = []
    for number in range(len(fields)):
        field_shares = {label: share[number] for label, share in shares.items()}
        # a class that covers more than the rest, though not enough, is a rival of one that covers enough
        rivals = [
            label
            for label, share in field_shares.items()
            if label and (share >= least or share > 1 - least)
        ] or [""]
        if max(field_shares.get(label, 0) for label in rivals) < least:
            rivals = []
        covering.append(tuple(rivals))
    return covering


def areas_of_classes(annotations: Sequence[Annotation]) -> dict[str, Geometry]:
    """Return what the annotations of each class cover together.

    Of annotations inside one another, the innermost counts, as in QuPath's hierarchy. What is ignored has no class,
    apart from what is drawn inside it. Annotations without a class take nothing away.
    """
    import shapely

    areas = [annotation.area for annotation in annotations]
    tree = shapely.STRtree(areas)
    parts_by_label: dict[str, list[Geometry]] = {}
    for owner in annotations:
        if not owner.is_ignored:
            others = [annotations[number] for number in tree.query(owner.area, "intersects")]
            losses = [taker.area for taker in others if _takes(taker, owner)]
            parts_by_label.setdefault(owner.label, []).append(
                owner.area - shapely.union_all(losses)
            )
    return {label: shapely.union_all(parts) for label, parts in parts_by_label.items()}


def _takes(taker: Annotation, owner: Annotation) -> bool:
    """Return whether an annotation takes area away from another one."""
    if taker.is_ignored:
        return not owner.label or not _is_inside(owner.area, taker.area)
    return taker.label not in ("", owner.label) and _is_inside(taker.area, owner.area)


def _is_inside(inner: Geometry, outer: Geometry) -> bool:
    """Return whether an area is inside another one, and not the same drawn twice."""
    common = inner.intersection(outer).area
    outside = inner.area - common
    return bool(outside <= _OVERSHOOT * inner.area and 2 * outside < outer.area - common)
