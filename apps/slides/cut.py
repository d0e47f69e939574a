"""Cut fields out of slides, with the classes of annotated regions, and write a manifest of them."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import (
    Content,
    Entries,
    ImageError,
    InputError,
    Many,
    Message,
    OptionalPath,
    PathInput,
    converted,
    counted,
    few,
    option,
    plain_options,
    plain_value,
)
from ...core.formats import file_sha256, read_csv, read_json, read_rows
from ...core.jobs import (
    Computation,
    Ticker,
    Work,
    compute,
    key_of,
    set_aside,
    write_json,
    write_or_remove,
    write_rows,
)
from ...core.runs import FolderSettings, only_run, record_run
from ...evaluate.report import render_page, thumbnail
from ..explain import write_image
from .files import Failures, SlideFile, SlideSettings, groups_of, leaving_out, write_failures
from .regions import (
    Annotation,
    Positions,
    annotations_of,
    covering_classes,
    positions,
    read_annotations,
)
from .slide import Slide
from .tissue import Areas, Tissue, find_tissue, given_slides, report_ink, tissue_shares

_log = logging.getLogger(__name__)

_SIDE = 900
"""Longest side of a picture of the page, in pixels."""

_TISSUE_COLOUR = (0, 150, 90)
_ANNOTATION_COLOUR = (28, 31, 36)
_OUTLINES = (
    "Regions of QuPath, ASAP or ImageScope: a file, or a folder with a file named as each slide."
)


@dataclass(frozen=True, kw_only=True)
class CutSettings(SlideSettings):
    """Which fields are cut, and how; the defaults suit the standard views of `bchisto.featurize`.

    A field of 768 um has 1,536 pixels, as many as the height of an image of BACH; half of it, 768 pixels, has room for
    crops of 650.
    """

    field: float = option(
        768.0, group="Input", least=10, most=20_000, help="Side of a field in micrometres."
    )
    scale: float = option(
        0.5, group="Input", least=0.02, most=20, help="Micrometres per pixel of a field."
    )
    overlap: float = option(
        0.0, group="Input", least=0, most=0.95, help="Share of a field that the next one repeats."
    )
    annotated: float = option(
        0.75, group="Input", least=0.5, most=1, help="Share that the class of a field covers."
    )
    annotations: OptionalPath = option(None, group="Input", decides=False, help=_OUTLINES)
    jpeg: bool = option(False, group="Output", help="Write JPEG of quality 90 in place of PNG.")

    def __post_init__(self) -> None:
        """Refuse fields of too many or too few pixels."""
        super().__post_init__()
        if not 32 <= self.pixels <= 9000:
            raise InputError(
                "{field} and {scale}: fields of {} pixels; give 32 to 9,000 pixels", self.pixels
            )

    @property
    def pixels(self) -> int:
        """Side of a field in pixels."""
        return round(self.field / self.scale)


class Row(NamedTuple):
    """A row of the manifest; ``drawn`` is the label by the regions: a different ``label`` was written by a person."""

    path: str
    label: str
    group: str
    wsi: str
    x: object
    y: object
    mpp: str
    drawn: str


class SlideUnit(NamedTuple):
    """A slide to cut, and what its fields depend on.

    Attributes
    ----------
    slide : SlideFile
    annotations : sequence of Annotation, optional
        None for fields without labels.
    folder : Path
        Folder for its fields.
    settings : CutSettings
    corners : ndarray, shape (positions, 2)
        Its grid.
    content : dict
        The entries of the slide that `CutResult` lists, without tissue, picture and fields; its ``digest``; and the
        ``key`` of all that decides which fields are cut.
    """

    slide: SlideFile
    annotations: Sequence[Annotation] | None
    folder: Path
    settings: CutSettings
    corners: Positions
    content: Entries


class CutResult(NamedTuple):
    """What was cut, or would be.

    Attributes
    ----------
    folder : Path
        The folder of ``manifest.csv`` and ``overview.html``.
    slides : sequence of dict
        For each slide its ``name``, ``size`` (width, height and side of a field in pixels of level 0), ``scale``
        (micrometres per pixel of fields), ``tissue``, ``stained`` and ``ink`` (mm2, see `Tissue`), ``picture``,
        ``group``, and ``fields``: of each the corner, ``x`` and ``y`` in pixels of level 0, its ``label`` and the
        ``path`` of its file.
    failures : list of (str, str)
        Slides and fields that were left out, and why.
    """

    folder: Path
    slides: Sequence[Content]
    failures: Failures

    @property
    def classes(self) -> Mapping[str, int]:
        """Number of fields of each class; that of fields without a label under an empty name."""
        return Counter(cut["label"] for slide in self.slides for cut in slide["fields"])

    def __str__(self) -> str:
        slides = counted(len(self.slides), "slide")
        patients = counted(len({slide["group"] for slide in self.slides}), "patient")
        area = sum(slide["tissue"] for slide in self.slides)
        fields = counted(sum(self.classes.values()), "field")
        counts = [
            f"{name or 'without a label'} {count:,}" for name, count in sorted(self.classes.items())
        ]
        classes = ", ".join(counts) or "none"
        return f"{slides} of {patients}, {area:.3g} mm2 of tissue, {fields}: {classes}"


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
        Rows of slides that were cut earlier stay in the manifest, and so do labels that a person wrote there.
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
        settings, of another slide with the same name, or of the same slide with another name.
    ImageError
        A part of a slide is damaged; fields before it are kept.
    UnderWayError
        Another command works in the folder.
    """
    settings = CutSettings.of(settings)
    # there are no shards or checks of slides
    work = replace(Work.of(work), checks=False, shard=None, dask=None)
    folder = converted(out, "out", Path)
    paths = converted(sources, "sources", tuple[Path, ...])
    slides = given_slides(paths, settings)
    groups = groups_of(slides, settings)
    outlines = annotations_of(slides, settings.annotations)
    config = {
        "sources": plain_value(paths),
        "out": str(folder),
        **plain_options(settings, work),
    }
    fields = Fields(folder, settings, groups, work, writes=not dry_run)
    fields.open(slides, outlines)
    if dry_run:
        return fields.cut()
    with (
        only_run(folder, work),
        record_run(folder, command="cut", config=config, work=work) as record,
    ):
        result = fields.cut()
        record.note(
            slides=len(result.slides), fields=dict(result.classes), failures=len(result.failures)
        )
    return result


