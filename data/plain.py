"""Layouts of the user's own: a folder per class, and a CSV manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .csvtable import CsvTable, read_csv
from .dataset import IMAGE_SUFFIXES, ImageRecord
from .findings import Finding, few
from .walk import is_folder, walk_files

__all__ = ["check_split_folders", "read_folder", "read_manifest"]

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "holdout"})
"""Names of folders that are parts of a split and no classes."""

GROUP_COLUMNS = ("group", "patient", "patient_id", "case", "slide", "slide_id")
"""Columns of a manifest that may hold the group; the first that is there is taken, patients before slides."""

_OTHER_COLUMNS = ("path", "label", "image_id")


def read_folder(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images: the first folder below `root` is the class.

    Images directly in `root` have no label, and are used only where there are no class folders.

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
    return labelled or loose, findings


def _empty_folders(root: Path, used: set[str | None]) -> list[Finding]:
    """Name folders in the place of a class that hold no image."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and is_folder(path))
    message = "no TIFF, PNG, JPEG or DICOM image is in this folder, so it is no class"
    return [Finding("warning", f"{name}/", message) for name in names if name not in used]


def check_split_folders(root: Path, records: Sequence[ImageRecord]) -> list[Finding]:
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
        f"give one part (--images {root / first}), or a manifest path,label,group with --folds and a list "
        "image_id,fold,part; --classes with these names takes them for the classes"
    )
    return [Finding("error", str(root), message, labels_only=True)]


def read_manifest(path: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a CSV manifest with a header ``path,label,group[,image_id]``; only ``path`` is required.

    Relative paths are taken from the folder of the manifest. An empty label or group means unknown. The group may also
    stand in a column ``patient``, ``patient_id``, ``case``, ``slide`` or ``slide_id``. Case and blanks of a column's
    name, and blanks around a cell, do not count.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        Not UTF-8, no header, no ``path`` column, two columns of one name, or no rows.
    """
    table = read_csv(path, needed=("path",), expected="path,label,group[,image_id]")
    group, findings = _group_column(table)
    records: list[ImageRecord] = []
    for number, row in table.rows:
        name = row["path"]
        if not name:
            findings.append(Finding("error", f"{path.name}:{number}", "an empty path; remove the row"))
            continue
        file = path.parent / name
        if (problem := _missing(file)) is not None:
            findings.append(Finding("error", f"{path.name}:{number}", problem))
            continue
        records.append(
            ImageRecord(
                image_id=row.get("image_id") or Path(name).as_posix(),
                path=file,
                label=row.get("label") or None,
                group=row.get(group) or None,
                source="csv",
            )
        )
    findings.extend(_overlong(table))
    if not records and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{path}: the manifest has no rows")
    unknown = [record.image_id for record in records if record.group is None]
    if unknown and len(unknown) < len(records):
        message = (
            f"{len(unknown)} of {len(records)} images name no group (first {unknown[0]}), so folds cannot keep "
            "patients whole; fill it in, with a name of its own for the only image of a patient"
        )
        findings.append(Finding("warning", path.name, message))
    return records, findings


def _missing(file: Path) -> str | None:
    try:
        return None if file.is_file() else f"there is no file {file}"
    except OSError as error:
        return f"{file} cannot be read ({error.strerror or error})"


def _group_column(table: CsvTable) -> tuple[str, list[Finding]]:
    """Return the column that holds the group, and what must be said of it and of columns that are not used."""
    name = table.path.name
    found = [column for column in GROUP_COLUMNS if column in table.columns]
    group = found[0] if found else "group"
    findings = []
    if len(found) > 1:
        message = f"the group is taken from the column {table.columns[group]}; not used: "
        findings.append(Finding("warning", name, message + ", ".join(table.columns[other] for other in found[1:])))
    elif found and group != "group":
        findings.append(Finding("note", name, f"the group is taken from the column {table.columns[group]}"))
    unused = [said for key, said in table.columns.items() if key not in (*_OTHER_COLUMNS, *GROUP_COLUMNS)]
    if unused:
        message = f"columns that are not used: {', '.join(unused)} (used are path, label, group and image_id)"
        findings.append(Finding("note", name, message))
    return group, findings


def _overlong(table: CsvTable) -> list[Finding]:
    message = "more cells than the header has columns; put a cell that holds a comma in quotes"
    return [Finding("error", f"{table.path.name}:{number}", message) for number in table.overlong]
