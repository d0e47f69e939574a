"""Cut fields out of slides, with the classes of annotated regions, and write a manifest of them."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import ImageError, InputError, Many, PathInput, Settings, converted, counted, few, option, plain_options
from ...core.formats import file_sha256, read_json, read_rows
from ...core.jobs import Ticker, Work, atomic_output, cpu_resources, do_missing, key_of, write_json, write_rows
from ...core.runs import FolderSettings, record_run
from ...evaluate.report import render_page, thumbnail
from .annotations import Region, read_regions
from .files import SlideFile, annotations_of, groups_of, list_slides
from .grid import Positions, field_classes, positions, tissue_shares
from .slide import Slide
from .tissue import Tissue, find_tissue

_log = logging.getLogger(__name__)

_SIDE = 900
"""Longest side of a picture of the page, in pixels."""

_TISSUE, _REGION = (0, 150, 90), (28, 31, 36)
_MPP = "Micrometres per pixel of slides that do not state them."
_OUTLINES = "GeoJSON of QuPath: a file, or a folder with a file named as each slide."
_RULE = "Patient by the path of a slide: a level of folders, or a regular expression, as in featurize."
_HEADER = ("path", "label", "group", "wsi", "x", "y", "mpp")


@dataclass(frozen=True, kw_only=True)
class CutSettings(Settings):
    """Which fields are cut, and how; the defaults suit the standard views of `bchisto.featurize`.

    A field of 768 um has 1,536 pixels, as many as the height of an image of BACH; half of it, 768 pixels, has room for
    crops of 650.
    """

    field: float = option(768.0, group="Input", least=10, most=20_000, help="Side of a field in micrometres.")
    scale: float = option(0.5, group="Input", least=0.02, most=20, help="Micrometres per pixel of a field.")
    overlap: float = option(0.0, group="Input", least=0, most=0.95, help="Share of a field that the next one repeats.")
    tissue: float = option(0.5, group="Input", least=0, most=1, help="Share of tissue that a field needs.")
    annotated: float = option(0.75, group="Input", least=0.5, most=1, help="Share that the class of a field covers.")
    mpp: float | None = option(None, group="Input", least=0.02, most=20, help=_MPP)
    annotations: Path | None = option(None, group="Input", decides=False, help=_OUTLINES)
    patients: Path | None = option(None, group="Input", decides=False, help="Table with columns slide and patient.")
    group_from: str | None = option(None, group="Input", metavar="LEVEL|PATTERN", decides=False, help=_RULE)
    jpeg: bool = option(False, group="Output", help="Write JPEG of quality 90 in place of PNG.")

    def __post_init__(self) -> None:
        """Refuse fields of too many or too few pixels."""
        super().__post_init__()
        if not 32 <= self.pixels <= 9000:
            raise InputError("{field} and {scale}: fields of {} pixels; give 32 to 9,000 pixels", self.pixels)

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
    regions : sequence of Region, optional
        Its annotations; None for fields without labels.
    folder : Path
        Folder for its fields.
    settings : CutSettings
    scale : float
        Micrometres per pixel of its fields.
    side : float
        That of a field, pixels of level 0.
    corners : ndarray, shape (positions, 2)
        Its grid.
    digest, key : str
        Of the slide, and of all that decides which fields are cut.
    """

    slide: SlideFile
    regions: Sequence[Region] | None
    folder: Path
    settings: CutSettings
    scale: float
    side: float
    corners: Positions
    digest: str
    key: str

    @classmethod
    def of(cls, slide: SlideFile, outlines: Path | None, folder: Path, settings: CutSettings) -> SlideUnit:
        """Open a slide, and return it as a unit.

        Raises
        ------
        InputError
            The slide or its annotations cannot be read, or it is coarser than its fields.
        """
        with Slide(slide.path, mpp=settings.mpp) as opened:
            scale, digest = opened.nearest(settings.scale), opened.digest
            side = settings.pixels * scale / opened.mpp
            corners = positions(opened.width, opened.height, side, overlap=settings.overlap)
            regions = None if outlines is None else read_regions(outlines, opened)
        drawn, options = outlines and file_sha256(outlines), plain_options(settings, deciding=True)
        key = key_of("fields 1", settings=options, slide=digest, regions=drawn)
        return cls(slide, regions, folder / slide.name, settings, scale, side, corners, digest, key)

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
        listing = self.folder / "fields.json"
        content: dict[str, Any] = read_json(listing) if listing.is_file() else {"digest": self.digest}
        if content["digest"] != self.digest:
            text = "{}: another slide was cut into {}; give another {out}, or {overwrite}"
            raise InputError(text, self.slide.path, self.folder)
        whole = content.get("key") == self.key and not content["failures"]
        return content if whole and all(self.file(x, y).is_file() for x, y, *_ in content["fields"]) else None