@dataclass
class Fields(Computation[SlideUnit, Content, Content, CutResult]):
    """Fields of slides, with their manifest; a unit is a slide.

    Its values change only in these calls, in this order:

    1. `open` fills `slides` and `failures`, before anything is recorded or written;
    2. `cut` runs the `Computation`. Its `check` compares the slides with `earlier`, and takes those that do not fit out
       of `slides`; instead, if all is cut anew, `discard` clears `keeps`, and `earlier`, which nothing has read yet, is
       empty;
    3. `read` finds finished slides in `earlier`, and `do` cuts the others, which changes nothing here;
    4. `write` adds what could not be cut to `failures`.

    A dry run takes the same steps, so that it counts what would be cut. It asks `writes` only where something would be
    written or set aside, or refused since the folder has fields of other settings.

    Attributes
    ----------
    into : Path
        The folder of the outputs.
    settings : CutSettings
    patients : dict of str to str
        Patient by the name of the slide.
    work : Work
    writes : bool
        Whether fields and the manifest are written, and not only counted.
    slides : list of SlideUnit
        Slides that can be used.
    failures : list of (str, str)
        Slides and fields that cannot be used, and why.
    keeps : bool
        Whether what earlier runs cut is kept, and what a person wrote into the manifest.
    """

    into: Path
    settings: CutSettings
    patients: Mapping[str, str]
    work: Work
    writes: bool
    slides: list[SlideUnit] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)
    keeps: bool = True

    label = "cut"
    unit = "slides"
    step_name = "positions"
    finished_clause = "slides are cut"

    def open(self, slides: Sequence[SlideFile], outlines: Mapping[str, Path]) -> None:
        """Open the slides and their annotations: fill `slides`, and `failures` if errors are skipped.

        Raises
        ------
        InputError
            See `cut`.
        """
        names: dict[str, str] = {}
        for slide in slides:
            with leaving_out(slide.name, self.failures, skip=self.skip_errors):
                unit = self._unit(slide, outlines.get(slide.name))
                # here, since `check` is not called if all is cut anew
                _check_name(unit, names)
                self.slides.append(unit)

    def _unit(self, slide: SlideFile, outlines: Path | None) -> SlideUnit:
        """Open a slide, and return it as a unit.

        Raises
        ------
        InputError
            The slide or its annotations cannot be read, or it is coarser than its fields.
        """
        settings = self.settings
        with slide.open() as image:
            digest = image.digest
            scale = image.nearest(settings.scale)
            size = (image.width, image.height, settings.pixels * scale / image.mpp)
            annotations = None
            regions_sha256 = None
            if outlines is not None:
                regions = read_annotations(outlines, image)
                annotations = [region for region in regions if not region.is_bare_region]
                regions_sha256 = file_sha256(outlines)
        content = {
            "name": slide.name,
            "digest": digest,
            "key": key_of(
                "fields 4",
                settings=plain_options(settings, deciding=True),
                slide=digest,
                regions=regions_sha256,
                tissue=slide.mask and file_sha256(slide.mask),
            ),
            "scale": scale,
            "size": [*size],
        }
        corners = positions(*size, overlap=settings.overlap)
        folder = self.into / "fields" / slide.name
        return SlideUnit(slide, annotations, folder, settings, corners, content)

    def cut(self) -> CutResult:
        """Cut the fields, and write the outputs."""
        result = compute(self).result
        assert result is not None  # it is None only of a shard or a check
        return result

    @functools.cached_property
    def earlier(self) -> dict[str, Content]:
        """What earlier runs cut, by the name of the slide; read once, after `discard` if that is called."""
        if not self.keeps:
            return {}
        return {
            path.parent.name: read_json(path) for path in self.into.glob("fields/*/fields.json")
        }

    @functools.cached_property
    def fields_folder(self) -> FolderSettings:
        """The folder of the fields."""
        settings = {
            name: getattr(self.settings, name) for name in ("field", "scale", "mpp", "jpeg")
        }
        return FolderSettings(folder=self.into / "fields", settings=settings, work=("*/*",))

    def check(self) -> None:
        """Refuse fields of other settings, and slides that have the name of another that was cut earlier.

        If errors are skipped, such slides are taken out of `slides`.
        """
        if self.writes:
            self.fields_folder.check()
        names = {content["digest"]: name for name, content in self.earlier.items()}
        slides = []
        for unit in self.slides:
            with leaving_out(unit.slide.name, self.failures, skip=self.skip_errors):
                content = unit.content
                previous = self.earlier.get(unit.slide.name, content)
                if previous["digest"] != content["digest"]:
                    raise InputError(
                        "{}: another slide was cut into {}; give another {out}",
                        unit.slide.path,
                        unit.folder,
                    )
                if self.writes and any(
                    previous[name] != content[name] for name in ("scale", "size")
                ):
                    text = "{}: its fields were cut by other micrometres per pixel; give another {out}, or {overwrite}"
                    raise InputError(text, unit.slide.path)
                _check_name(unit, names)
                slides.append(unit)
        self.slides = slides

    def discard(self) -> None:
        """Set aside the fields; a dry run only ignores them. Called before `earlier` is read."""
        self.keeps = False
        if self.writes:
            set_aside(self.fields_folder.folder)

    def begin(self) -> None:
        """Write the settings of the folder of fields."""
        if self.writes:
            self.fields_folder.begin()

    def units(self, *, merges: bool) -> Sequence[SlideUnit]:
        """Return the slides."""
        return self.slides

    def read(self, unit: SlideUnit) -> Content | None:
        """Return what was cut of a slide if all its fields are there."""
        content = self.earlier.get(unit.slide.name, {})
        if content.get("key") != unit.content["key"] or content["failures"]:
            return None
        if not all((self.into / cut["path"]).is_file() for cut in content["fields"]):
            return None
        return content

    @property
    def do(self) -> Callable[[tuple[SlideUnit, ...], Ticker], Content]:
        """Cuts a slide."""
        return functools.partial(cut_slide, skip=self.skip_errors, writes=self.writes)

    def steps(self, unit: SlideUnit) -> int:
        """Return the number of positions, and a step for the tissue."""
        return len(unit.corners) + 1

    def write(self, kept: Sequence[Content | None], made: Sequence[Content]) -> CutResult:
        """Write the manifest, the page, and the list of what was left out.

        Raises
        ------
        ImageError
            None of the slides can be used.
        """
        contents = [*filter(None, kept), *made]
        for content in contents:
            self.failures += content["failures"]
        cuts = sorted(
            (content for content in contents if "picture" in content),
            key=lambda content: content["name"],
        )
        if not cuts:
            raise ImageError("none of the slides can be used; first: {}", self.failures[0][1])
        table = self.into / "manifest.csv"
        old_rows, typed_labels = self._read_manifest(table)
        rows, slides = self._joined(old_rows, typed_labels, cuts)
        present_paths = {row.path for row in rows}
        rest = [(path, label) for path, label in typed_labels.items() if path not in present_paths]
        self._report(len(typed_labels) - len(rest), len(rest), slides)
        report_ink(
            {slide["name"]: Areas(*(slide[name] for name in Areas._fields)) for slide in cuts}
        )
        result = CutResult(self.into, slides, self.failures)
        if self.writes:
            # a kill between the two files loses no label
            write_or_remove(self._unused, ("path", "label"), typed_labels.items())
            write_rows(table, Row._fields, rows)
            write_or_remove(self._unused, ("path", "label"), rest)
            write_failures(self.into, self.failures)
            render_page(
                self.into / "overview.html",
                "cut.html",
                package=__package__,
                style="cut.css",
                script="",
                result=result,
            )
        return result

    def _report(self, kept: int, unused: int, shown: Sequence[Content]) -> None:
        """Print how many labels of a person are kept and not used, and name slides without a field."""
        if kept:
            _log.info("manifest.csv keeps what a person wrote there: %s", counted(kept, "label"))
        if unused:
            text = "%s of fields that are no longer cut: kept in %s until they are cut again"
            _log.warning(text, counted(unused, "label"), self._unused)
        names = [slide["name"] for slide in shown if not slide["fields"]]
        if names:
            text = "%s without a field, and so without a row: %s"
            _log.warning(text, counted(len(names), "slide"), few(names))

    @property
    def _unused(self) -> Path:
        """The file of labels that a person wrote, of fields that are no longer cut."""
        return self.into / "unused-labels.csv"

    def _read_manifest(self, table: Path) -> tuple[list[Row], dict[str, str]]:
        """Return the rows of an earlier manifest, and the labels that a person wrote, by the path of the field."""
        if not self.keeps:
            return [], {}
        rows: list[Row] = []
        typed_labels = {row["path"]: row["label"] for row in read_rows(self._unused)}
        if table.is_file():
            csv_table = read_csv(table, needed=Row._fields[:2], expected="path,label")
            rows += (Row(*(row.get(name, "") for name in Row._fields)) for _, row in csv_table.rows)
        return rows, typed_labels | {row.path: row.label for row in rows if row.label != row.drawn}

    def _joined(
        self, earlier: Sequence[Row], typed: Mapping[str, str], contents: Sequence[Content]
    ) -> tuple[list[Row], list[Content]]:
        """Return the rows of the manifest, and the slides that were cut, with their patients and the labels in use."""
        names = {content["name"] for content in contents}
        # rows of other slides stay if their fields exist
        rows = [row for row in earlier if row.wsi not in names and (self.into / row.path).is_file()]
        slides = []
        for content in contents:
            name = content["name"]
            patient = self.patients[name]
            mpp = f"{content['scale']:.6g}"
            fields = []
            for cut in content["fields"]:
                label = cut["label"]
                shown_field = {**cut, "label": typed.get(cut["path"], label)}
                fields.append(shown_field)
                rows.append(Row(**shown_field, group=patient, wsi=name, mpp=mpp, drawn=label))
            slides.append({**content, "group": patient, "fields": fields})
        return rows, slides


