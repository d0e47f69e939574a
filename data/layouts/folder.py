"""A layout for the user's own images: folders of classes, perhaps below or above those of a split, sets or patients."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...core import Message, few
from ...formats import PART
from ..dataset import IMAGE_KINDS, ImageRecord
from ..findings import Finding
from ..from_path import PathRule
from ..walk import is_folder, list_images
from .levels import Level, Reading, reading_of
from .spec import LayoutSpec

_ROLES = {
    "class": "the classes",
    "part": "the parts of a split",
    "fold": "folds",
    "set": "sets",
    "patient": "patients",
    "around": "a folder around all",
    "own": "folds with parts of their own, which are not kept,",
}
"""Kind of a level, see `reading_of`, to what it is called."""


def read_folder(
    root: Path, *, classes: Sequence[str] = (), group_from: str | None = None, label_from: str | None = None
) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images, in which the first folder below `root` is the class.

    Images directly in `root` have no label, and are used only if there are no class folders. If all first folders are
    parts of a split, such as ``train`` and ``test``, the class is the folder below. The part of an image is then
    stored in its column ``part``.

    Parameters
    ----------
    root : Path
    classes : sequence of str
        Class order from the user. Folders that look like parts of a split are classes if it names them.
    group_from, label_from : str, optional
        Rules that find group and label in the path below `root`, see `PathRule`. With ``label_from``, images directly
        in `root` are used, too. An image that a rule does not fit has no label or group.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        There is no TIFF, PNG, JPEG or DICOM file below `root` although all folders could be read, or a rule is invalid.
    """
    from .registry import known_classes  # which imports this module

    options = {"group": group_from, "label": label_from}
    rules = {what: PathRule.of(rule, name=f"{what}_from") for what, rule in options.items() if rule is not None}
    findings: list[Finding] = []
    files = list_images(root, findings)
    loose = [name for name in files if "/" not in name]
    reading = reading_of(files, known=itertools.chain.from_iterable(known_classes()), classes=classes)
    level = reading.label.number if reading.label else 0
    part, outer = reading.part, {level.kind: level.number for level in reversed(reading.outer)}
    if "label" in rules:
        level, outer = rules["label"].level, {}
    elif len(loose) < len(files):
        findings.extend(_empty_folders(root, {name.partition("/")[0] for name in files}))
        for name in loose:
            findings.append(Finding("warning", name, "is next to the class folders and has no label; skipped"))
            del files[name]
        findings.extend(_beside(files, part))
        findings.extend(_meaning(root, files, reading))
    if "group" not in rules and (part is None or part.number < level) and (reading.other is None or "label" in rules):
        findings.extend(_deeper(files, level))
    unlabelled = reading.label.parts if reading.label and "label" not in rules else {}
    labels = {name: None if (folder := _at(name, level)) in unlabelled else folder for name in files}
    patients = {name: _at(name, outer.get("patient", 0)) for name in files}
    values = {"group": patients, "label": labels}
    for what, rule in rules.items():
        values[what] = rule.find(files)
        findings.extend(rule.findings(root, values[what], what))
    records = []
    for name, path in files.items():
        columns = {kind: _at(name, outer.get(kind, 0)) for kind in ("fold", "set")}
        columns[PART.name] = part.parts.get(_at(name, part.number) or "") if part else None
        cells = tuple((key, cell) for key, cell in columns.items() if cell)
        records.append(ImageRecord(name, path, values["label"][name], values["group"][name], columns=cells))
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


def _meaning(root: Path, files: Iterable[str], reading: Reading) -> list[Finding]:
    """Return what the folders are taken for: a note if that is certain, else both readings, or that none is a class."""
    label, other = reading.label, reading.other
    if label is not None and other is not None:
        low, high = sorted((label, other), key=lambda level: level.number)
        remedies = [
            Message("{label_from:{}} takes the first", low.number),
            Message(
                "{label_from:{}} the second (and {group_from:{}} if the first are patients)", high.number, low.number
            ),
        ]
        text = "folders at level {} ({}) may be the classes, or those at level {} ({})"
        message = Message(text, low.number, few(low.names), high.number, few(high.names), remedies=remedies)
        return [Finding("error", str(root), message, labels_only=True)]
    part = reading.part
    levels = [*reading.outer, *([part] if part in reading.deeper else [])]
    labelled = label is not None and not label.parts
    if label is not None:
        split = replace(label, names=tuple(label.parts), kind="part")  # beside classes
        levels = sorted([*levels, replace(label, kind="class") if labelled else split], key=lambda level: level.number)
    if labelled and len(levels) == 1:
        return []
    roles = ", ".join(f"{_ROLES[level.kind]} at level {level.number} ({few(level.names)})" for level in levels)
    first = Message("{label_from:{}} takes level {} for the classes", levels[0].number, levels[0].number)
    if label is None or not labelled:
        remedies = ["put them into a folder for each class", first]
        message = Message(
            "folders are taken for {}, not for classes, so images have no label", roles, remedies=remedies
        )
        return [Finding("warning", str(root), message, labels_only=True)]
    whole = {part.parts.get(_at(name, part.number) or "") for name in files if part and _at(name, label.number)}
    kept = {name: f"{{folds:site:{name}}} tests one {name} after the other" for name in ("fold", "set")}
    if {"train", "test"} <= whole:
        kept["part"] = "{folds:folder} keeps the split"
    keeps = [Message(kept[level.kind]) for level in levels if level.kind in kept]
    return [Finding("note", str(root), Message("folders are taken for {}", roles, remedies=[*keeps, first]))]


def _empty_folders(root: Path, used: set[str]) -> list[Finding]:
    """Return warnings for folders that could be classes but contain no image."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and is_folder(path))
    message = f"no {IMAGE_KINDS} image is in this folder, so it is not used as a class"
    return [Finding("warning", f"{name}/", message) for name in names if name not in used]


def _deeper(names: Iterable[str], level: int) -> list[Finding]:
    """Return a note on folders below the class folders, which might be patients or classes."""
    deeper = dict.fromkeys("/".join(name.split("/")[: level + 1]) for name in names if name.count("/") > level > 0)
    message = Message(
        "these folders below the classes are not taken for patients",
        remedies=[
            Message(
                "if the path names them, use {group_from:{}}, or give them as the column group of a manifest (`bchisto "
                "data list` writes one to fill in)",
                level + 1,
            ),
            Message("if they are the classes, {label_from:{}}", level + 1),
        ],
    )
    return [Finding("note", few(deeper), message)] if deeper else []


LAYOUT = LayoutSpec(
    name="folder", read=read_folder, options=frozenset({"classes", "group_from", "label_from"}), fallback=True
)
