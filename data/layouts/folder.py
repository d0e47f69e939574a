"""A layout for the user's own images: a folder per class, optionally inside folders for the parts of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core import InputError, Message, few
from ...formats import PART
from ..classes import match_class
from ..dataset import IMAGE_SUFFIXES, ImageRecord
from ..facts import part_of
from ..findings import Finding
from ..from_path import PathRule
from ..walk import is_folder, refuse_only_slides, walk_files
from .spec import LayoutSpec


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
    options = {"group": group_from, "label": label_from}
    rules = {what: PathRule.of(rule, name=f"{what}_from") for what, rule in options.items() if rule is not None}
    findings: list[Finding] = []
    files: dict[str, Path] = {}
    for path in sorted(walk_files(root, findings)):
        name = path.relative_to(root).as_posix()
        if path.suffix.casefold() in IMAGE_SUFFIXES:
            files[name] = path
        else:
            findings.append(Finding("note", name, "not a TIFF, PNG, JPEG or DICOM file, left out"))
    if not files and all(finding.level == "note" for finding in findings):
        raise InputError(f"{root}: no TIFF, PNG, JPEG or DICOM image in this folder")
    if not files:
        refuse_only_slides(root, findings)
    parts = _split_parts(root, files, classes, findings)
    level = 2 if parts else 1
    labels = {name: name.split("/")[level - 1] if name.count("/") >= level else None for name in files}
    loose = [name for name in files if "/" not in name]
    if "label" in rules:
        level = rules["label"].level
    elif len(loose) < len(files):
        for name in loose:
            findings.append(Finding("warning", name, "is next to the class folders and has no label; skipped"))
            del files[name]
        findings.extend(_empty_folders(root, {name.partition("/")[0] for name in files}))
    if "group" not in rules:
        findings.extend(_deeper(files, level))
    values = {"group": dict.fromkeys(files), "label": labels}
    for what, rule in rules.items():
        values[what] = rule.find(files)
        findings.extend(rule.findings(root, values[what], what))
    records = []
    for name, path in files.items():
        part = parts.get(name.partition("/")[0])
        columns = () if part is None else ((PART.name, part),)
        records.append(ImageRecord(name, path, values["label"][name], values["group"][name], columns=columns))
    return records, findings


def _empty_folders(root: Path, used: set[str]) -> list[Finding]:
    """Return warnings for folders that could be classes but contain no image."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and is_folder(path))
    message = "no TIFF, PNG, JPEG or DICOM image is in this folder, so it is not used as a class"
    return [Finding("warning", f"{name}/", message) for name in names if name not in used]


def _deeper(names: Iterable[str], level: int) -> list[Finding]:
    """Return a note on folders below the class folders, which might be patients."""
    deeper = dict.fromkeys("/".join(name.split("/")[: level + 1]) for name in names if name.count("/") > level > 0)
    message = Message(
        "these folders below the classes are not taken for patients",
        remedies=[
            Message(
                "if the path names them, use {group_from:{}}, or give them as the column group of a manifest (`bchisto "
                "data list` writes one to fill in)",
                level + 1,
            )
        ],
    )
    return [Finding("note", few(deeper), message)] if deeper else []


def _split_parts(root: Path, names: Iterable[str], classes: Sequence[str], findings: list[Finding]) -> dict[str, str]:
    """Return a dict from each first folder to its part of a split; empty unless all are parts with folders below."""
    folders: dict[str, set[str]] = {}
    for name in names:
        first, *below = name.split("/")
        if not below:
            return {}
        folders.setdefault(first, set()).update(below[:-1][:1])
    parts = {name: part for name in folders if (part := part_of(name)) is not None}
    if not parts or len(parts) < len(folders) or (classes and all(match_class(name, classes) for name in folders)):
        return {}
    text = f"the folders {' and '.join(sorted(folders))}"
    below = sorted(set().union(*folders.values()))
    if not below:
        message = f"{text} look like parts of a split, and are taken for the classes"
        findings.append(Finding("warning", str(root), f"{message}; replace them with a folder for each class"))
        return {}
    message = Message(
        "{} are taken for the parts of a split, and those below them ({}) for the classes",
        text,
        few(below),
        remedies=[Message("{folds:folder} keeps the split, {classes} with these names takes them for the classes")],
    )
    findings.append(Finding("note", str(root), message))
    return parts


LAYOUT = LayoutSpec(
    name="folder", read=read_folder, options=frozenset({"classes", "group_from", "label_from"}), fallback=True
)
