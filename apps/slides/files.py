"""The slides that a command takes: files and folders, a name for each, and its patient."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...core import ImageError, InputError, Message, Settings, counted, few, option, readable_name
from ...core.formats import GROUP, IMAGE, SLIDE_SUFFIXES, Role, read_csv
from ...core.jobs import write_or_remove
from ...data import NO_GROUPS, PathRule, match_names

_log = logging.getLogger(__name__)

Failures = list[tuple[str, str]]

_RULE = "Patient by the path inside a folder, or the name of a file: a level, a regular expression, or none."

_MASKS = "Outlines of the tissue (GeoJSON): a file, or a folder with a file named as each slide."

_SUFFIXES = SLIDE_SUFFIXES | {".tif", ".tiff"}


@dataclass(frozen=True, kw_only=True)
class SlideSettings(Settings):
    """What every command on slides is told of them."""

    tissue: float = option(
        0.5, group="Input", least=0, most=1, help="Share of tissue that a square needs."
    )
    tissue_from: Path | None = option(None, group="Input", decides=False, help=_MASKS)
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
    mask : Path, optional
        A file of outlines of its tissue.
    """

    name: str
    path: Path
    relative: str
    mask: Path | None = None


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
