"""What the folders of a path mean, and paths of another machine.

The signs are the names, and whether the same names recur below several folders, as those of classes do below patients.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import InputError, Message, few
from ...core.formats import decimal_of, is_missing, limits, plausible_mpp
from ..classes import match_class
from ..dataset import IMAGE_SUFFIXES, part_of
from ..findings import Finding


def locate(folder: Path, name: str) -> tuple[str, str]:
    r"""Return a path as it leads to a file, with ``/`` for ``\`` or the suffix that it lacks, or nothing and why."""
    posix = name.replace("\\", "/")
    suffixes = _pictures((folder / posix).parent).get((folder / posix).name, [])
    for text in dict.fromkeys((name, posix, *(posix + suffix for suffix in suffixes if len(suffixes) == 1))):
        try:
            if (folder / text).is_file():
                return text, ""
        except OSError as error:
            return "", f"{folder / name} cannot be read ({error.strerror or error})"
    choice = f", but {few(suffixes)} of this name; add the suffix" if suffixes else ""
    return "", f"there is no file {folder / name}{choice}"


@functools.lru_cache(maxsize=1024)
def _pictures(folder: Path) -> dict[str, list[str]]:
    """Return a dict from the stem of each picture in a folder to its suffixes."""
    stems: dict[str, list[str]] = {}
    try:
        for path in folder.iterdir():
            if path.suffix.casefold() in IMAGE_SUFFIXES:
                stems.setdefault(path.stem, []).append(path.suffix)
    except (OSError, ValueError):
        return {}
    return stems


def absent_files(table: Path, rows: Sequence[tuple[str, str, str]], column: str) -> list[Finding]:
    """Return findings on rows whose file is not there: those that exist without a beginning together, else each.

    Parameters
    ----------
    table : Path
    rows : sequence of (str, str, str)
        Where a row is, the path that it names, and why it leads to no file.
    column : str
        The column of paths, for the message.
    """
    begun: dict[str, list[str]] = {}
    others: list[tuple[str, str, str]] = []
    for where, name, why in rows:
        start = _beginning(table.parent, name, begun)
        if start is None:
            others.append((where, name, why))
        else:
            begun.setdefault(start, []).append(where)
    findings = [
        Finding(
            "error",
            few(places),
            f"{len(places):,} files are not there, but exist without the beginning {start}: remove it from the column "
            f"{column}",
        )
        for start, places in begun.items()
    ]
    if others:
        first = others[0][1]
        beside = _folder_with(table.parent, first)
        way = "{} is in {}: give {images:{}} with {labels:{}}"
        cure = "a table beside a folder of images is read by {images:FOLDER} with {labels}"
        remedy = Message(way, first, beside.name, beside, table) if beside else Message(cure)
        kind = Message("there are no such files, first {}", first, remedies=[remedy])
        shown = [remedy] if beside else []
        findings += [Finding("error", where, Message("{}", why, remedies=shown), kind=kind) for where, _, why in others]
    return findings


def _folder_with(folder: Path, name: str) -> Path | None:
    """Return the first folder in a folder that has a file with this path; None if there is none."""
    try:
        return next((path for path in sorted(folder.iterdir()) if locate(path, name)[0]), None)
    except OSError:
        return None


def unmatched(table: Path, rows: Sequence[str], images: Sequence[str], count: int) -> list[Finding]:
    """Return warnings of rows that name none of the images of a folder, and of images without a row.

    Parameters
    ----------
    table : Path
    rows, images : sequence of str
        Names without a counterpart.
    count : int
        Number of images in the folder.

    Raises
    ------
    InputError
        No row names an image.
    """
    if count and len(images) == count:
        raise InputError(
            f"{table}: none of its rows, such as {few(rows[:1])}, names one of the {count} images, such as "
            f"{images[0]}; name them by file, with or without suffix"
        )
    texts = {
        f"{len(images)} of {count} images have no row of their own in {table.name}, so no label": images,
        f"{len(rows)} rows of {table.name} name no image, or not only one; nothing is read from them": rows,
    }
    return [Finding("warning", few(names), text) for text, names in texts.items() if names]


def _beginning(folder: Path, name: str, known: Iterable[str]) -> str | None:
    """Return the shortest beginning without which a path leads to a file; None if there is none."""
    posix = name.replace("\\", "/")
    starts = (name[: place + 1] for place, sign in enumerate(posix) if sign == "/")
    for start in (*(start for start in known if name.startswith(start)), *starts):
        rest = posix[len(start) :]
        if not rest.startswith("/") and locate(folder, rest)[0]:
            return start
    return None


def spacing_of(cell: str) -> tuple[float | None, str]:
    """Return the micrometres per pixel that a cell gives, None if unknown, and what is wrong with it, or nothing."""
    try:
        mpp = None if is_missing(cell) else plausible_mpp(decimal_of(cell))
    except ValueError:
        mpp = None
    if mpp is not None or is_missing(cell):
        return mpp, ""
    bounds = f"{limits.LEAST_MPP:g} to {limits.MOST_MPP:g}"
    return None, f"mpp {cell[:40]}: give micrometres per pixel, {bounds} such as 0.42, or none"


_CLASS = re.compile(
    r"benign|malignant|norm(al)?|healthy|tum(ou?rs?)?|cancer(ous)?|(adeno)?carcinoma|idc|ilc|dcis|insitu|invasive|"
    r"neg(ative)?|pos(itive)?|controls?|stroma|necrosis|class|label|grade|score|stage"
)
_FOLD = r"(k?-?folds?|cv|cross[\s_-]?val\w*|split|round|run)"
_SET = re.compile(
    rf"({_FOLD}|partition|part|set|subset|cohort|batch|sites?|cent(re|er)|hospital|scanner|lab)"
    r"([\s_-]*\d+|[\s_-]+[a-z])|\d+(\.\d+)?[\s_-]?x|x[\s_-]?\d+|40|100|200|400|(19|20)\d\d"
)
"""Names of folds, sites, magnifications and years."""

_PATIENT = re.compile(
    r"(p|pat|patient|case|slide|subject|donor|specimen|wsi|id)s?([\s_#-]*\d[\w.-]*|[\s_-]+[a-z])|\d{3,}[\w.-]*|\d+-\d+[\w-]*|tcga\W.*"
)
SPLIT, UNCLEAR, AROUND = "parts of a split", "perhaps classes", "one folder around all"
_MIXED, _OWN = "parts beside classes", ("folds (not kept)", "parts of each fold (not kept)")
_OUTER = (SPLIT, "folds", "sets", "patients", AROUND)
"""Kinds of levels that are above the classes."""


class Level(NamedTuple):
    """The folders at one level of a tree.

    Attributes
    ----------
    number : int
        1 is the first folder below the root.
    names : tuple of str
        Sorted.
    kind : str
        What they are taken for: one of `_OUTER`; ``classes``; ``perhaps classes``, of two levels; ``parts beside
        classes``; ``folds with parts of their own`` and these parts. Before, in this module: ``perhaps sets``
        (``lung_images``); ``numbers``, other names that all hold two digits; or empty.
    recurs : bool
        Whether at least half of two or more names are those of folders below several others.
    parts : mapping of str to str
        Folder to the part of a split that it names.
    """

    number: int
    names: tuple[str, ...]
    kind: str
    recurs: bool
    parts: Mapping[str, str]


def levels_of(paths: Iterable[str], *, known: Iterable[str], classes: Sequence[str] = ()) -> list[Level]:
    """Return the levels of the folders in the paths of images, down to the classes, and the parts of a split below.

    Parameters
    ----------
    paths : iterable of str
        POSIX paths.
    known : iterable of str
        Class names of known data sets.
    classes : sequence of str
        Class names from the user; the first level at which all folders are named so holds the classes.

    Examples
    --------
    >>> levels = levels_of(["train/P1/benign/1.png", "test/P2/benign/2.png"], known=["benign"])
    >>> [(level.number, level.kind) for level in levels]
    [(1, 'parts of a split'), (2, 'patients'), (3, 'classes')]
    """
    levels = _levels([path.split("/")[:-1] for path in paths], frozenset("".join(_words(name)) for name in known))
    chosen = [level for level in levels if classes and all(match_class(name, classes) for name in level.names)]
    label = next(iter(chosen or [level for level in levels if level.kind not in _OUTER]), None)
    if label is None:
        return levels
    outer = [level for level in levels[: label.number - 1] if level.kind in _OUTER]
    if [level.kind for level in outer[:2]] == ["folds", SPLIT]:
        outer[:2] = [level._replace(kind=kind) for level, kind in zip(outer, _OWN, strict=False)]
    deeper = levels[label.number :]
    sure = label.kind == "classes"
    vague = label.kind in (_MIXED, "perhaps sets")
    may_be = {"classes": (True, not sure), "": (not sure, vague)}  # if the names recur, and if not
    rivals = [level for level in deeper if may_be.get(level.kind, (False, False))[not level.recurs]]
    other = None if chosen else next(iter(rivals), None)
    above = outer[-1] if outer and outer[-1].kind != AROUND and not sure and not chosen else None
    if above is not None and other is None:
        apart = not label.recurs and len(above.names) > 1
        if apart + (label.kind == "numbers") + (above.kind != SPLIT) >= 2:
            other, outer = label, outer[:-1]
            label = above
    if other is not None:
        return [*outer, label._replace(kind=UNCLEAR), other._replace(kind=UNCLEAR)]
    if chosen or label.kind != _MIXED:
        label = label._replace(kind="classes", parts={})
    return [*outer, label, *[level for level in deeper if level.kind == SPLIT][:1]]


def _words(name: str) -> list[str]:
    return re.split(r"[\W\d_]+", name.casefold())


def _levels(folders: Sequence[Sequence[str]], known: frozenset[str]) -> list[Level]:
    levels: list[Level] = []
    for number in range(max(map(len, folders), default=0), 0, -1):
        above: dict[str, set[tuple[str, ...]]] = {}
        for folder in folders:
            if len(folder) >= number:
                above.setdefault(folder[number - 1], set()).add(tuple(folder[: number - 1]))
        names = tuple(sorted(above))
        parts = _parts(names)
        split = len(set(parts.values())) > 1 and any(len(f) > number and f[number - 1] in parts for f in folders)
        kind = _MIXED if parts else _kind(names, known)
        if parts and (len(parts) == len(names) or split):
            kind = SPLIT
        if len(names) == 1 and levels:
            two = kind == levels[0].kind == "classes" and len(levels[0].names) > 1
            kind = AROUND if two or kind in ("", "perhaps sets", "numbers", "patients") else kind
        elif len(names) == 1 < number and not kind:  # such as P01/images
            kind = AROUND
        recurs = len(names) > 1 and 2 * sum(len(parents) > 1 for parents in above.values()) >= len(names)
        levels.insert(0, Level(number, names, kind, recurs, parts))
    return levels


def _parts(names: Sequence[str]) -> dict[str, str]:
    """Return the folders that name a part of a split, of which two may have further words (``lung_train``)."""
    strict = {name: part for name in names if (part := part_of(name)) is not None}
    every = {name: {*map(part_of, _words(name))} - {None} for name in names}
    loose = {name: str(*parts) for name, parts in every.items() if len(parts) == 1}
    return {**loose, **strict} if len(set(loose.values())) > 1 else strict


def _kind(names: Sequence[str], known: frozenset[str]) -> str:
    plain = [name.strip().casefold() for name in names]
    if all(map(_SET.fullmatch, plain)):
        return "folds" if all(re.match(_FOLD, name) for name in plain) else "sets"
    words = [(*_words(name), "".join(_words(name))) for name in plain]
    named = sum(of[-1] in known or any(map(_CLASS.fullmatch, of)) for of in words)
    if (
        {*plain} <= {"0", "1"}
        or ("0" in plain and all(re.fullmatch(r"\d", name) for name in plain))
        or 2 * named >= len(plain)
    ):
        return "classes"
    if all(map(_PATIENT.fullmatch, plain)):
        return "patients"
    if all({"set", "sets", "dataset", "datasets", "cohort", "images", "data"} & {*of} for of in words):
        return "perhaps sets"
    return "numbers" if all(re.search(r"\d.*\d", name) for name in plain) else ""
