"""Cut fields out of slides, with the classes of annotated regions, and write a manifest of them."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import ImageError, InputError, Many, PathInput, converted, counted, few, option, plain_options
from ...core.formats import file_sha256, read_json, read_rows
from ...core.jobs import Ticker, Work, atomic_output, cpu_resources, do_missing, key_of, write_json, write_rows
from ...core.runs import FolderSettings, record_run
from ...evaluate.report import render_page, thumbnail
from . import files
from .files import Failures, Region, SlideFile, leaving_out
from .grid import Positions, Tissue, field_classes, find_tissue, positions, tissue_shares
from .slide import Slide

_log = logging.getLogger(__name__)

_SIDE = 900
"""Longest side of a picture of the page, in pixels."""

_TISSUE, _REGION = (0, 150, 90), (28, 31, 36)
_OUTLINES = "GeoJSON of QuPath: a file, or a folder with a file named as each slide."
_HEADER = ("path", "label", "group", "wsi", "x", "y", "mpp")


@dataclass(frozen=True, kw_only=True)
class CutSettings(files.SlideSettings):
    """Which fields are cut, and how; the defaults suit the standard views of `bchisto.featurize`.

    A field of 768 um has 1,536 pixels, as many as the height of an image of BACH; half of it, 768 pixels, has room for
    crops of 650.
    """

    field: float = option(768.0, group="Input", least=10, most=20_000, help="Side of a field in micrometres.")
    scale: float = option(0.5, group="Input", least=0.02, most=20, help="Micrometres per pixel of a field.")
    overlap: float = option(0.0, group="Input", least=0, most=0.95, help="Share of a field that the next one repeats.")
    annotated: float = option(0.75, group="Input", least=0.5, most=1, help="Share that the class of a field covers.")
    annotations: Path | None = option(None, group="Input", decides=False, help=_OUTLINES)
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


class SlideUnit(NamedTuple):
    """A slide to cut, and what its fields depend on.

    Attributes
    ----------
    slide : SlideFile
    regions : sequence of Region, optional
        Its annotations; None for fields without labels.
    folder : Path
        Folder for its fields.
    settings : CutSettings
    corners : ndarray, shape (positions, 2)
        Its grid.
    content : dict
        What `CutResult` tells of the slide, apart from tissue, picture and fields; its ``digest``; and the ``key`` of
        all that decides which fields are cut.
    """

    slide: SlideFile
    regions: Sequence[Region] | None
    folder: Path
    settings: CutSettings
    corners: Positions
    content: Mapping[str, Any]

    @classmethod
    def of(cls, slide: SlideFile, outlines: Path | None, folder: Path, settings: CutSettings) -> SlideUnit:
        """Open a slide, and return it as a unit.

        Raises
        ------
        InputError
            The slide or its annotations cannot be read, or it is coarser than its fields.
        """
        with Slide(slide.path, mpp=settings.mpp) as opened:
            scale = opened.nearest(settings.scale)
            size = (opened.width, opened.height, settings.pixels * scale / opened.mpp)
            regions = None if outlines is None else files.read_regions(outlines, opened)
        drawn, options = outlines and file_sha256(outlines), plain_options(settings, deciding=True)
        key = key_of("fields 1", settings=options, slide=opened.digest, regions=drawn)
        content = {"name": slide.name, "digest": opened.digest, "key": key, "scale": scale, "size": size}
        corners = positions(*size, overlap=settings.overlap)
        return cls(slide, regions, folder / slide.name, settings, corners, content)

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
        content: dict[str, Any] = read_json(listing) if listing.is_file() else {"digest": self.content["digest"]}
        if content["digest"] != self.content["digest"]:
            text = "{}: another slide was cut into {}; give another {out}, or {overwrite}"
            raise InputError(text, self.slide.path, self.folder)
        whole = content.get("key") == self.content["key"] and not content["failures"]
        return content if whole and all(self.file(x, y).is_file() for x, y, *_ in content["fields"]) else None


class CutResult(NamedTuple):
    """What was cut, or would be.

    Attributes
    ----------
    folder : Path
        The folder of ``manifest.csv`` and ``overview.html``.
    slides : sequence of dict
        For each slide its ``name``, ``size`` (width, height and side of a field in pixels of level 0), ``scale``
        (micrometres per pixel of fields), ``tissue`` (mm2), ``picture``, and ``fields``: x, y, class and path of each.
    failures : list of (str, str)
        Slides and fields that were left out, and why.
    """

    folder: Path
    slides: Sequence[Mapping[str, Any]]
    failures: Failures

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
    slides = files.list_slides(given)
    groups = files.groups_of(slides, settings)
    outlines = files.annotations_of(slides, settings.annotations)
    failures, units = Failures(), list[SlideUnit]()
    for slide in slides:
        with leaving_out(slide.name, failures, skip=work.skip_errors):
            units.append(SlideUnit.of(slide, outlines.get(slide.name), folder / "fields", settings))
    config = {"sources": [str(path) for path in given], "out": str(folder), **plain_options(settings, work)}
    fixed = {name: config[name] for name in ("field", "scale", "mpp", "jpeg")}
    into = FolderSettings(folder=folder / "fields", settings=fixed, work=("*/*",))
    writing = contextlib.nullcontext() if dry_run else record_run(folder, command="cut", config=config, work=work)
    with writing as record:
        if record is not None:
            into.begin(overwrite=work.overwrite)
        before, made = do_missing(
            functools.partial(cut_slide, skip=work.skip_errors, writes=record is not None),
            units,
            read=lambda unit: None if record is None else unit.finished(),
            steps=lambda unit: len(unit.corners) + 1,
            label="cut",
            finished="slides are cut",
            step_name="positions",
            work=work,
            resources=cpu_resources(work.jobs),
        )
        contents = [*filter(None, before), *made]
        failures += [(name, text) for content in contents for name, text in content["failures"]]
        finished = sorted((content for content in contents if "picture" in content), key=lambda slide: slide["name"])
        if not finished:
            raise ImageError(f"none of the slides can be used; first: {failures[0][1]}")
        result = CutResult(folder, finished, failures)
        if record is not None:
            _write_manifest(result, groups)
            page = folder / "overview.html"
            render_page(page, "cut.html", package=__package__, style="cut.css", script="", result=result)
            record.note(slides=len(result.slides), fields=dict(result.classes), failures=len(failures))
    return result


def cut_slide(units: tuple[SlideUnit], ticker: Ticker, *, skip: bool, writes: bool) -> dict[str, Any]:
    """Cut a slide: choose fields, write those that do not exist, then the list of all, which is returned.

    Parameters
    ----------
    units : tuple of SlideUnit
        The slide.
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
    from PIL import Image

    (unit,), failures = units, Failures()
    settings, regions = unit.settings, unit.regions or ()
    content: dict[str, Any] = {**unit.content, "fields": [], "failures": failures}
    scale, side = content["scale"], content["size"][2]
    with leaving_out(unit.slide.name, failures, skip=skip), Slide(unit.slide.path, mpp=settings.mpp) as slide:
        tissue = find_tissue(slide)
        corners = unit.corners[tissue_shares(tissue, unit.corners, side) >= settings.tissue]
        classes: Sequence[str | None] = [""] * len(corners)
        if unit.regions is not None:
            classes = field_classes(regions, corners, side, least=settings.annotated)
            if without := {region.label for region in regions}.difference(filter(None, classes), [""]):
                _log.warning("%s: regions of %s give no field: small, or no tissue", slide.path, few(sorted(without)))
        chosen = [(x, y, name) for (x, y), name in zip(corners.tolist(), classes, strict=True) if name is not None]
        ticker.tick(len(unit.corners) + 1 - len(chosen))
        for x, y, name in chosen:
            file = unit.file(x, y)
            with leaving_out(file.stem, failures, skip=skip):
                if writes and not file.is_file():
                    pixels = slide.read(x, y, settings.pixels, settings.pixels, scale)
                    with atomic_output(file) as temporary:
                        form = "JPEG" if settings.jpeg else "PNG"
                        Image.fromarray(pixels).save(temporary, format=form, quality=90, compress_level=3)
                content["fields"].append((x, y, name, f"fields/{unit.slide.name}/{file.name}"))
            ticker.tick(kept=True)
        content |= {"tissue": tissue.area, "picture": _picture(tissue, regions)}
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
    files.write_failures(result.folder, result.failures)
