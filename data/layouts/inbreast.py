"""The layout of INbreast: ``ALL-IMGS/*.dcm`` and the table ``INbreast.csv`` or ``INbreast.xls``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from ...core import InputError
from ...formats import TableFacts, table_rows
from ..dataset import ImageRecord
from ..findings import Finding
from ..walk import walk_files
from .spec import LayoutSpec

INBREAST_NAME = re.compile(r"(\d{8})_([0-9a-f]+)_MG_([LR])_(CC|ML|FB)_ANON\.dcm")
"""Pattern of the file names, with groups image number, code of the patient (a hash), side and view."""

BIRADS_CLASSES = ("negative", "positive")
"""Negative is BI-RADS 1 to 3; positive is BI-RADS 4 (also 4a, 4b, 4c), 5 and 6."""

PRIVATE_FOLDERS = {"medicalreports": "holds personal data and is not read"}
"""Folders of the release that are neither listed nor opened, with the reason."""

INBREAST_IMAGES = 410
_TABLES = ("inbreast.csv", "inbreast.xls")
_COLUMNS = ("Laterality", "View", "File Name", "ACR", "Bi-Rads")
"""Columns of the table that are used. Ages and dates are ignored."""

_VIEWS = {"CC": "CC", "MLO": "ML", "ML": "ML", "FB": "FB"}


def read_inbreast(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read the table and the images.

    Parameters
    ----------
    root : Path
        The release, or any folder above it.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the code of the patient in the file name. Only the first sheet of an ``.xls`` is read, and nothing
        in the folder ``MedicalReports``, because both contain personal data.

    Raises
    ------
    InputError
        There is no table or more than one, or a column is missing.
    """
    findings: list[Finding] = []
    table, images = _files(root, findings)
    labels = _labels(table, findings)
    records = []
    numbers = set()
    for path in sorted(images):
        match = INBREAST_NAME.fullmatch(path.name)
        if match is None:
            findings.append(Finding("warning", path.name, "not an INbreast file name, left out"))
            continue
        row = labels.get(match[1])
        if row is None:
            message = f"no row with a BI-RADS class in {table.name}; add it or remove the image"
            findings.append(Finding("error", path.name, message))
            continue
        label, side, view = row
        if (side, _VIEWS.get(view, view)) != (match[3], match[4]):
            message = f"its name has {match[3]} {match[4]}, {table.name} has {side} {view}"
            findings.append(Finding("warning", path.name, message))
        numbers.add(match[1])
        records.append(ImageRecord(path.name, path, label, match[2], source="inbreast"))
    for number in sorted(set(labels) - numbers):
        message = "there is no such image; download it again or remove the row"
        findings.append(Finding("error", f"{table.name}: {number}", message))
    if len(records) != INBREAST_IMAGES:
        message = f"{len(records)} of the {INBREAST_IMAGES} published images are present"
        findings.append(Finding("note", str(root), message))
    return records, findings


def _files(root: Path, findings: list[Finding]) -> tuple[Path, list[Path]]:
    """Find the table and the DICOM files, without listing or opening ``MedicalReports``."""
    tables: dict[str, list[Path]] = {".csv": [], ".xls": []}
    images = []
    for path in walk_files(root, findings, skip=PRIVATE_FOLDERS):
        if path.stem.casefold() == "inbreast" and path.suffix.casefold() in tables:
            tables[path.suffix.casefold()].append(path)
        elif path.suffix.casefold() == ".dcm":
            images.append(path)
    present = tables[".csv"] or tables[".xls"]
    if not present:
        raise InputError(f"{root}: no INbreast.csv or INbreast.xls here; copy the table of the release")
    if len(present) > 1:
        raise InputError(f"{present[0]} and {present[1]}: two tables; keep one")
    return present[0], images


def _labels(table: Path, findings: list[Finding]) -> dict[str, tuple[str, str, str]]:
    """Return a dict from image number to class, side and view."""
    labels: dict[str, tuple[str, str, str]] = {}
    for number, row in _columns(table, findings):
        image, grade, view, where = row["File Name"], row["Bi-Rads"], row["View"], f"{table.name}:{number}"
        if not image.isdecimal():
            text = " ".join(filter(None, row.values())) or "blank"
            findings.append(Finding("note", where, f"not an image ({text}), left out"))
            continue
        if not re.fullmatch(r"[12356]|4[abc]?", grade):
            message = f"{image}: Bi-Rads {grade!r} is none of 1, 2, 3, 4, 4a, 4b, 4c, 5, 6; correct it"
            findings.append(Finding("error", where, message))
            continue
        if image in labels:
            findings.append(Finding("error", where, f"{image} has two rows; remove one"))
        if view not in ("CC", "MLO", "ML"):
            findings.append(Finding("note", where, f"{image}: an unusual view, {view}"))
        if not row["ACR"]:
            findings.append(Finding("note", where, f"{image}: no ACR density"))
        labels[image] = (BIRADS_CLASSES[grade[0] in "456"], row["Laterality"], view)
    return labels


def _columns(path: Path, findings: list[Finding]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and the used columns of each row, including blank rows, which the caller reports."""
    about = TableFacts()
    lines = table_rows(path, fits=lambda cells: set(_COLUMNS) <= set(cells), about=about)
    _, header = next(lines, (1, []))
    if missing := [name for name in _COLUMNS if name not in header]:
        raise InputError(f"{path}: no column {missing[0]!r}; expected {', '.join(_COLUMNS)}")
    for number, cells in lines:
        row = dict(itertools.zip_longest(header, cells[: len(header)], fillvalue=""))
        yield number, {name: row[name] for name in _COLUMNS}
    findings.extend(Finding("note", path.name, note) for note in about.notes if "separated" not in note)


LAYOUT = LayoutSpec(
    name="inbreast",
    read=read_inbreast,
    recognise_name=lambda name: bool(INBREAST_NAME.fullmatch(name) or name.casefold() in _TABLES),
    unopened=PRIVATE_FOLDERS,
    group_is="patient",
    classes=BIRADS_CLASSES,
    positive=("positive",),
    stained=False,
)