def _check_name(unit: SlideUnit, names: dict[str, str]) -> None:
    """Refuse a slide that has another name already, and add its name to `names`, by the digests of slides.

    Raises
    ------
    InputError
    """
    name = names.setdefault(unit.content["digest"], unit.slide.name)
    if name != unit.slide.name:
        raise InputError(
            "{}: the same slide as {}; give it once, or another {out}", unit.slide.path, name
        )


def cut_slide(units: tuple[SlideUnit, ...], ticker: Ticker, *, skip: bool, writes: bool) -> Content:
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
    (unit,) = units
    side = unit.settings.pixels
    kind = "PNG"
    suffix = "png"
    if unit.settings.jpeg:
        kind = "JPEG"
        suffix = "jpg"
    failures = Failures()
    content = {**unit.content, "fields": [], "failures": failures}
    listing = unit.folder / "fields.json"
    if writes:
        # tells which slide the fields are of, if the process dies before all are written
        write_json(listing, {**content, "key": ""})
    with (
        leaving_out(unit.slide.name, failures, skip=skip),
        Slide(unit.slide.path, mpp=unit.slide.mpp) as slide,
    ):
        tissue = find_tissue(slide, unit.slide.mask)
        fields = _choose_fields(unit, tissue)
        ticker.tick(len(unit.corners) + 1 - len(fields))
        for x, y, label in fields:
            file = unit.folder / f"{unit.slide.name}_{x}_{y}.{suffix}"
            with leaving_out(file.stem, failures, skip=skip):
                if writes and not file.is_file():
                    write_image(file, slide.read(x, y, side, side, content["scale"]), kind)
                path = f"fields/{unit.slide.name}/{file.name}"
                content["fields"].append({"x": x, "y": y, "label": label, "path": path})
            ticker.tick(kept=True)
        content |= tissue.areas._asdict()
        content["picture"] = _picture(tissue, unit.annotations or ())
        if writes:
            write_json(listing, content)
    return content


