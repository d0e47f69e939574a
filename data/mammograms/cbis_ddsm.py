"""The layout of CBIS-DDSM: four tables, and a folder of DICOM files for each mammogram and each abnormality.

Each record is one abnormality. Its image is the published crop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...core import ImageError, message_of
from ...core.formats import read_csv, read_header
from ..dataset import ImageRecord
from ..findings import Findings
from ..layouts import LayoutReading
from ..walk import walk_files
from .ddsm import LAYOUT as DDSM
from .ddsm import pathology_label

CBIS_TABLE = re.compile(r"(mass|calc)_case_description_(train|test)_set\.csv")
CBIS_NAME = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)_(\d+)")
"""Pattern of the folder of an abnormality, which is also its ID, with groups kind, part of the official split, patient,
side, view and number."""

_COLUMNS = (
    "patient_id",
    "abnormality id",
    "pathology",
    "image file path",
    "cropped image file path",
)
_KIND = {"mass": "mass", "calc": "calcification"}


class _Mammogram(NamedTuple):
    name: str
    patient: str
    label: str
    mammogram: str


def read_cbis_ddsm(root: Path, *, lesions: Iterable[str] = ()) -> LayoutReading:
    """Read the tables and find the files of each row.

    Parameters
    ----------
    root : Path
        A folder that contains the tables and the image folders, at any depth.
    lesions : iterable of {"mass", "calcification"}
        Kinds of abnormalities whose tables are read; empty reads all tables.

    Returns
    -------
    list of ImageRecord, list of Finding
        ``path`` is the crop, ``frame`` the whole mammogram, and ``mask`` the mask of the abnormality in the mammogram.
        Crop and mask are distinguished by their size, because the download often swaps them. The group is the patient.

    Raises
    ------
    InputError
        A table lacks a column.
    """
    kinds = set(lesions) or set(_KIND.values())
    findings = Findings()
    tables = []
    files: dict[Path, list[Path]] = {}  # below each folder of an image
    for path in sorted(walk_files(root, findings)):
        match = CBIS_TABLE.fullmatch(path.name)
        if path.suffix == ".dcm":
            for folder in path.relative_to(root).parents:
                if "_P_" in folder.name:
                    files.setdefault(root / folder, []).append(path)
        elif match and _KIND[match[1]] in kinds:
            tables.append(path)
    folders = {folder.name: folder for folder in sorted(files)}
    records = []
    for table in tables:
        rows = _read_table(table, findings)
        absent = []
        for row in rows:
            if row.name not in folders:
                absent.append(row.name)
                continue
            frames = files.get(folders.get(row.mammogram, root), [])
            try:
                records.append(_record(row, files[folders[row.name]], frames, findings))
            except ImageError as error:
                findings.error(row.name, message_of(error))
        if absent:
            message = f"{len(absent)} of {len(rows)} rows name images that are missing, first {absent[0]}; left out"
            findings.warning(table.name, message)
    return records, findings


def _read_table(path: Path, findings: Findings) -> list[_Mammogram]:
    """Read a table. Its cells contain line breaks, so rows are counted instead of lines."""
    table = read_csv(path, needed=_COLUMNS, expected="that of the published table")
    rows = []
    for number, (_, cells) in enumerate(table.cells(_COLUMNS), start=1):
        patient, abnormality, pathology, mammogram, crop = cells
        label = pathology_label(pathology)
        match = CBIS_NAME.fullmatch(crop.partition("/")[0])
        if label is None:
            problem = f"pathology {pathology!r} is none of MALIGNANT, BENIGN, BENIGN_WITHOUT_CALLBACK; correct it"
        elif match is None or not mammogram:
            example = "Mass-Training_P_00001_LEFT_CC_1/.../000000.dcm"
            problem = f"{crop!r} is not a path like {example}; download the published table"
        elif (match[3], match[6]) != (patient, abnormality):
            columns = f"{patient}, abnormality {abnormality}"
            problem = f"its path is of {match[3]}, abnormality {match[6]}, its columns give {columns}; correct one"
        else:
            rows.append(_Mammogram(match[0], match[3], label, mammogram.partition("/")[0]))
            continue
        findings.error(f"{path.name}, row {number}", problem)
    return rows


def _record(
    row: _Mammogram, files: list[Path], frames: list[Path], findings: Findings
) -> ImageRecord:
    """Create the record of a row. The mask has the size of the mammogram; the crop is smaller.

    Raises
    ------
    ImageError
        Crop and mask cannot be distinguished, or a file cannot be read.
    """
    sizes = {path: read_header(path).size for path in (*files, *frames[:1])}
    if len(files) > 2:
        raise ImageError(f"{len(files)} files where a crop and a mask belong; remove the others")
    by_area = sorted(files, key=lambda path: math.prod(sizes[path]))
    crop = by_area[0]
    mask = by_area[1] if len(files) == 2 else None
    frame = frames[0] if frames else None
    if mask is None and frame is not None and sizes[crop] == sizes[frame]:
        raise ImageError("has a mask but no crop; copy the crop")
    if mask is None:
        findings.warning(row.name, "has no mask; only its crop is used")
    elif sizes[crop] == sizes[mask]:
        raise ImageError(
            "crop and mask have the same size and cannot be distinguished; copy them again"
        )
    elif frame is not None and sizes[mask] != sizes[frame]:
        size = f"{sizes[mask][0]}x{sizes[mask][1]}, the mammogram is {sizes[frame][0]}x{sizes[frame][1]}"
        findings.warning(row.name, f"its mask is {size}: it does not fit")
    return ImageRecord(
        row.name, crop, row.label, row.patient, source="cbis-ddsm", frame=frame, mask=mask
    )


LAYOUT = replace(
    DDSM,
    name="cbis-ddsm",
    read=read_cbis_ddsm,
    expected="mass_case_description_train_set.csv beside folders like Mass-Training_P_00001_LEFT_CC_1",
    recognise_name=lambda name: CBIS_TABLE.fullmatch(name) is not None,
    patient_in=re.compile(r"(P_\d{5})_(?:LEFT|RIGHT)_(?:CC|MLO)", re.IGNORECASE),
)
