"""A layout of the user's own: a CSV manifest."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ..csvtable import CsvTable, read_csv
from ..dataset import ImageRecord
from ..findings import Finding
from .spec import LayoutSpec

__all__ = ["LAYOUT", "read_manifest"]

GROUP_COLUMNS = ("group", "patient", "patient_id", "case", "slide", "slide_id")
"""Columns of a manifest that may hold the group; the first that is there is taken, patients before slides."""

_OTHER_COLUMNS = ("path", "label", "image_id")


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
                columns=tuple((key, cell) for key, cell in row.items() if cell and key not in _OTHER_COLUMNS),
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
        message = f"columns that are not used: {', '.join(unused)} (used are path, label, group and image_id, and "
        message += "those that a protocol names)"
        findings.append(Finding("note", name, message))
    return group, findings


def _overlong(table: CsvTable) -> list[Finding]:
    message = "more cells than the header has columns; put a cell that holds a comma in quotes"
    return [Finding("error", f"{table.path.name}:{number}", message) for number in table.overlong]


LAYOUT = LayoutSpec(name="csv", read=read_manifest, manifest=True, fallback=True)