def _choose_fields(unit: SlideUnit, tissue: Tissue) -> list[tuple[int, int, str]]:
    """Return x, y and label of the fields with enough tissue and of one class; report the others."""
    settings = unit.settings
    side = unit.content["size"][2]
    corners = unit.corners[tissue_shares(tissue, unit.corners, side) >= settings.tissue]
    field_classes: list[tuple[str, ...]] = [("",)] * len(corners)
    if unit.annotations is not None:
        field_classes = covering_classes(unit.annotations, corners, side, least=settings.annotated)
    fields = [
        (x, y, classes[0])
        for (x, y), classes in zip(corners.tolist(), field_classes, strict=True)
        if len(classes) == 1
    ]
    if unit.annotations is not None and len(fields) < max(1, len(corners)):
        _report_regions(unit, field_classes)
    return fields


def _report_regions(unit: SlideUnit, covering: Sequence[tuple[str, ...]]) -> None:
    """Print how many fields are in the regions of each class, and which classes overlap."""
    settings = unit.settings
    regions = unit.annotations or ()
    labels = {region.label for region in regions if not region.is_ignored}
    counts = {label: covering.count((label,)) for label in sorted(labels)}
    count_text = few(f"{count} {label or 'unnamed'}" for label, count in counts.items()) or "0"
    level = logging.INFO if any(counts.values()) else logging.WARNING
    text = "{}: fields with enough tissue ({tissue:{}} of {field}): {}; in regions ({annotated:{}}): {}"
    values = (settings.tissue, len(covering), settings.annotated, count_text)
    _log.log(level, Message(text, unit.slide.path, *values))
    overlaps = Counter(" and ".join(classes) for classes in covering if len(classes) > 1)
    if overlaps:
        text = (
            "%s: %s left out, in several classes: %s; subtract one class from the other in QuPath"
        )
        pairs = few(f"{number} {names}" for names, number in sorted(overlaps.items()))
        _log.warning(text, unit.slide.path, counted(overlaps.total(), "field"), pairs)


def _picture(tissue: Tissue, annotations: Sequence[Annotation]) -> str:
    """Draw a slide with the outlines of its tissue and its annotations."""
    import cv2
    import shapely

    picture = tissue.picture.copy()
    width = max(1, round(max(tissue.mask.shape) / _SIDE))
    outlines, _ = cv2.findContours(
        tissue.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(picture, outlines, -1, _TISSUE_COLOUR, width)
    rings = [
        np.rint(shapely.get_coordinates(ring) / tissue.factor).astype(np.int32)
        for annotation in annotations
        for ring in shapely.get_rings(shapely.get_parts(annotation.area))
    ]
    cv2.polylines(picture, rings, True, _ANNOTATION_COLOUR, width)
    return thumbnail(picture, side=_SIDE)
