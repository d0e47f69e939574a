"""The layout of INbreast: ``ALL-IMGS/*.dcm`` and the table ``INbreast.csv``, the first sheet of its ``.xls``."""

from __future__ import annotations

import re
from pathlib import Path

from ...core import InputError
from ...core.formats import read_csv
from ..dataset import ImageRecord
from ..findings import Findings
from ..layouts import LayoutReading, LayoutSpec
from ..walk import walk_files

INBREAST_NAME = re.compile(r"(\d{8})_([0-9a-f]+)_MG_([LR])_(CC|ML|FB)_ANON\.dcm")
"""Pattern of the file names, with groups image number, code of the patient (a hash), side and view."""

BIRADS_CLASSES = ("negative", "positive")
"""Negative is BI-RADS 0 to 3, by the rule of the published system (0 is an incomplete assessment); positive is BI-RADS
4 (also 4a, 4b, 4c), 5 and 6."""

PRIVATE_FOLDERS = {"medicalreports": "holds personal data and is not read"}
"""Folders of the release that are neither listed nor opened, with the reason."""

_TABLE = "inbreast.csv"
_COLUMNS = ("Laterality", "View", "File Name", "Bi-Rads")
"""Columns of the table that are used. Ages and dates are ignored."""

_VIEWS = {"CC": "CC", "MLO": "ML", "ML": "ML", "FB": "FB"}


def read_inbreast(root: Path) -> LayoutReading:
    """Read the table and the images.

    Parameters
    ----------
    root : Path
        The release, or any folder above it.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the code of the patient in the file name. Nothing in the folder ``MedicalReports`` is read, because
        it contains personal data.

    Raises
    ------
    InputError
        There is no table as CSV, or more than one, or a column is missing.
    """
    findings = Findings()
    files = sorted(walk_files(root, findings, skip=PRIVATE_FOLDERS))
    tables = [path for path in files if path.name.casefold() == _TABLE]
    if not tables:
        raise InputError(
            f"{root}: no INbreast.csv here; save the first sheet of the release's INbreast.xls as this"
        )
    if len(tables) > 1:
        raise InputError(f"{tables[0]} and {tables[1]}: two tables; keep one")
    table = tables[0]
    labels = _labels(table, findings)
    records = []
    numbers = set()
    for path in files:
        if path.suffix.casefold() != ".dcm":
            continue
        match = INBREAST_NAME.fullmatch(path.name)
        if match is None:
            findings.warning(path.name, "not an INbreast file name, left out")
            continue
        row = labels.get(match[1])
        if row is None:
            message = f"no row with a BI-RADS class in {table.name}; add it or remove the image"
            findings.error(path.name, message)
            continue
        label, side, view = row
        if (side, _VIEWS.get(view, view)) != (match[3], match[4]):
            message = f"its name has {match[3]} {match[4]}, {table.name} has {side} {view}"
            findings.warning(path.name, message)
        numbers.add(match[1])
        records.append(ImageRecord(path.name, path, label, match[2], source="inbreast"))
    for number in sorted(set(labels) - numbers):
        message = "there is no such image; download it again or remove the row"
        findings.error(f"{table.name}: {number}", message)
    return records, findings


def _labels(table: Path, findings: Findings) -> dict[str, tuple[str, str, str]]:
    """Return a dict from image number to class, side and view."""
    labels = {}
    rows = read_csv(table, needed=_COLUMNS, expected="that of the release's table")
    for number, (side, view, image, grade) in rows.cells(_COLUMNS):
        where = f"{table.name}:{number}"
        if not image.isdecimal():  # a row of no image
            continue
        if not re.fullmatch(r"[012356]|4[abc]?", grade):
            message = (
                f"{image}: Bi-Rads {grade!r} is none of 0, 1, 2, 3, 4, 4a, 4b, 4c, 5, 6; correct it"
            )
            findings.error(where, message)
            continue
        if grade == "0":
            findings.note(
                where,
                f"{image}: BI-RADS 0, an incomplete assessment, counts as negative",
            )
        if image in labels:
            findings.error(where, f"{image} has two rows; remove one")
        labels[image] = (BIRADS_CLASSES[grade[0] in "456"], side, view)
    return labels


LAYOUT = LayoutSpec(
    name="inbreast",
    read=read_inbreast,
    recognise_name=lambda name: bool(INBREAST_NAME.fullmatch(name) or name.casefold() == _TABLE),
    patient_in=re.compile(r"\d{8}_([0-9a-f]+)_MG_[LR]_(?:CC|ML|FB)_ANON", re.IGNORECASE),
    images=410,
    unopened=PRIVATE_FOLDERS,
    classes=BIRADS_CLASSES,
    positive=("positive",),
    stained=False,
)
