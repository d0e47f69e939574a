"""Cut fields out of slides, with the classes of annotated regions, and write a manifest of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import (
    BchistoError,
    ImageError,
    InputError,
    Many,
    PathInput,
    Settings,
    converted,
    counted,
    few,
    message_of,
    option,
    plain_options,
)
from ...core.formats import file_sha256, limits, read_json, read_rows
from ...core.jobs import (
    Ticker,
    Work,
    atomic_output,
    cpu_resources,
    do_missing,
    key_of,
    remove_output,
    write_json,
    write_rows,
)
from ...core.runs import FolderSettings, record_run
from ...evaluate.report import render_page, thumbnail
from .annotations import Region, read_regions
from .files import SlideFile, annotations_of, groups_of, list_slides
from .grid import field_classes, positions, tissue_shares
from .slide import Slide
from .tissue import Tissue, find_tissue

_log = logging.getLogger(__name__)

_SIDE, _MOST = 900, 100
"""Longest side of a picture of the page, in pixels, and largest number of slides that it shows."""

_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#ff7f0e")
"""Colours of classes that have none in QuPath."""

_TISSUE, _REGION = (0, 150, 90), (28, 31, 36)
_HEADER = ("path", "label", "group", "wsi", "x", "y", "mpp")


@dataclass(frozen=True, kw_only=True)
class CutSettings(Settings):
    """Which fields are cut, and how; the defaults suit the standard views of `bchisto.featurize`.

    A field of 768 um has 1,536 pixels, as many as the height of an image of BACH; half of it, 768 pixels, has room for
    crops of 650.
    """

    field: float = option(768.0, group="Input", least=10, most=20_000, help="Side of a field in micrometres.")
    scale: float = option(
        0.5,
        group="Input",
        least=limits.LEAST_MPP,
        most=limits.MOST_MPP,
        help="Micrometres per pixel of a field; a level of the slide within 2 % is taken as it is.",
    )
    overlap: float = option(0.0, group="Input", least=0, most=0.95, help="Share of its side that the next one repeats.")
    tissue: float = option(0.5, group="Input", least=0, most=1, help="Share of tissue that a field needs.")
    annotated: float = option(
        0.75,
        group="Input",
        least=0.5,
        most=1,
        help="Share of a field that its class must cover; another class may cover the rest.",
    )
    mpp: float | None = option(
        None,
        group="Input",
        least=limits.LEAST_MPP,
        most=limits.MOST_MPP,
        help="Micrometres per pixel of slides that do not state them.",
    )
    jpeg: bool = option(False, group="Output", help="Write JPEG of quality 90 in place of PNG.")

    def __post_init__(self) -> None:
        """Refuse fields of too many or too few pixels."""
        super().__post_init__()
        if not 32 <= self.pixels <= 9000:
            size = self.field, self.scale, self.pixels
            raise InputError("{field} {} with {scale} {}: {} pixels; give 32 to 9,000", *size)

    @property
    def pixels(self) -> int:
        """Side of a field in pixels."""
        return round(self.field / self.scale)


@dataclass(frozen=True)
class SlideUnit:
    """A slide to cut, and what its fields depend on.

    Attributes
    ----------
    slide : SlideFile
    outlines : Path or None
        Its annotations.
    folder : Path
        Folder for its fields.
    settings : CutSettings
    places : int
        Number of positions on its grid.
    digest, key : str
        Of the slide, and of all that decides which fields are cut.
    skip_errors, writes : bool
        Whether damaged fields are left out, and whether fields are written.
    """

    slide: SlideFile
    outlines: Path | None
    folder: Path
    settings: CutSettings
    places: int
    digest: str
    key: str
    skip_errors: bool
    writes: bool

    @property
    def listing(self) -> Path:
        """The list of its fields."""
        return self.folder / "fields.json"

    def file(self, x: int, y: int) -> Path:
        """Return the file of the field at a position."""
        return self.folder / f"{self.slide.name}_{x}_{y}.{'jpg' if self.settings.jpeg else 'png'}"

    def finished(self) -> dict[str, Any] | None:
        """Return the list of fields, if all of them are cut.

        Raises
        ------
        InputError
            Another slide was cut into the folder.
        """
        content = read_json(self.listing) if self.writes and self.listing.is_file() else {"digest": self.digest}
        if content["digest"] != self.digest:
            raise InputError(
                "{}: another slide was cut as {} before; give another {out}, or {overwrite}",
                self.slide.path,
                self.folder,
            )
        whole = content.get("key") == self.key and not content["failures"]
        return content if whole and all(self.file(x, y).is_file() for x, y, _ in content["fields"]) else None


@dataclass(frozen=True)
class CutResult:
    """What was cut, or would be.

    Attributes
    ----------
    manifest, page : Path
    slides, fields : int
        Numbers of these slides and of their fields.
    tissue : float
        Area in mm2.
    classes : mapping of str to int
        Number of fields of each class; that of fields without a label under an empty name.
    failures : tuple of (str, str)
        Slides and fields that were left out, and why.
    """

    manifest: Path
    page: Path
    slides: int
    fields: int
    tissue: float
    classes: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        fields = f"{counted(self.slides, 'slide')}, {self.tissue:.3g} mm2 of tissue, {counted(self.fields, 'field')}"
        return ": ".join(filter(None, [fields, _numbers(self.classes)]))


def cut(
    sources: Many[PathInput],
    *,
    out: PathInput,
    settings: CutSettings | None = None,
    annotations: PathInput | None = None,
    patients: PathInput | None = None,
    group_from: str | None = None,
    dry_run: bool = False,
    work: Work | None = None,
) -> CutResult:
    """Cut fields out of slides. Fields that are cut already are not cut again.

    Parameters
    ----------
    sources : sequence of path
        Slides, or folders of them.
    out : path
        A folder, for ``manifest.csv``, ``overview.html``, ``fields/`` and, if anything was left out, ``failures.csv``.
        Rows of slides that were cut earlier stay in the manifest.
    settings : CutSettings, optional
    annotations, patients, group_from : optional
        See `annotations_of` and `groups_of`. Fields of slides without annotations have no label.
    dry_run : bool
        Only count, and write nothing.
    work : Work, optional
        Only `jobs`, `overwrite` and `skip_errors` are used.

    Raises
    ------
    InputError
        A slide cannot be read or is too coarse, annotations or patients do not fit, or the folder has fields of other
        settings or of another slide with the same name.
    ImageError
        A part of a slide is damaged; fields before it are kept.
    """
    settings, work = settings or CutSettings(), work or Work()
    folder, given = converted(out, "out", Path), converted(sources, "sources", tuple[Path, ...])
    outlines, table = converted(annotations, "annotations", Path | None), converted(patients, "patients", Path | None)
    slides = list_slides(given)
    groups, files = groups_of(slides, table=table, rule=group_from), annotations_of(slides, outlines)
    if files and (bare := [slide.name for slide in slides if slide.name not in files]):
        _log.warning("%s without annotations, and so without labels: %s", counted(len(bare), "slide"), few(bare))
    failures: list[tuple[str, str]] = []
    units = []
    for slide in slides:
        try:
            units.append(_unit(slide, files.get(slide.name), folder / "fields", settings, work, writes=not dry_run))
        except InputError as error:
            failures.append(_left_out(slide.name, error, skip=work.skip_errors))
    if dry_run:
        return _result(folder, _contents(units, work), failures)
    config = {
        "sources": [str(path) for path in given], "out": str(folder), "group_from": group_from,
        "annotations": outlines and str(outlines), "patients": table and str(table), **plain_options(settings, work),
    }  # fmt: skip
    fixed = {name: config[name] for name in ("field", "scale", "mpp", "jpeg")}
    into = FolderSettings(folder=folder / "fields", settings=fixed, work=("*/fields.json",))
    with record_run(folder, command="cut", config=config, work=work) as record:
        into.begin(overwrite=work.overwrite)
        contents = _contents(units, work)
        result = _result(folder, contents, failures)
        record.note(slides=result.slides, fields=result.fields, failures=len(result.failures))
        own = {unit.slide.name: unit for unit in units}
        _write_manifest(result.manifest, contents, own, groups, keep=not work.overwrite)
        _write_page(result, contents)
        if result.failures:
            write_rows(folder / "failures.csv", ["image_id", "error"], result.failures)
        else:
            remove_output(folder / "failures.csv")
    return result


def _unit(
    slide: SlideFile, outlines: Path | None, folder: Path, settings: CutSettings, work: Work, *, writes: bool
) -> SlideUnit:
    """Open a slide, and return it as a unit of work."""
    with Slide(slide.path, mpp=settings.mpp) as opened:
        scale, digest = opened.nearest(settings.scale), opened.digest
        if scale < opened.mpp:
            raise InputError(
                "{}: has {:.3g} micrometres per pixel, coarser than {scale} {}; give a larger {scale}",
                slide.path, opened.mpp, settings.scale,
            )  # fmt: skip
        side = settings.pixels * scale / opened.mpp
        places = len(positions(opened.width, opened.height, side, overlap=settings.overlap))
    content = {"slide": digest, "regions": outlines and file_sha256(outlines)}
    key = key_of("fields 1", settings=plain_options(settings), **content)
    return SlideUnit(slide, outlines, folder / slide.name, settings, places, digest, key, work.skip_errors, writes)


def _left_out(name: str, error: BchistoError, *, skip: bool) -> tuple[str, str]:
    """Return what was left out and why, or raise the error."""
    if not skip:
        raise error
    _log.warning("left out: %s", message_of(error))
    return name, str(error)


def _contents(units: Sequence[SlideUnit], work: Work) -> list[dict[str, Any]]:
    """Cut the slides that are not finished; return the lists of fields of all, in the order of their names."""
    left, made = do_missing(
        cut_slides,
        units,
        read=SlideUnit.finished,
        steps=lambda unit: max(1, unit.places),
        label="cut",
        finished="slides are cut",
        step_name="positions",
        work=work,
        resources=cpu_resources(work.jobs),
    )
    return sorted([*filter(None, left), *(content for each in made for content in each)], key=lambda one: one["name"])


def cut_slides(units: tuple[SlideUnit, ...], ticker: Ticker) -> list[dict[str, Any]]:
    """Cut slides, and return the list of fields of each."""
    contents = []
    for unit in units:
        try:
            content = _cut_slide(unit, ticker)
        except (ImageError, InputError) as error:
            failure = _left_out(unit.slide.name, error, skip=unit.skip_errors)
            content = {"name": unit.slide.name, "tissue": 0.0, "fields": [], "failures": [failure]}
        contents.append(content)
    return contents


def _cut_slide(unit: SlideUnit, ticker: Ticker) -> dict[str, Any]:
    """Choose the fields of a slide, write those that do not exist, then the list of all."""
    settings, failures, regions = unit.settings, list[tuple[str, str]](), list[Region]()
    with Slide(unit.slide.path, mpp=settings.mpp) as slide:
        scale = slide.nearest(settings.scale)
        side = settings.pixels * scale / slide.mpp
        tissue = find_tissue(slide)
        corners = positions(slide.width, slide.height, side, overlap=settings.overlap)
        corners = corners[tissue_shares(tissue, corners, side) >= settings.tissue]
        classes: list[str | None] = [""] * len(corners)
        if unit.outlines is not None:
            regions, left_out = read_regions(unit.outlines, slide)
            classes, several = field_classes(regions, corners, side, least=settings.annotated)
            _warn(unit.outlines, regions, classes, left_out, several)
        fields = [(x, y, name) for (x, y), name in zip(corners.tolist(), classes, strict=True) if name is not None]
        ticker.tick(max(1, unit.places) - len(fields))
        for x, y, _ in fields if unit.writes else ():
            try:
                _cut_field(unit, slide, x, y, scale)
            except ImageError as error:
                failures.append(_left_out(unit.file(x, y).stem, error, skip=unit.skip_errors))
            ticker.tick(kept=True)
        content = {
            "name": unit.slide.name, "digest": unit.digest, "key": unit.key, "scale": scale, "tissue": tissue.area,
            "size": (slide.width, slide.height, side), "colours": {one.label: one.colour for one in regions},
            "picture": _picture(tissue, regions), "fields": fields, "failures": failures,
        }  # fmt: skip
    if unit.writes:
        write_json(unit.listing, content)
    return content


def _warn(path: Path, regions: Sequence[Region], classes: Sequence[str | None], left_out: int, several: int) -> None:
    """Log what of the annotations gives no field."""
    without = sorted({region.label for region in regions}.difference(filter(None, classes), [""]))
    for number, text in (
        (left_out, "annotations without an area, or of a class that QuPath ignores, are left out"),
        (several, "fields that several classes cover are left out"),
        (len(without), f"classes give no field ({few(without)}): regions are smaller than fields, or without tissue"),
    ):
        if number:
            _log.warning("%s: %d %s", path, number, text)


def _cut_field(unit: SlideUnit, slide: Slide, x: int, y: int, scale: float) -> None:
    from PIL import Image

    if unit.file(x, y).is_file():
        return
    pixels = slide.read(x, y, unit.settings.pixels, unit.settings.pixels, scale)
    with atomic_output(unit.file(x, y)) as temporary:
        form = "JPEG" if unit.settings.jpeg else "PNG"
        Image.fromarray(pixels).save(temporary, format=form, quality=90, compress_level=3)


def _picture(tissue: Tissue, regions: Sequence[Region]) -> str:
    """Draw a slide with the outlines of its tissue and its regions."""
    import cv2

    drawn, width = tissue.picture.copy(), max(1, round(max(tissue.mask.shape) / _SIDE))
    outlines, _ = cv2.findContours(tissue.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _TISSUE, width)
    rings = (ring for region in regions for ring in region.rings if len(ring))
    cv2.polylines(drawn, [np.rint(ring / tissue.factor).astype(np.int32) for ring in rings], True, _REGION, width)
    return thumbnail(drawn, side=_SIDE)


def _result(folder: Path, contents: Sequence[Mapping[str, Any]], failures: Sequence[tuple[str, str]]) -> CutResult:
    failed = (*failures, *((name, text) for content in contents for name, text in content["failures"]))
    gone = {name for name, _ in failed}
    classes = [label for content in contents for _, _, label in content["fields"]]
    cut_out = [content for content in contents if content["name"] not in gone]
    if not cut_out:
        raise ImageError(f"none of the slides can be used; first: {failed[0][1]}")
    area = sum(content["tissue"] for content in contents)
    page = folder / "overview.html"
    return CutResult(folder / "manifest.csv", page, len(cut_out), len(classes), area, Counter(classes), failed)


def _numbers(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'without a label'} {count:,}" for name, count in sorted(classes.items()))


def _write_manifest(
    path: Path,
    contents: Sequence[Mapping[str, Any]],
    units: Mapping[str, SlideUnit],
    groups: Mapping[str, str],
    *,
    keep: bool,
) -> None:
    """Write a row for each field that exists, and keep those of slides that were cut earlier."""

    def rows() -> Iterator[Sequence[Any]]:
        for content in contents:
            name = content["name"]
            for x, y, label in content["fields"]:
                file = units[name].file(x, y)
                if file.is_file():
                    yield file.relative_to(path.parent), label, groups[name], name, x, y, f"{content['scale']:.6g}"

    earlier = read_rows(path) if keep and path.is_file() else ()
    kept = [[row.get(column, "") for column in _HEADER] for row in earlier if row.get("wsi") not in units]
    write_rows(path, _HEADER, [*kept, *rows()])


def _write_page(result: CutResult, contents: Sequence[Mapping[str, Any]]) -> None:
    """Write the page that shows each slide with its tissue, regions and fields, and loads nothing from elsewhere."""
    shown = [content for content in contents if content["fields"]][:_MOST]
    colours = dict(zip(sorted(result.classes), _COLOURS * len(result.classes), strict=False))
    for content in shown:
        colours |= {label: colour for label, colour in content["colours"].items() if colour}
    render_page(
        result.page,
        "cut.html",
        package=__package__,
        style="cut.css",
        script="",
        title="Fields cut out of slides",
        goal="slides",
        banners=[],
        summary=str(result),
        slides=[
            {**content, "text": _numbers(Counter(label for _, _, label in content["fields"]))} for content in shown
        ],
        colours=colours,
        left_out=len(contents) - len(shown),
        failures=result.failures[:_MOST],
    )
