"""A layout for the user's own images: folders of classes, perhaps below or above those of a split, sets or patients.

What the folders of a path mean is seen from the names, and from whether the same names recur below several folders, as
those of classes do below patients.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import Message, Names, few
from ...core.formats import PART
from ..dataset import ImageRecord, part_of
from ..findings import Finding
from ..names import PathRule, barcode_of
from ..walk import list_images
from .registry import LayoutSpec, known_classes

_CLASS = re.compile(
    r"benign|malignant|norm(al)?|healthy|tum(ou?rs?)?|cancer(ous)?|(adeno)?carcinoma|idc|ilc|dcis|insitu|invasive|"
    r"neg(ative)?|pos(itive)?|controls?|stroma|necrosis|class|label|grade|score|stage"
)
_FOLD = r"(k?-?folds?|cv|cross[\s_-]?val\w*|split|round|run)"
_GAPS = re.compile(r"[\W\d_]+")
"""What separates the words of a name."""

_SET = re.compile(
    rf"({_FOLD}|partition|part|set|subset|cohort|batch|sites?|cent(re|er)|hospital|scanner|lab)"
    r"([\s_-]*\d+|[\s_-]+[a-z])|\d+(\.\d+)?[\s_-]?x|x[\s_-]?\d+|40|100|200|400|(19|20)\d\d"
)
"""Names of folds, sites, magnifications and years."""

_PATIENT = re.compile(
    r"(p|pat|patient|case|slide|subject|donor|specimen|wsi|id)s?([\s_#-]*\d[\w.-]*|[\s_-]+[a-z])|"
    r"\d{3,}[\w.-]*|\d+-\d+[\w-]*|tcga\W.*"
)
SPLIT, UNCLEAR, AROUND = "parts of a split", "perhaps classes", "one folder around all"
_MIXED = "parts beside classes"
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
        What they are taken for: one of `_OUTER`; ``classes``; ``perhaps classes``, of two levels; or ``parts beside
        classes``. Before, in this module: ``perhaps sets`` (``lung_images``); ``numbers``, other names that all hold
        two digits; or empty.
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


def levels_of(paths: Iterable[str], *, known: Iterable[str]) -> list[Level]:
    """Return the levels of the folders in the paths of images, down to the classes, and the parts of a split below.

    Parameters
    ----------
    paths : iterable of str
        POSIX paths.
    known : iterable of str
        Class names of known data sets.

    Examples
    --------
    >>> levels = levels_of(["train/P1/benign/1.png", "test/P2/benign/2.png"], known=["benign"])
    >>> [(level.number, level.kind) for level in levels]
    [(1, 'parts of a split'), (2, 'patients'), (3, 'classes')]
    """
    levels = _levels(
        [path.split("/")[:-1] for path in paths],
        frozenset("".join(_GAPS.split(name.casefold())) for name in known),
    )
    label = next((level for level in levels if level.kind not in _OUTER), None)
    if label is None:
        return levels
    outer = [level for level in levels[: label.number - 1] if level.kind in _OUTER]
    deeper = levels[label.number :]
    sure = label.kind == "classes"
    vague = label.kind in (_MIXED, "perhaps sets")
    may_be = {"classes": (True, not sure), "": (not sure, vague)}  # if the names recur, and if not
    rivals = [level for level in deeper if may_be.get(level.kind, (False, False))[not level.recurs]]
    other = next(iter(rivals), None)
    above = outer[-1] if outer and outer[-1].kind != AROUND and not sure and not other else None
    if above is not None:
        apart = not label.recurs and len(above.names) > 1
        if apart + (label.kind == "numbers") + (above.kind != SPLIT) >= 2:
            label, other, outer = above, label, outer[:-1]
    if other is not None:
        return [*outer, label._replace(kind=UNCLEAR), other._replace(kind=UNCLEAR)]
    if label.kind != _MIXED:
        label = label._replace(kind="classes", parts={})
    return [*outer, label, *[level for level in deeper if level.kind == SPLIT][:1]]


def _levels(folders: Sequence[Sequence[str]], known: frozenset[str]) -> list[Level]:
    levels: list[Level] = []
    for number in range(max(map(len, folders), default=0), 0, -1):
        above: dict[str, set[tuple[str, ...]]] = {}
        for folder in folders:
            if len(folder) >= number:
                above.setdefault(folder[number - 1], set()).add(tuple(folder[: number - 1]))
        names = tuple(sorted(above))
        parts = {name: part for name in names if (part := part_of(name)) is not None}
        # further words may follow in names such as lung_train, if two such names differ in their part
        every = {name: {*map(part_of, _GAPS.split(name.casefold()))} - {None} for name in names}
        loose = {name: str(*named) for name, named in every.items() if len(named) == 1}
        parts = {**loose, **parts} if len(set(loose.values())) > 1 else parts
        split = len(set(parts.values())) > 1 and any(
            len(f) > number and f[number - 1] in parts for f in folders
        )
        kind = _MIXED if parts else _kind(names, known)
        if parts and (len(parts) == len(names) or split):
            kind = SPLIT
        if len(names) == 1 and levels:
            two = kind == levels[0].kind == "classes" and len(levels[0].names) > 1
            kind = AROUND if two or kind in ("", "perhaps sets", "numbers", "patients") else kind
        elif len(names) == 1 < number and not kind:  # such as P01/images
            kind = AROUND
        recurs = len(names) > 1 and 2 * sum(len(parents) > 1 for parents in above.values()) >= len(
            names
        )
        levels.insert(0, Level(number, names, kind, recurs, parts))
    return levels


def _kind(names: Sequence[str], known: frozenset[str]) -> str:
    plain = [name.strip().casefold() for name in names]
    if all(map(_SET.fullmatch, plain)):
        return "folds" if all(re.match(_FOLD, name) for name in plain) else "sets"
    words = [(*(parts := _GAPS.split(name)), "".join(parts)) for name in plain]
    named = sum(of[-1] in known or any(map(_CLASS.fullmatch, of)) for of in words)
    if ("0" in plain and all(re.fullmatch(r"\d", name) for name in plain)) or 2 * named >= len(
        plain
    ):
        return "classes"
    if all(map(_PATIENT.fullmatch, plain)):
        return "patients"
    if all(
        {"set", "sets", "dataset", "datasets", "cohort", "images", "data"} & {*of} for of in words
    ):
        return "perhaps sets"
    return "numbers" if all(re.search(r"\d.*\d", name) for name in plain) else ""


def read_folder(
    root: Path, *, group_from: str | None = None, label_from: str | None = None
) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images, of which a level of folders is the class, see `levels_of`.

    Images directly in `root` have no label, and are used only if there are no class folders. Folders above the classes
    may be patients, which become groups; parts of a split, folds or sets, which are stored in the columns ``part``,
    ``fold`` and ``set``. If two levels may be the classes, a finding of level error names both.

    Parameters
    ----------
    root : Path
    group_from, label_from : str, optional
        Rules that find group and label in the path below `root`, see `PathRule`. With ``label_from``, images directly
        in `root` are used, too. An image that a rule does not fit has no label or group.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        There is no image file below `root` although all folders could be read, or a rule is invalid.
    """
    texts = {"group": group_from, "label": label_from}
    rules = {
        name: PathRule.of(rule, name=f"{name}_from")
        for name, rule in texts.items()
        if rule is not None
    }
    findings: list[Finding] = []
    files = list_images(root, findings)
    loose = [name for name in files if "/" not in name]
    levels = levels_of(files, known=itertools.chain.from_iterable(known_classes()))
    at = {level.kind: level for level in reversed(levels)}
    part, label = (
        at.get(SPLIT),
        next((level for kind, level in at.items() if kind.endswith("classes")), None),
    )
    level, unlabelled = (label.number, label.parts) if label else (0, {})
    if "label" in rules:
        level, unlabelled, at = rules["label"].level, {}, {}
    elif len(loose) < len(files):
        left = dict.fromkeys(loose, "is next to the class folders and has no label; skipped")
        if part:
            beside = (name for name in files if _at(name, part.number) not in (None, *part.parts))
            left |= dict.fromkeys(beside, "next to the parts of a split, and none; left out")
        for name, message in left.items():
            findings.append(Finding("warning", name, message))
            del files[name]
        findings += _meaning(root, levels) if levels != [at.get("classes")] else []
    deep = [name for name in files if name.count("/") > level > 0]
    if (
        deep
        and "group" not in rules
        and (part is None or part.number < level)
        and UNCLEAR not in at
    ):
        findings += _deeper(deep, level)
    folders = {
        name: {kind: _at(name, level.number) for kind, level in at.items()} for name in files
    }
    labels = {
        name: None if (folder := _at(name, level)) in unlabelled else folder for name in files
    }
    values = {"group": {name: of.get("patients") for name, of in folders.items()}, "label": labels}
    for what, rule in rules.items():
        values[what] = rule.find(files)
        findings.extend(rule.findings(root, values[what], what))
    records = []
    for name, path in files.items():
        cells = {
            kind[:-1]: folder for kind in ("folds", "sets") if (folder := folders[name].get(kind))
        }
        if part and (named := part.parts.get(_at(name, part.number) or "")):
            cells[PART.name] = named
        columns = tuple(cells.items())
        records.append(
            ImageRecord(name, path, values["label"][name], values["group"][name], columns=columns)
        )
    return records, findings