@dataclass(frozen=True)
class CutResult:
    """What was cut, or would be.

    Attributes
    ----------
    folder : Path
        The folder of ``manifest.csv`` and ``overview.html``.
    slides : sequence of dict
        For each slide its ``name``, ``size`` (width, height and side of a field in pixels of level 0), ``scale``
        (micrometres per pixel of fields), ``tissue`` (mm2), ``picture``, and ``fields``: x, y, class and path of each.
    failures : sequence of (str, str)
        Slides and fields that were left out, and why.
    """

    folder: Path
    slides: Sequence[Mapping[str, Any]]
    failures: Sequence[tuple[str, str]]

    @property
    def classes(self) -> Mapping[str, int]:
        """Number of fields of each class; that of fields without a label under an empty name."""
        return Counter(label for slide in self.slides for _, _, label, _ in slide["fields"])

    def __str__(self) -> str:
        counts = ", ".join(f"{name or 'without a label'} {count:,}" for name, count in sorted(self.classes.items()))
        area, fields = sum(slide["tissue"] for slide in self.slides), counted(sum(self.classes.values()), "field")
        return f"{counted(len(self.slides), 'slide')}, {area:.3g} mm2 of tissue, {fields}: {counts or 'none'}"


def cut(
    sources: Many[PathInput],
    *,
    out: PathInput,
    settings: CutSettings | None = None,
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
        For annotations and patients, see `annotations_of` and `groups_of`.
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
    slides = list_slides(given)
    groups = groups_of(slides, table=settings.patients, rule=settings.group_from)
    outlines = annotations_of(slides, settings.annotations)
    failures: list[tuple[str, str]] = []
    units = []
    for slide in slides:
        with _leaving_out(slide.name, failures, skip=work.skip_errors):
            units.append(SlideUnit.of(slide, outlines.get(slide.name), folder / "fields", settings))
    if dry_run:
        return _cut(units, folder, failures, work, writes=False)
    config = {"sources": [str(path) for path in given], "out": str(folder), **plain_options(settings, work)}
    fixed = {name: config[name] for name in ("field", "scale", "mpp", "jpeg")}
    into = FolderSettings(folder=folder / "fields", settings=fixed, work=("*/*",))
    with record_run(folder, command="cut", config=config, work=work) as record:
        into.begin(overwrite=work.overwrite)
        result = _cut(units, folder, failures, work, writes=True)
        _write_manifest(result, groups)
        page = folder / "overview.html"
        render_page(page, "cut.html", package=__package__, style="cut.css", script="", result=result)
        record.note(slides=len(result.slides), fields=dict(result.classes), failures=len(failures))
    return result


@contextlib.contextmanager
def _leaving_out(name: str, failures: list[tuple[str, str]], *, skip: bool) -> Iterator[None]:
    """Add what cannot be used to the failures, or raise its error."""
    try:
        yield
    except (InputError, ImageError) as error:
        if not skip:
            raise
        _log.warning("left out: %s", error.args[0])
        failures.append((name, str(error)))


def _cut(
    units: Sequence[SlideUnit], folder: Path, failures: list[tuple[str, str]], work: Work, *, writes: bool
) -> CutResult:
    """Cut the slides that are not finished, and return all; add to the failures."""
    left, made = do_missing(
        functools.partial(cut_slides, skip=work.skip_errors, writes=writes),
        units,
        read=lambda unit: unit.finished() if writes else None,
        steps=lambda unit: len(unit.corners) + 1,
        label="cut",
        finished="slides are cut",
        step_name="positions",
        work=work,
        resources=cpu_resources(work.jobs),
    )
    contents = [*filter(None, left), *(content for each in made for content in each)]
    failures += [(name, text) for content in contents for name, text in content["failures"]]
    slides = [content for content in contents if "key" in content]
    if not slides:
        raise ImageError(f"none of the slides can be used; first: {failures[0][1]}")
    return CutResult(folder, sorted(slides, key=lambda slide: str(slide["name"])), failures)


def cut_slides(units: tuple[SlideUnit, ...], ticker: Ticker, *, skip: bool, writes: bool) -> list[dict[str, Any]]:
    """Cut slides: for each, choose fields, write those that do not exist, then the list of all, which is returned.

    Parameters
    ----------
    units : tuple of SlideUnit
    ticker : Ticker
    skip : bool
        Leave out what is damaged.
    writes : bool
        Write fields and lists.

    Raises
    ------
    InputError, ImageError
        See `cut`.
    """
    return [_cut_slide(unit, ticker, skip=skip, writes=writes) for unit in units]


def _cut_slide(unit: SlideUnit, ticker: Ticker, *, skip: bool, writes: bool) -> dict[str, Any]:
    from PIL import Image

    settings, regions, failures = unit.settings, unit.regions or (), list[tuple[str, str]]()
    content: dict[str, Any] = {"name": unit.slide.name, "fields": [], "failures": failures}
    with _leaving_out(unit.slide.name, failures, skip=skip), Slide(unit.slide.path, mpp=settings.mpp) as slide:
        tissue = find_tissue(slide)
        corners = unit.corners[tissue_shares(tissue, unit.corners, unit.side) >= settings.tissue]
        classes: Sequence[str | None] = [""] * len(corners)
        if unit.regions is not None:
            classes = field_classes(regions, corners, unit.side, least=settings.annotated)
            if without := {region.label for region in regions}.difference(filter(None, classes), [""]):
                text = "%s: regions of %s give no field; they are smaller than fields, or without tissue"
                _log.warning(text, slide.path, few(sorted(without)))
        chosen = [(x, y, name) for (x, y), name in zip(corners.tolist(), classes, strict=True) if name is not None]
        ticker.tick(len(unit.corners) + 1 - len(chosen))
        for x, y, name in chosen:
            file = unit.file(x, y)
            with _leaving_out(file.stem, failures, skip=skip):
                if writes and not file.is_file():
                    pixels = slide.read(x, y, settings.pixels, settings.pixels, unit.scale)
                    with atomic_output(file) as temporary:
                        form = "JPEG" if settings.jpeg else "PNG"
                        Image.fromarray(pixels).save(temporary, format=form, quality=90, compress_level=3)
                content["fields"].append((x, y, name, f"fields/{unit.slide.name}/{file.name}"))
            ticker.tick(kept=True)
        content |= {
            "digest": unit.digest, "key": unit.key, "scale": unit.scale, "tissue": tissue.area,
            "size": (slide.width, slide.height, unit.side), "picture": _picture(tissue, regions),
        }  # fmt: skip
        if writes:
            write_json(unit.folder / "fields.json", content)
    return content


def _picture(tissue: Tissue, regions: Sequence[Region]) -> str:
    """Draw a slide with the outlines of its tissue and its regions."""
    import cv2

    drawn, width = tissue.picture.copy(), max(1, round(max(tissue.mask.shape) / _SIDE))
    outlines, _ = cv2.findContours(tissue.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _TISSUE, width)
    rings = [np.rint(ring / tissue.factor).astype(np.int32) for region in regions for ring in region.rings]
    cv2.polylines(drawn, rings, True, _REGION, width)
    return thumbnail(drawn, side=_SIDE)


def _write_manifest(result: CutResult, groups: Mapping[str, str]) -> None:
    """Write a row for each field; of earlier ones keep those of other slides, and labels that a person filled in."""
    path = result.folder / "manifest.csv"
    rows_before = read_rows(path) if path.is_file() else ()
    earlier = {row["path"]: row for row in rows_before if (result.folder / row.get("path", "")).is_file()}
    rows = [[row.get(name, "") for name in _HEADER] for row in earlier.values() if row.get("wsi") not in groups]
    for slide in result.slides:
        for x, y, label, file in slide["fields"]:
            label = label or earlier.get(file, {}).get("label", "")
            rows.append([file, label, groups[slide["name"]], slide["name"], x, y, f"{slide['scale']:.6g}"])
    write_rows(path, _HEADER, rows)
    (result.folder / "failures.csv").unlink(missing_ok=True)
    if result.failures:
        write_rows(result.folder / "failures.csv", ["image_id", "error"], result.failures)
