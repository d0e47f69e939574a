"""A layout of the user's own: a folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ..dataset import IMAGE_SUFFIXES, ImageRecord
from ..findings import Finding, few
from ..walk import is_folder, walk_files
from .spec import LayoutSpec

__all__ = ["LAYOUT", "read_folder"]

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "holdout"})
"""Names of folders that are parts of a split and no classes."""


def read_folder(root: Path, *, classes: Sequence[str] = ()) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images: the first folder below `root` is the class.

    Images directly in `root` have no label, and are used only where there are no class folders.

    Parameters
    ----------
    root : Path
    classes : sequence of str
        Class order that the user names; without it, folders that look like the parts of a split are refused.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        No TIFF, PNG, JPEG or DICOM file below `root`, and nothing that could not be read.
    """
    findings: list[Finding] = []
    labelled: list[ImageRecord] = []
    loose: list[ImageRecord] = []
    deeper: dict[str, None] = {}
    for path in sorted(walk_files(root, findings)):
        relative = path.relative_to(root)
        if path.suffix.casefold() not in IMAGE_SUFFIXES:
            findings.append(Finding("note", relative.as_posix(), "not a TIFF, PNG, JPEG or DICOM file, left out"))
            continue
        label = relative.parts[0] if len(relative.parts) > 1 else None
        record = ImageRecord(image_id=relative.as_posix(), path=path, label=label)
        (loose if label is None else labelled).append(record)
        if len(relative.parts) > 2:
            deeper.setdefault("/".join(relative.parts[:2]))
    if not labelled and not loose and not findings:
        raise InputError(f"{root}: no TIFF, PNG, JPEG or DICOM image in this folder")
    if labelled and loose:
        findings.extend(
            Finding("warning", record.image_id, "lies beside the class folders and has no label, left out")
            for record in loose
        )
    if labelled:
        findings.extend(_empty_folders(root, {record.label for record in labelled}))
    if deeper:
        message = (
            "these folders below the classes are not taken for patients; where they are, give them as the column group "
            "of a manifest (`bchisto data list` writes one to fill in)"
        )
        findings.append(Finding("note", few(deeper), message))
    if not labelled and not loose and all(finding.level == "note" for finding in findings):
        raise InputError(f"{root}: no TIFF, PNG, JPEG or DICOM image in this folder")
    records = labelled or loose
    return records, findings if classes else [*findings, *_split_folders(root, records)]


def _empty_folders(root: Path, used: set[str | None]) -> list[Finding]:
    """Name folders in the place of a class that hold no image."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and is_folder(path))
    message = "no TIFF, PNG, JPEG or DICOM image is in this folder, so it is no class"
    return [Finding("warning", f"{name}/", message) for name in names if name not in used]


def _split_folders(root: Path, records: Sequence[ImageRecord]) -> list[Finding]:
    """Find a tree whose first folders are the parts of a split, and the classes below them."""
    below: dict[str, set[str]] = {}
    for record in records:
        parts = record.image_id.split("/")
        if record.label is None or len(parts) < 2:
            return []
        below.setdefault(parts[0], set()).add(parts[1] if len(parts) > 2 else "")
    if not below or any(name.strip().casefold() not in _SPLITS for name in below):
        return []
    names, first = " and ".join(sorted(below)), sorted(below)[0]
    deeper = sorted({name for found in below.values() for name in found} - {""})
    if not deeper:
        message = f"the folders {names} look like parts of a split, and are taken for the classes; put a folder "
        return [Finding("warning", str(root), f"{message}for each class in their place")]
    message = (
        f"the folders {names} look like parts of a split and would become the classes, not {few(deeper)} below them; "
        f"give one part (`images={str(root / first)!r}`), or a manifest path,label,group with `folds` and a list "
        "image_id,fold,part; `classes` with these names takes them for the classes"
    )
    return [Finding("error", str(root), message, labels_only=True)]


LAYOUT = LayoutSpec(name="folder", read=read_folder, options=frozenset({"classes"}), fallback=True)
