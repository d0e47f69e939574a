"""The slides that a command takes: files and folders, a name for each, its annotations and its patient."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import InputError, Message, counted, few, readable_name
from ...core.formats import GROUP, IMAGE, SLIDE_SUFFIXES, Role, read_csv
from ...data import PathRule, match_names

_log = logging.getLogger(__name__)

_SUFFIXES = SLIDE_SUFFIXES | {".tif", ".tiff"}


class SlideFile(NamedTuple):
    """A slide.

    Attributes
    ----------
    name : str
        Unique: the name of its file without suffix, with that of its folder in front if several slides have it.
    path : Path
    relative : str
        Its path for rules of groups: in the folder that was given, or as it was given.
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
        inside = source.rglob("[!.]*") if source.is_dir() else [source]
        for path in inside:
            if path == source or path.suffix.casefold() in _SUFFIXES:
                paths.setdefault(path, (path.relative_to(source) if source.is_dir() else path).as_posix())
    if not paths:
        raise InputError(f"{few(map(str, sources))}: no slide in this folder")
    stems = Counter(path.stem for path in paths)
    listed: list[SlideFile] = []
    for path, relative in sorted(paths.items()):
        name = path.stem if stems[path.stem] == 1 else f"{path.absolute().parent.name}_{path.stem}"
        if name in {slide.name for slide in listed} or readable_name(name) != name:
            raise InputError(f"{readable_name(str(path))}: give each slide a name of its own, in UTF-8")
        listed.append(SlideFile(name, path, relative))
    return listed


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
    files = {path.stem: path for path in sorted(given.rglob("*json")) if path.suffix in (".geojson", ".json")}
    names, _ = match_names(files, (slide.name for slide in slides), where=given.name)
    if not names:
        raise InputError("{annotations} {}: not a folder with a file named {}.geojson", given, slides[0].name)
    if bare := [slide.name for slide in slides if slide.name not in names.values()]:
        _log.warning("%s without annotations, and so without labels: %s", counted(len(bare), "slide"), few(bare))
    return {name: files[stem] for stem, name in names.items()}


def groups_of(slides: Sequence[SlideFile], *, table: Path | None, rule: str | None) -> dict[str, str]:
    """Return the patient of each slide, by the name of the slide; by default the slide itself.

    Parameters
    ----------
    slides : sequence of SlideFile
    table : Path, optional
        A table with columns of slides and patients.
    rule : str, optional
        See `bchisto.data.PathRule`.

    Raises
    ------
    InputError
        Both are given, the rule is invalid, or a slide has no patient.
    """
    groups: dict[str, str | None] = {slide.name: slide.name for slide in slides}
    if table is not None and rule is not None:
        raise InputError(Message("{patients} and {group_from}: give one of them"))
    if rule is not None:
        values = PathRule.of(rule, name="group_from").find(slide.relative for slide in slides)
        groups = {slide.name: values[slide.relative] for slide in slides}
    if table is not None:
        groups = dict.fromkeys(groups) | values_of(slides, table, GROUP)
    if without := [name for name, group in groups.items() if not group]:
        raise InputError(f"{table or rule}: names no patient of {len(without)} slides: {few(without)}")
    return {name: str(group) for name, group in groups.items()}


def values_of(slides: Sequence[SlideFile], table: Path, role: Role) -> dict[str, str]:
    """Return what a column of a table says of slides, by the name of the slide; other rows are left out."""
    read = read_csv(table, needed=(IMAGE, role), expected=f"slide,{role.name}")
    image, column = read.choose(IMAGE), read.choose(role)
    values = {row[image]: row[column] for _, row in read.rows}
    names, _ = match_names(values, (slide.name for slide in slides), where=table.name)
    return {name: values[row] for row, name in names.items()}
