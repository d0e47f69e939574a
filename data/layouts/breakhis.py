"""The official layout of BreakHis, whose file names contain class, patient and magnification."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..dataset import IMAGE_SUFFIXES, ImageRecord, part_of
from ..findings import Findings
from ..images import other_sizes
from ..walk import walk_files
from .registry import LayoutReading, LayoutSpec

BREAKHIS_NAME = re.compile(r"SOB_([BM])_([A-Z]+)-(\d{2})-([0-9A-Z]+)-(40|100|200|400)-(\d{3})\.png")
"""Pattern of all 7,909 file names, with groups class, tumour type, year, slide, magnification and number."""

BREAKHIS_TYPES = {
    "B": ("A", "F", "PT", "TA"),  # adenosis, fibroadenoma, phyllodes tumour, tubular adenoma
    "M": ("DC", "LC", "MC", "PC"),  # ductal, lobular, mucinous, papillary carcinoma
}

BREAKHIS_SIZE = (700, 460)
"""Width and height, pixels. Spanhol et al. 2016, sec. II."""

BREAKHIS_MPP = {
    magnification: 6.5 / 3.3 / (magnification / 10) for magnification in (40, 100, 200, 400)
}
"""Magnification to micrometres per pixel: the camera's pixel (6.5) divided by the factors of the relay lens (3.3) and
of the objective. The ocular lens contributes a factor of 10 to the nominal magnification. Spanhol et al. 2016,
sec. II."""

_CLASS = {"B": "benign", "M": "malignant"}

_SLIDE = re.compile(r"SOB_[BM]_[A-Z]+[_-]\d{2}-[0-9A-Z]+")
"""Name of the folder of a slide."""


def read_breakhis(
    root: Path, *, label_level: str = "class", magnifications: Iterable[int] = ()
) -> LayoutReading:
    """Read BreakHis; folders are searched recursively because some releases nest slides within slides.

    Parameters
    ----------
    root : Path
        ``BreaKHis_v1`` or any folder above or below it.
    label_level : {"class", "type"}
        Benign against malignant, or the eight tumour types.
    magnifications : iterable of int
        Magnifications to keep; empty keeps all.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the patient ID in the file name (``14-2523``). It is the same for the two slides of 14-13412.
        Images of another size than the published have no micrometres per pixel.
    """
    selected = set(magnifications)
    records = []
    findings = Findings()
    for path in sorted(walk_files(root, findings, hidden=True)):
        if path.suffix.casefold() not in IMAGE_SUFFIXES:
            continue
        match = BREAKHIS_NAME.fullmatch(path.name)
        if match is None or match[2] not in BREAKHIS_TYPES[match[1]]:
            findings.warning(path.name, "not a BreakHis file name, left out")
            continue
        if re.fullmatch(rf"(?!{match[5]}X)\d+X", path.absolute().parent.name):
            findings.warning(path.name, "its magnification is that of its name, not its folder")
        magnification = int(match[5])
        if selected and magnification not in selected:
            continue
        label = _CLASS[match[1]] if label_level == "class" else match[2]
        patient = f"{match[3]}-{match[4]}"
        mpp = BREAKHIS_MPP[magnification]
        records.append(
            ImageRecord(path.name, path, label, patient, magnification, mpp, source="breakhis")
        )
    resized = other_sizes(records, BREAKHIS_SIZE)
    for number, record in enumerate(records):
        if record.image_id in resized:
            records[number] = replace(record, mpp=None)
    return records, findings


def breakhis_mpp(record: ImageRecord) -> float | None:
    """Return the micrometres per pixel of an image with a published name and size; None for others."""
    match = BREAKHIS_NAME.fullmatch(record.path.name)
    if match is None or other_sizes([record], BREAKHIS_SIZE):
        return None
    return BREAKHIS_MPP[int(match[5])]


def _in_place(root: Path, path: Path) -> bool:
    """Whether a file is in the folder of its magnification, with a slide above it, or no folder that may be a class.

    The authors' folds are ``fold1/train/40X/``; ``cases/40X/`` is a layout of the user.
    """
    match = BREAKHIS_NAME.fullmatch(path.name)
    if match is None or path.absolute().parent.name != f"{match[5]}X":
        return False
    above = path.relative_to(root).parts[:-2]
    if above and _SLIDE.fullmatch(above[-1]):
        return True
    return all(part_of(name) or re.fullmatch(r"(mk)?folds?[\W_]?\d*", name) for name in above)


def _is_flat(root: Path) -> bool:
    """Whether all images directly in the folder have BreakHis names. If not, the folder is a layout of the user."""
    try:
        names = [path.name for path in root.iterdir() if path.suffix.casefold() in IMAGE_SUFFIXES]
    except OSError:  # the reader will report it
        return False
    return bool(names) and all(BREAKHIS_NAME.fullmatch(name) for name in names)


LAYOUT = LayoutSpec(
    name="breakhis",
    read=read_breakhis,
    recognise=lambda root: any(root.glob("SOB_*.png")) and _is_flat(root),
    recognise_name=BREAKHIS_NAME.fullmatch,
    in_place=_in_place,
    patient_in=re.compile(
        r"SOB_[BM]_[A-Z]+-(\d{2}-[0-9A-Z]+)-(?:40|100|200|400)-\d{3}(?!\d)", re.IGNORECASE
    ),
    classes=("benign", "malignant"),
    types=BREAKHIS_TYPES["B"] + BREAKHIS_TYPES["M"],
    positive=("malignant",),
    size=BREAKHIS_SIZE,
    images=7909,
    expected="names like SOB_M_DC-14-2523-40-001.png",
    options=frozenset({"label_level", "magnifications"}),
)
