"""The slides that a command takes: files and folders, a name for each, and its patient."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from ...core import (
    ImageError,
    InputError,
    Message,
    OptionalPath,
    Settings,
    by_key,
    counted,
    few,
    message_of,
    option,
    readable_name,
    written,
)
from ...core.formats import (
    DICOM_SUFFIXES,
    IMAGE,
    MPP,
    PATIENT,
    SLIDE_SUFFIXES,
    CsvTable,
    Role,
    read_csv,
    slide_instance,
)
from ...core.jobs import write_or_remove
from ...data import NO_GROUPS, Finding, PathRule, match_names, spacing_of
from .slide import ALIKE, TIFF_SUFFIXES, Slide

_log = logging.getLogger(__name__)

Failures = list[tuple[str, str]]

_RULE = "Patient by the path inside a folder, or the name of a file: a level, a regular expression, or none."

_MASKS = "Outlines of the tissue (GeoJSON): a file, or a folder with a file named as each slide."

_SUFFIXES = SLIDE_SUFFIXES | DICOM_SUFFIXES | TIFF_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class SlideSettings(Settings):
    """Settings of every command on slides."""

    tissue: float = option(
        0.5, group="Input", least=0, most=1, help="Share of tissue that a square needs."
    )
    tissue_from: OptionalPath = option(None, group="Input", decides=False, help=_MASKS)
    mpp: float | None = option(
        None,
        group="Input",
        least=0.02,
        most=20,
        help="Micrometres a pixel, whatever slides state.",
    )
    patients: OptionalPath = option(
        None,
        group="Input",
        decides=False,
        help="Table with columns slide and patient, or also mpp.",
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
        Its path for rules that find patients: relative to the given folder, or the name of a given file.
    mpp : float, optional
        Micrometres per pixel in place of those that the slide states.
    mask : Path, optional
        A file of outlines of its tissue.
    """

    name: str
    path: Path
    relative: str
    mpp: float | None = None
    mask: Path | None = None

    def open(self) -> Slide:
        """Open the slide, and warn if the micrometres per pixel that it states are not used.

        Raises
        ------
        InputError
            See `Slide`.
        """
        slide = Slide(self.path, mpp=self.mpp)
        if any(abs(side / slide.mpp - 1) > ALIKE for side in slide.stated):
            text = "%s: states %s micrometres per pixel; %g, which is given, is used"
            _log.warning(text, self.name, slide.stated_text, slide.mpp)
        return slide