def _at(name: str, level: int) -> str | None:
    """Return the folder at a level of a path; None if there is none."""
    return name.split("/")[level - 1] if 0 < level <= name.count("/") else None


def _meaning(root: Path, levels: Sequence[Level]) -> list[Finding]:
    """Return what the folders are taken for, if not for classes alone: a note, both readings, or that none is one."""
    at = {level.kind: level for level in levels}
    if UNCLEAR in at:
        (first, names, *_), (second, inner, *_) = (
            level for level in levels if level.kind == UNCLEAR
        )
        return [
            Finding(
                "error",
                str(root),
                Message(
                    "folders at level {}{} may be the classes, or those at level {}{}",
                    first,
                    Names(f" ({few(names)})"),
                    second,
                    Names(f" ({few(inner)})"),
                    remedies=[
                        Message("{label_from:{}} takes the first", first),
                        Message(
                            "{label_from:{}} the second (and {group_from:{}} if the first are patients)",
                            second,
                            first,
                        ),
                    ],
                ),
                labels_only=True,
            )
        ]
    roles = [
        Message("{} at level {}{}", of.kind, of.number, Names(f" ({few(of.parts or of.names)})"))
        for of in levels
    ]
    text = f"folders are taken for {', '.join(['{}'] * len(roles))}"
    outside = [level.number for level in levels if level.kind not in ("classes", AROUND)][:1]
    remedies = [
        Message("{label_from:{}} takes level {} for the classes", number, number)
        for number in outside
    ]
    if "classes" not in at:
        text += ", not for classes, so images have no label"
        remedies[:0] = [
            Message("make a folder for each class"),
            Message("{labels:TABLE} takes them from a table"),
        ]
        return [
            Finding(
                "warning", str(root), Message(text, *roles, remedies=remedies), labels_only=True
            )
        ]
    return [Finding("note", str(root), Message(text, *roles, remedies=remedies), labels_only=True)]


def _deeper(names: Iterable[str], level: int) -> list[Finding]:
    """Return a note on folders below the class folders, which might be patients or classes."""
    deeper = dict.fromkeys(
        "/".join(name.split("/")[: level + 1]) for name in names if not barcode_of(name)
    )
    remedy = Message("if the path names them, use {group_from:{}}", level + 1)
    message = Message(
        "these folders below the classes are not taken for patients", remedies=[remedy]
    )
    return [Finding("note", few(deeper), message)] if deeper else []


LAYOUT = LayoutSpec(
    name="folder", read=read_folder, options=frozenset({"group_from", "label_from"}), fallback=True
)
