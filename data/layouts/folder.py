"""A layout for the user's own images: folders of classes, perhaps below or above those of a split, sets or patients."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core import InputError, Message, few
from ...core.formats import PART, read_csv
from ..dataset import IMAGE_KINDS, ImageRecord
from ..findings import Finding
from ..names import PathRule, barcode_of
from ..walk import is_folder, list_images
from .paths import AROUND, SPLIT, UNCLEAR, Level, levels_of
from .registry import LayoutSpec

_MOST_TABLES = 3
"""Tables that are named, of those in the folder and beside it."""


def read_folder(
    root: Path, *, classes: Sequence[str] = (), group_from: str | None = None, label_from: str | None = None
) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images, of which a level of folders is the class, see `levels_of`.

    Images directly in `root` have no label, and are used only if there are no class folders. Folders above the classes
    may be patients, which become groups; parts of a split, folds or sets, which are stored in the columns ``part``,
    ``fold`` and ``set``. If two levels may be the classes, a finding of level error names both.

    Parameters
    ----------
    root : Path
    classes : sequence of str
        Class order from the user. The first level of which it names all folders is that of the classes.
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
    from .registry import known_classes  # which imports this module

    options = {"group": group_from, "label": label_from}
    rules = {what: PathRule.of(rule, name=f"{what}_from") for what, rule in options.items() if rule is not None}
    findings: list[Finding] = []
    files = list_images(root, findings)
    loose = [name for name in files if "/" not in name]
    levels = levels_of(files, known=itertools.chain.from_iterable(known_classes()), classes=classes)
    at = {level.kind: level for level in reversed(levels)}
    part, label = at.get(SPLIT), next((level for kind, level in at.items() if kind.endswith("classes")), None)
    level, unlabelled = (label.number, label.parts) if label else (0, {})
    if "label" in rules:
        level, unlabelled, at = rules["label"].level, {}, {}
    elif len(loose) < len(files):
        findings.extend(_empty_folders(root, {name.partition("/")[0] for name in files}))
        for name in loose:
            findings.append(Finding("warning", name, "is next to the class folders and has no label; skipped"))
            del files[name]
        findings += [*_beside(files, part), *_meaning(root, files, levels)]
    elif tables := _tables(root):
        findings.append(Finding("note", str(root), Message("no image has a label", remedies=tables), labels_only=True))
    if "group" not in rules and (part is None or part.number < level) and UNCLEAR not in at:
        findings.extend(_deeper(files, level))
    folders = {name: {kind: _at(name, level.number) for kind, level in at.items()} for name in files}
    labels = {name: None if (folder := _at(name, level)) in unlabelled else folder for name in files}
    values = {"group": {name: of.get("patients") for name, of in folders.items()}, "label": labels}
    for what, rule in rules.items():
        values[what] = rule.find(files)
        findings.extend(rule.findings(root, values[what], what))
    records = []
    for name, path in files.items():
        cells = {kind[:-1]: folder for kind in ("folds", "sets") if (folder := folders[name].get(kind))}
        if part and (named := part.parts.get(_at(name, part.number) or "")):
            cells[PART.name] = named
        columns = tuple(cells.items())
        records.append(ImageRecord(name, path, values["label"][name], values["group"][name], columns=columns))
    return records, findings


def _at(name: str, level: int) -> str | None:
    """Return the folder at a level of a path; None if there is none."""
    return name.split("/")[level - 1] if 0 < level <= name.count("/") else None


def _beside(files: dict[str, Path], part: Level | None) -> list[Finding]:
    """Leave out the images next to the parts of a split, with a warning for each folder."""
    beside = {name: folder for name in files if part and (folder := _at(name, part.number)) not in (None, *part.parts)}
    for name in beside:
        del files[name]
    message = "next to the parts of a split, and none; its {} images are left out; name a part train, val or test"
    return [
        Finding("warning", f"{folder}/", message.format(count)) for folder, count in Counter(beside.values()).items()
    ]


def _meaning(root: Path, files: Iterable[str], levels: Sequence[Level]) -> list[Finding]:
    """Return what the folders are taken for: a note if that is certain, else both readings, or that none is a class."""
    at = {level.kind: level for level in levels}
    if UNCLEAR in at:
        (first, names, *_), (second, inner, *_) = (level for level in levels if level.kind == UNCLEAR)
        message = Message(
            "folders at level {} ({}) may be the classes, or those at level {} ({})",
            first, few(names), second, few(inner),
            remedies=[
                Message("{label_from:{}} takes the first", first),
                Message("{label_from:{}} the second (and {group_from:{}} if the first are patients)", second, first),
            ],
        )  # fmt: skip
        return [Finding("error", str(root), message, labels_only=True)]
    if levels == [at.get("classes")]:
        return []
    roles = ", ".join(f"{level.kind} at level {level.number} ({few(level.parts or level.names)})" for level in levels)
    outside = [level.number for level in levels if level.kind not in ("classes", AROUND)][:1]
    remedies = [Message("{label_from:{}} takes level {} for the classes", number, number) for number in outside]
    if "classes" not in at:
        text, cures = (
            "folders are taken for {}, not for classes, so images have no label",
            ["make a folder for each class", *_tables(root), *remedies],
        )
        return [Finding("warning", str(root), Message(text, roles, remedies=cures), labels_only=True)]
    if part := at.get(SPLIT):
        labelled = {part.parts.get(_at(name, part.number) or "") for name in files if _at(name, at["classes"].number)}
        remedies[:0] = [Message("{folds:folder} keeps the split")] if {"train", "test"} <= labelled else []
    sets = [kind[:-1] for kind in ("folds", "sets") if kind in at]
    remedies[:0] = [Message(f"{{folds:site:{kind}}} tests one {kind} after the other") for kind in sets]
    return [Finding("note", str(root), Message("folders are taken for {}", roles, remedies=remedies), labels_only=True)]


def _tables(root: Path) -> list[Message]:
    """Return a remedy for each table in the folder or beside it, which may hold the labels."""
    remedies: list[Message] = []
    for path in sorted({*root.glob("*.*"), *root.absolute().parent.glob("*.*")}):
        if path.suffix.casefold() in (".csv", ".tsv", ".xlsx") and len(remedies) < _MOST_TABLES:
            with contextlib.suppress(InputError, OSError):
                read_csv(path, needed=[], expected="")
                remedies.append(Message("{labels:{}} takes them from this table", path))
    return remedies


def _empty_folders(root: Path, used: set[str]) -> list[Finding]:
    """Return warnings for folders that could be classes but contain no image."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and is_folder(path))
    message = f"no {IMAGE_KINDS} image is in this folder, so it is not used as a class"
    return [Finding("warning", f"{name}/", message) for name in names if name not in used]


def _deeper(names: Iterable[str], level: int) -> list[Finding]:
    """Return a note on folders below the class folders, which might be patients or classes."""
    deeper = dict.fromkeys(
        "/".join(name.split("/")[: level + 1]) for name in names if name.count("/") > level > 0 and not barcode_of(name)
    )
    message = Message(
        "these folders below the classes are not taken for patients",
        remedies=[
            Message("if the path names them, use {group_from:{}}", level + 1),
            "give them as the column group of a manifest (`bchisto data list` writes one to fill in)",
            Message("if they are the classes, use {label_from:{}}", level + 1),
        ],
    )
    return [Finding("note", few(deeper), message)] if deeper else []


LAYOUT = LayoutSpec(
    name="folder", read=read_folder, options=frozenset({"classes", "group_from", "label_from"}), fallback=True
)