def list_slides(sources: Sequence[Path]) -> list[SlideFile]:
    """Return the slides in files and folders.

    Parameters
    ----------
    sources : sequence of Path
        Files with any suffix, and folders, of which files with a suffix of slides, TIFF or DICOM are taken. The DICOM
        files of a slide count as one slide.

    Raises
    ------
    InputError
        There is no slide, or two slides cannot be told apart by their names and folders.
    """
    relative_paths: dict[Path, str] = {}
    for source in sources:
        if source.is_dir():
            for path in files_in(source):
                if path.suffix.casefold() in _SUFFIXES:
                    relative_paths.setdefault(path, path.relative_to(source).as_posix())
        else:
            relative_paths.setdefault(source, source.name)
    if not relative_paths:
        raise InputError(
            f"{few(map(str, sources))}: no slide in this folder; give one with files such as .svs, .ndpi, .tif or .dcm"
        )
    slides = _with_series_joined(relative_paths)
    if not slides:
        raise InputError(
            f"{few(map(str, relative_paths))}: no level of a slide, only labels or overviews; add its other files"
        )
    return [SlideFile(name, *slides[path]) for path, name in _names_of(sorted(slides)).items()]


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder but hidden ones; links to folders are followed, and no folder is read twice."""
    visited = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        target = os.path.realpath(parent)
        if target in visited:
            folders.clear()
        else:
            visited.add(target)
            yield from (Path(parent, name) for name in sorted(names) if name[0] != ".")


def _with_series_joined(paths: Mapping[Path, str]) -> dict[Path, tuple[Path, str]]:
    """Return the file to read and the relative path of each slide, by the path of the file that names it.

    The DICOM files of a slide are one slide, read from the file of its largest level; its label and overviews are left
    out. If no other slide is in their folder, it has the name and the relative path of a single file beside the folder,
    and with the name of the folder; such a file need not exist.
    """
    slides = {}
    series: dict[tuple[Path, str], list[tuple[int, Path]]] = defaultdict(list)
    for path, relative in paths.items():
        instance = None
        if path.suffix.casefold() in DICOM_SUFFIXES:
            instance = slide_instance(path)
        if instance is None:
            slides[path] = (path, relative)
        elif instance.is_volume:
            series[path.parent, instance.series].append((instance.pixels, path))
    counts = Counter([*(path.parent for path in slides), *(folder for folder, _ in series)])
    for (folder, _), levels in series.items():
        largest = max(levels)[1]
        single = Path(f"{os.path.abspath(folder)}{largest.suffix}")  # noqa: PTH100 - without links, but also without ".."
        if counts[folder] > 1 or single in slides:
            slides[largest] = (largest, paths[largest])
        else:
            beside = PurePath(paths[largest]).parent.parent
            slides[single] = (largest, (beside / single.name).as_posix())
    return slides


def slide_stem(path: Path) -> str:
    """Return the name of a slide's file without suffix; as in QuPath, ``.ome`` before the last one is a part of it.

    Examples
    --------
    >>> slide_stem(Path("S1.ome.tif")), slide_stem(Path("S1.v2.svs"))
    ('S1', 'S1.v2')
    """
    return re.sub(r"(?i)\.ome\Z", "", path.stem)


def _names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each slide: that of its file, with its folder in front if several slides have it.

    Raises
    ------
    InputError
        Slides cannot be told apart, or a name is not UTF-8.
    """
    stems = Counter(map(slide_stem, paths))
    names = {}
    for path in paths:
        stem = slide_stem(path)
        names[path] = stem
        if stems[stem] > 1:
            names[path] = f"{path.absolute().parent.name}_{stem}"
    counts = Counter(names.values())
    clashes = [
        path for path, name in names.items() if counts[name] > 1 or readable_name(name) != name
    ]
    if clashes:
        raise InputError(
            f"{few(map(readable_name, map(str, clashes)))}: give each slide a name of its own, in UTF-8"
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
        failures.append((name, message_of(error)))


def write_failures(folder: Path, failures: Failures) -> None:
    """Write ``failures.csv``, or remove that of an earlier call; parameters are called options there."""
    rows = [(name, written(why, lambda key, _: f"the option {key}")) for name, why in failures]
    write_or_remove(folder / "failures.csv", ["image_id", "error"], rows)


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
    rule = settings.group_from
    if rule == NO_GROUPS:
        rule = None
    if settings.patients is not None:
        if rule is not None:
            raise InputError(Message("{patients} and {group_from}: give one of them"))
        return values_of(slides, settings.patients, PATIENT)
    if rule is None:
        return {slide.name: slide.name for slide in slides}
    groups = PathRule.of(rule, name="group_from").find(slide.relative for slide in slides)
    unnamed = [slide.name for slide in slides if not groups[slide.relative]]
    if unnamed:
        text = "{group_from} {}: names no patient of {}: {}"
        raise InputError(text, rule, counted(len(unnamed), "slide"), few(unnamed))
    return {slide.name: str(groups[slide.relative]) for slide in slides}


def values_of(slides: Sequence[SlideFile], table: Path, role: Role) -> dict[str, str]:
    """Return the cells of slides in a column of a table, by the name of the slide; rows of other slides are ignored.

    Raises
    ------
    InputError
        There is no such column, rows of a slide differ, none of the slides has a value, or one has no patient.
    """
    column = role.name
    csv_table = read_csv(table, needed=(IMAGE, role), expected=f"slide,{column}")
    values = _cells_of(slides, csv_table, role)
    unnamed = [slide.name for slide in slides if not values.get(slide.name)]
    if unnamed:
        text = f"{table}: names no {column} of {counted(len(unnamed), 'slide')}: {few(unnamed)}"
        if role is PATIENT or len(unnamed) == len(slides):
            raise InputError(text)
        _log.warning("%s", text)
    return values


def _cells_of(slides: Sequence[SlideFile], read: CsvTable, role: Role) -> dict[str, str]:
    """Return the cell of each slide in a column, by the name of the slide; none if the table has no such column.

    Raises
    ------
    InputError
        Rows of a slide differ, or a spreadsheet spoiled a cell.
    """
    image = read.choose(IMAGE)
    column = read.choose(role)
    if not column:
        return {}
    read.check({IMAGE: image, role: column})
    rows = by_key((row for _, row in read.rows), lambda row: row[image])
    names, _ = match_slides(rows, slides, where=read.path)
    values: dict[str, str] = {}
    for name, slide_name in names.items():
        for row in rows[name]:
            value = row[column]
            first = values.setdefault(slide_name, value)
            if first != value:
                raise InputError(
                    f"{read.path}: {role.name} of {slide_name} is {first!r} and {value!r}; keep one row"
                )
    return values


def match_slides(
    names: Collection[str], slides: Sequence[SlideFile], *, where: Path
) -> tuple[dict[str, str], list[Finding]]:
    """Return the slide that each name in a table or a folder means, and findings, see `bchisto.data.match_names`.

    Several names may mean one slide.
    """
    slide_names = [slide.name for slide in slides]
    matched, findings = match_names(names, slide_names, where=where.name)
    new_matches = matched
    while new_matches:
        # `match_names` gives a slide to one name only; a table may name it in several ways
        other_names = [name for name in names if name not in matched]
        new_matches, _ = match_names(other_names, slide_names, where=where.name)
        matched |= new_matches
    return matched, findings


def with_mpp(slides: Sequence[SlideFile], settings: SlideSettings) -> list[SlideFile]:
    """Return slides with the micrometres per pixel of the option, or else of the table of patients.

    Raises
    ------
    InputError
        A cell is not a plausible number, or rows of a slide differ.
    """
    table = settings.patients
    table_mpp = {}
    if table is not None:
        csv_table = read_csv(table, needed=(IMAGE,), expected="slide,patient,mpp")
        for name, cell in _cells_of(slides, csv_table, MPP).items():
            mpp, problem = spacing_of(cell)
            if problem:
                raise InputError(f"{table}: {name}: {problem}")
            if mpp is not None:
                table_mpp[name] = mpp
    option_mpp = settings.mpp
    if option_mpp is None:
        # a table that does not name a slide gives it none
        return [slide._replace(mpp=table_mpp.get(slide.name)) for slide in slides]
    others = [name for name, mpp in table_mpp.items() if abs(mpp / option_mpp - 1) > ALIKE]
    if others:
        text = "{}: states other micrometres per pixel of {}: {}; {mpp} {:g} is used"
        number = counted(len(others), "slide")
        _log.warning(Message(text, table, number, few(others), option_mpp))
    return [slide._replace(mpp=option_mpp) for slide in slides]
