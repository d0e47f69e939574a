"""The official layout of BACH (ICIAR 2018): ``Photos/{Normal,Benign,InSitu,Invasive}`` and the ground truth."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ...errors import InputError
from ..classes import match_class
from ..dataset import IMAGE_SUFFIXES, ImageRecord
from ..findings import Finding
from ..walk import is_folder, walk_files
from .spec import LayoutSpec

BACH_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
BACH_MPP = 0.42
"""Micrometres per pixel. Rakhlin et al. 2018, sec. 2.1."""

BACH_MAGNIFICATION = 200
BACH_SIZE = (2048, 1536)
"""Width and height of every image, pixels. Rakhlin et al. 2018, sec. 2.1."""

GROUND_TRUTH = "microscopy_ground_truth.csv"
_PREFIX = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}
_DEBRIS = frozenset({"thumbs.db", ".ds_store", "desktop.ini", "bchisto-synthetic.json"})


def find_photos(root: Path) -> Path | None:
    """Return the folder that holds the four class folders, at `root` or up to two levels below; None if none."""
    candidates = [root, root / "Photos", root / "ICIAR2018_BACH_Challenge" / "Photos"]
    for folder in candidates:
        if sum(is_folder(folder / name) for name in BACH_CLASSES) >= 2 and any(_official(folder)):
            return folder
    return None


def _official(photos: Path) -> Iterator[Path]:
    """Yield files with an official name in the folder of their class."""
    for name, prefix in _PREFIX.items():
        folder = photos / name
        with contextlib.suppress(OSError):  # a folder that cannot be listed is named by the reader
            yield from (path for path in folder.iterdir() if re.fullmatch(rf"{prefix}\d{{3}}\.tif", path.name))


def read_bach(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read the images and the ground-truth table.

    Parameters
    ----------
    root : Path
        ``ICIAR2018_BACH_Challenge``, its ``Photos``, or a folder that holds the former.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        No ``Photos`` folder with class folders below `root`.
    """
    photos = find_photos(root)
    if photos is None:
        raise InputError(
            f"{root}: no BACH layout here; expected Photos/{{{','.join(BACH_CLASSES)}}} with files like b001.tif"
        )
    findings: list[Finding] = []
    truth = _read_truth(photos / GROUND_TRUTH, findings)
    records = []
    for path in sorted(walk_files(photos, findings, hidden=True)):
        if path.name == GROUND_TRUTH:
            continue
        folder = path.parent.name if path.parent.parent == photos else ""
        record = _record(path, folder, truth, findings)
        if record is not None:
            records.append(record)
    present = {record.path.name for record in records}
    findings.extend(
        Finding("error", name, f"in {GROUND_TRUTH} but there is no such image; copy it again or remove the row")
        for name in sorted(set(truth) - present)
    )
    findings.extend(
        Finding("warning", f"{name}/", "no image of this class is in its folder")
        for name in BACH_CLASSES
        if name not in {record.label for record in records} and is_folder(photos / name)
    )
    if (photos.parent / "WSI").is_dir():
        findings.append(Finding("note", "WSI", "whole-slide images are not part of this task and are left out"))
    return records, findings


def _record(path: Path, folder: str, truth: dict[str, str], findings: list[Finding]) -> ImageRecord | None:
    name = path.name
    if name.casefold() in _DEBRIS:
        findings.append(Finding("note", name, "known debris, left out"))
        return None
    if path.suffix.casefold() not in IMAGE_SUFFIXES or folder not in BACH_CLASSES:
        findings.append(Finding("warning", name, "not an image in one of the four class folders, left out"))
        return None
    if not re.fullmatch(rf"{_PREFIX[folder]}\d{{3}}\.tif", name):
        expected = f"{_PREFIX[folder]}001.tif"
        findings.append(Finding("warning", name, f"not an official name in {folder} (like {expected})"))
    if truth and name not in truth:
        findings.append(Finding("error", name, f"no label in {GROUND_TRUTH}; add its row or remove the image"))
    elif truth and truth[name] != folder:
        findings.append(
            Finding("error", name, f"lies in {folder} but {GROUND_TRUTH} says {truth[name]}; correct one of them")
        )
    return ImageRecord(
        image_id=name, path=path, label=folder, magnification=BACH_MAGNIFICATION, mpp=BACH_MPP, source="bach"
    )


def _patients() -> dict[str, str]:
    """Return the patient of each image whose patient was published: 145 of 400, see ``published/SOURCES.md``."""
    text = (resources.files(__package__) / "published" / "bach_patients.csv").read_text(encoding="utf-8")
    return {row["image_id"]: row["patient"] for row in csv.DictReader(text.splitlines())}


def _read_truth(path: Path, findings: list[Finding]) -> dict[str, str]:
    if not path.is_file():
        findings.append(Finding("warning", GROUND_TRUTH, "missing; labels are taken from the folders alone"))
        return {}
    truth: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as handle:
        for number, row in enumerate(csv.reader(handle), start=1):
            if not row:
                continue
            label = match_class(row[1], BACH_CLASSES) if len(row) == 2 else None
            if label is None:
                findings.append(Finding("error", f"{GROUND_TRUTH}:{number}", f"not `file,class`: {','.join(row)!r}"))
            elif truth.setdefault(row[0], label) != label:
                findings.append(Finding("error", f"{GROUND_TRUTH}:{number}", f"{row[0]} has two labels"))
    return truth


LAYOUT = LayoutSpec(
    name="bach",
    read=read_bach,
    recognise=lambda root: find_photos(root) is not None,
    group_is="patient",
    classes=BACH_CLASSES,
    positive=("InSitu", "Invasive"),  # carcinoma: Rakhlin et al. 2018, sec. 3
    size=BACH_SIZE,
    patients=_patients,
)
