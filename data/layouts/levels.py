"""What folders above images mean, level by level: classes, parts of a split, sets, patients, or a folder around all.

The signs are the names, and whether the same names recur below several folders, as those of classes do below patients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile

from ..classes import match_class
from ..facts import part_of

_CLASS = re.compile(
    r"benign|malignant|norm(al)?|healthy|tum(ou?rs?)?|cancer(ous)?|(adeno)?carcinoma|idc|ilc|dcis|insitu|invasive|"
    r"neg(ative)?|pos(itive)?|controls?|stroma|necrosis|class|label|grade|score|stage"
)
_SET = re.compile(
    r"((?P<fold>folds?|cv|split|round|run)|partition|part|set|subset|cohort|batch|sites?|cent(re|er)|hospital|scanner|lab)"
    r"([\s_-]*\d+|[\s_-]+[a-z])|\d+(\.\d+)?[\s_-]?x|x[\s_-]?\d+|40|100|200|400"
)
"""Names of folds, sites and magnifications."""

_PATIENT = re.compile(
    r"(p|pat|patient|case|slide|subject|donor|specimen|wsi|id)s?[\s_#-]*\d[\w.-]*|\d{3,}[\w.-]*|\d+-\d+[\w-]*|tcga\W.*"
)
_OUTER = ("part", "fold", "set", "patient", "around")
"""Kinds of levels that are above the classes. `reading_of` calls folds with parts of their own ``own``."""


@dataclass(frozen=True)
class Level:
    """The folders at one level of a tree.

    Attributes
    ----------
    number : int
        1 is the first folder below the root.
    names : tuple of str
        Sorted.
    kind : str
        One of `_OUTER`; ``class``; ``mixed`` (some are parts of a split) and ``sets`` (``lung_images``), of which it is
        not certain whether they are classes; ``number`` for other names that all hold a digit; else empty.
    recurs : bool
        Whether at least half of two or more names are those of folders below several others.
    parts : mapping of str to str
        Folder to the part of a split that it names.
    """

    number: int
    names: tuple[str, ...]
    kind: str
    recurs: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """The meaning of the levels of a tree.

    Attributes
    ----------
    label : Level or None
        The classes; None if no level holds classes.
    outer : tuple of Level
        Levels above the classes.
    other : Level or None
        Another level that may be the classes instead.
    deeper : tuple of Level
        Levels below the classes.
    """

    label: Level | None
    outer: tuple[Level, ...] = ()
    other: Level | None = None
    deeper: tuple[Level, ...] = ()

    @property
    def part(self) -> Level | None:
        """The level of the parts of a split; None if there is none."""
        return next((level for level in (*self.outer, *self.deeper) if level.kind == "part"), None)


def reading_of(paths: Iterable[str], *, known: Iterable[str], classes: Sequence[str] = ()) -> Reading:
    """Return the meaning of the folders in the paths of images.

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
    >>> reading = reading_of(["train/P1/benign/1.png", "test/P2/benign/2.png"], known=["benign"])
    >>> reading.label.number, [level.kind for level in reading.outer]
    (3, ['part', 'patient'])
    """
    levels = _levels([path.split("/")[:-1] for path in paths], frozenset("".join(_words(name)) for name in known))
    named = next((level for level in levels if classes and all(match_class(n, classes) for n in level.names)), None)
    outer = tuple(takewhile(lambda level: level is not named and level.kind in _OUTER, levels))
    for fold, part in pairwise(outer):
        if (fold.kind, part.kind) == ("fold", "part"):
            outer = tuple(replace(level, kind="own") if level in (fold, part) else level for level in outer)
    if named is not None:
        outer = tuple(level for level in levels[: named.number - 1] if level.kind in _OUTER)
        return Reading(replace(named, parts={}), outer, None, levels[named.number :])
    if len(outer) == len(levels):
        return Reading(None, outer)
    label, deeper = levels[len(outer)], levels[len(outer) + 1 :]
    if label.kind == "class":
        other = next((level for level in deeper if level.kind == "class" and level.recurs), None)
    else:
        above = outer[-1] if outer and outer[-1].kind != "around" else None
        unsure = ("", "number") if label.kind in ("mixed", "sets") else ()
        other = next(
            (lev for lev in deeper if lev.kind == "class" or (not lev.kind and lev.recurs) or lev.kind in unsure), None
        )
        if other is None and above is not None:
            apart = not label.recurs and len(above.names) > 1
            if (apart or label.kind == "number") if above.kind != "part" else (apart and label.kind == "number"):
                label, other = above, label
    return Reading(label, outer, other, deeper)


def _is_class(words: Sequence[str], known: frozenset[str]) -> bool:
    return "".join(words) in known or any(map(_CLASS.fullmatch, (*words, "".join(words))))


def _words(name: str) -> list[str]:
    return re.split(r"[\W\d_]+", name.casefold())


def _levels(folders: Sequence[Sequence[str]], known: frozenset[str]) -> tuple[Level, ...]:
    levels = []
    for number in range(1, max(map(len, folders), default=0) + 1):
        above: dict[str, set[tuple[str, ...]]] = {}
        for folder in folders:
            if len(folder) >= number:
                above.setdefault(folder[number - 1], set()).add(tuple(folder[: number - 1]))
        names = tuple(sorted(above))
        recurs = len(names) > 1 and 2 * sum(len(parents) > 1 for parents in above.values()) >= len(names)
        parts = _parts(names)
        split = len(set(parts.values())) > 1 and any(len(f) > number and f[number - 1] in parts for f in folders)
        kind = "part" if parts and (split or len(parts) == len(names)) else "mixed" if parts else _kind(names, known)
        levels.append(Level(number, names, kind, recurs, parts))
    for place, (level, below) in enumerate(pairwise((*levels, None))):
        if below is None:
            around = place > 0 and not level.kind  # the last of several levels, such as P01/images
        else:
            two = level.kind == below.kind == "class" and len(below.names) > 1
            around = two or level.kind in ("", "sets", "number", "patient")
        if around and len(level.names) == 1:
            levels[place] = replace(level, kind="around")
    return tuple(levels)


def _parts(names: Sequence[str]) -> dict[str, str]:
    """Return the folders that name a part of a split, of which two may have further words (``lung_train``)."""
    strict = {name: part for name in names if (part := part_of(name)) is not None}
    every = {name: {*map(part_of, _words(name))} - {None} for name in names}
    loose = {name: str(*parts) for name, parts in every.items() if len(parts) == 1}
    return {**loose, **strict} if len(set(loose.values())) > 1 else strict


def _kind(names: Sequence[str], known: frozenset[str]) -> str:
    plain = [name.strip().casefold() for name in names]
    if all(sets := [_SET.fullmatch(name) for name in plain]):
        return "fold" if all(match and match["fold"] for match in sets) else "set"
    if {*plain} <= {"0", "1"} or 2 * sum(_is_class(_words(name), known) for name in plain) >= len(plain):
        return "class"
    if all(map(_PATIENT.fullmatch, plain)):
        return "patient"
    if all({"set", "sets", "dataset", "datasets", "cohort", "images", "data"} & {*_words(name)} for name in plain):
        return "sets"
    return "number" if all(re.search(r"\d", name) for name in plain) else ""
