"""Layouts of the user's own: a folder per class, and a CSV manifest."""

from __future__ import annotations

import csv
from pathlib import Path

from ..errors import InputError
from .dataset import IMAGE_SUFFIXES, Finding, ImageRecord

__all__ = ["read_folder", "read_manifest"]


def read_folder(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images: the first folder below `root` is the class.

    Images directly in `root` have no label, and are used only where there are no class folders.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        No TIFF, PNG, JPEG or DICOM file below `root`.
    """
    findings: list[Finding] = []
    labelled: list[ImageRecord] = []
    loose: list[ImageRecord] = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        relative = path.relative_to(root)
        if path.suffix.casefold() not in IMAGE_SUFFIXES:
            findings.append(Finding("note", relative.as_posix(), "not a TIFF, PNG, JPEG or DICOM file, left out"))
            continue
        label = relative.parts[0] if len(relative.parts) > 1 else None
        record = ImageRecord(image_id=relative.as_posix(), path=path, label=label)
        (loose if label is None else labelled).append(record)
    if not labelled and not loose:
        raise InputError(f"{root}: no TIFF, PNG, JPEG or DICOM image in this folder")
    if labelled and loose:
        findings.extend(
            Finding("warning", record.image_id, "lies beside the class folders and has no label, left out")
            for record in loose
        )
    return labelled or loose, findings


def read_manifest(path: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a CSV manifest with a header ``path,label,group[,image_id]``; only ``path`` is required.

    Relative paths are taken from the folder of the manifest. An empty label or group means unknown.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        Not UTF-8, no header, no ``path`` column, or no rows.
    """
    records: list[ImageRecord] = []
    findings: list[Finding] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            if "path" not in (reader.fieldnames or ()):
                raise InputError(f"{path}: the header must have a column `path` (path,label,group[,image_id])")
            for number, row in enumerate(reader, start=2):
                name = (row["path"] or "").strip()
                if not name:
                    findings.append(Finding("error", f"{path.name}:{number}", "an empty path; remove the row"))
                    continue
                file = path.parent / name
                if not file.is_file():
                    findings.append(Finding("error", f"{path.name}:{number}", f"there is no file {file}"))
                    continue
                records.append(
                    ImageRecord(
                        image_id=(row.get("image_id") or "").strip() or Path(name).as_posix(),
                        path=file,
                        label=(row.get("label") or "").strip() or None,
                        group=(row.get("group") or "").strip() or None,
                        source="csv",
                    )
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from error
    if not records and not findings:
        raise InputError(f"{path}: the manifest has no rows")
    return records, findings
