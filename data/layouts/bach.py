"""The official layout of BACH (ICIAR 2018): ``Photos/{Normal,Benign,InSitu,Invasive}`` and the ground truth."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...core import Message
from ...core.formats import published_rows, table_rows
from ..classes import match_class
from ..dataset import IMAGE_SUFFIXES, SYNTHETIC_MARK, ImageRecord
from ..findings import Findings
from ..images import other_sizes
from ..walk import walk_files
from .registry import LayoutReading, LayoutSpec

BACH_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
BACH_MPP = 0.42
"""Micrometres per pixel. Rakhlin et al. 2018, sec. 2.1."""

BACH_MAGNIFICATION = 200
BACH_SIZE = (2048, 1536)
"""Width and height of every image, pixels. Rakhlin et al. 2018, sec. 2.1."""

GROUND_TRUTH = "microscopy_ground_truth.csv"
_BESIDE = (GROUND_TRUTH, SYNTHETIC_MARK)
_ENOUGH = 360
"""Number of the 400 names, 90 %, that must be present to take images for those of BACH without the ground truth."""
PREFIX = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}


def find_photos(root: Path) -> Path | None:
    """Return the folder that contains the four class folders, at `root` or up to two levels below; None if none."""
    for folder in (root, root / "Photos", root / "ICIAR2018_BACH_Challenge" / "Photos"):
        present = [name for name in BACH_CLASSES if os.path.isdir(folder / name)]  # noqa: PTH112 - without errors
        if len(present) >= 2 and any(_official(folder)):
            return folder
    return None


def _official(photos: Path) -> Iterator[Path]:
    """Yield the files with one of the 400 names in the folder of their class."""
    for name, prefix in PREFIX.items():
        folder = photos / name
        with contextlib.suppress(OSError):  # the reader will report a folder that cannot be listed
            yield from (
                path
                for path in folder.iterdir()
                if re.fullmatch(rf"{prefix}(?!000)(0\d\d|100)\.tif", path.name)
            )


def read_bach(root: Path) -> LayoutReading:
    """Read the images and the ground-truth table.

    Parameters
    ----------
    root : Path
        ``ICIAR2018_BACH_Challenge``, its folder ``Photos``, or the folder above it.

    Returns
    -------
    list of ImageRecord, list of Finding
    """
    photos = find_photos(root)
    if photos is None:
        return [], []
    findings = Findings()
    truth = _read_truth(photos / GROUND_TRUTH, findings)
    files = [
        path
        for path in sorted(walk_files(photos, findings, hidden=True))
        if path.name not in _BESIDE
    ]
    records = [
        record for path in files if (record := _record(path, photos, truth, findings)) is not None
    ]
    for name in sorted(set(truth) - {record.image_id for record in records}):
        message = (
            f"in {GROUND_TRUTH} but there is no such image; download it again or remove the row"
        )
        findings.error(name, message)
    if not (photos.parent / SYNTHETIC_MARK).is_file():
        records = _published(records, truth, photos, findings)
    labels = {record.label for record in records}
    for name in BACH_CLASSES:
        if name not in labels and os.path.isdir(photos / name):  # noqa: PTH112
            findings.warning(f"{name}/", "no image of this class is in its folder")
    return records, findings


def _record(
    path: Path, photos: Path, truth: dict[str, str], findings: Findings
) -> ImageRecord | None:
    name = path.name
    folder = path.relative_to(photos).parent.as_posix()
    if path.suffix.casefold() not in IMAGE_SUFFIXES or folder not in BACH_CLASSES:
        findings.warning(name, "not an image in one of the four class folders, left out")
        return None
    if not re.fullmatch(rf"{PREFIX[folder]}\d{{3}}\.tif", name):
        findings.warning(name, f"not an official name in {folder} (like {PREFIX[folder]}001.tif)")
    if truth and name not in truth:
        findings.error(name, f"no label in {GROUND_TRUTH}; add its row or remove the image")
    elif truth and truth[name] != folder:
        message = f"is in {folder} but {GROUND_TRUTH} has {truth[name]}; correct one of them"
        findings.error(name, message)
    return ImageRecord(
        name, path, folder, magnification=BACH_MAGNIFICATION, mpp=BACH_MPP, source="bach"
    )


def _published(
    records: Sequence[ImageRecord], truth: Mapping[str, str], photos: Path, findings: Findings
) -> list[ImageRecord]:
    """Return the records with published patients, or without micrometres if they are not known to be those of BACH.

    Names like ``b001.tif`` are also those of other images. The patients of 145 of the 400 images were published, see
    ``published/SOURCES.md``.
    """
    agrees = all(truth.get(record.image_id) == record.label for record in records)
    is_complete = len([*_official(photos)]) >= _ENOUGH
    resized = other_sizes(records, BACH_SIZE)
    patient_of = {
        row["image_id"]: row["patient"] for row in published_rows(__package__, "bach_patients.csv")
    }
    adjusted_records = []
    for record in records:
        if (agrees or is_complete) and record.image_id not in resized:
            adjusted_records.append(replace(record, group=patient_of.get(record.image_id)))
        else:
            adjusted_records.append(replace(record, mpp=None, magnification=None))
    unknown = sum(record.mpp is None for record in adjusted_records)
    if unknown:
        text = (
            f"{unknown} of {len(records)} images are only named as those of BACH, without its size (2048x1536), or "
            f"{_ENOUGH} of its 400 names or a {GROUND_TRUTH} that agrees: they get neither its patients nor its "
            "micrometres per pixel"
        )
        remedy = Message("{dataset:folder} reads folders of your own")
        findings.note(str(photos), Message("{}", text, remedies=[remedy]))
    return adjusted_records


def _read_truth(path: Path, findings: Findings) -> dict[str, str]:
    if not path.is_file():
        findings.warning(GROUND_TRUTH, "missing; labels are taken only from the folders")
        return {}
    truth: dict[str, str] = {}
    for number, row in table_rows(path).rows:
        if not row:
            continue
        label = match_class(row[1], BACH_CLASSES) if len(row) == 2 else None
        if label is None:
            findings.error(f"{GROUND_TRUTH}:{number}", f"not `file,class`: {','.join(row)!r}")
        elif truth.setdefault(row[0], label) != label:
            findings.error(f"{GROUND_TRUTH}:{number}", f"{row[0]} has two labels")
    return truth


_MARKS = frozenset(map(str.casefold, (*BACH_CLASSES, "Photos", "ICIAR2018_BACH_Challenge")))
"""A folder without any of these needs no further look."""

LAYOUT = LayoutSpec(
    name="bach",
    expected=f"Photos/{{{','.join(BACH_CLASSES)}}} with files like b001.tif",
    read=read_bach,
    recognise=lambda root: (
        any(path.name.casefold() in _MARKS for path in root.iterdir()) and bool(find_photos(root))
    ),
    classes=BACH_CLASSES,
    positive=("InSitu", "Invasive"),  # carcinoma: Rakhlin et al. 2018, sec. 3
    size=BACH_SIZE,
    patients_apart=True,
)
