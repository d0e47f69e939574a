"""The layout of the IDC patches: ``<slide>/<0|1>/<slide>_idx5_x<X>_y<Y>_class<0|1>.png``."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.jobs import Progress
from ..dataset import ImageRecord
from ..findings import Finding, Findings, Level
from ..walk import walk_files
from .registry import LayoutReading, LayoutSpec

IDC_NAME = re.compile(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])\.png")
"""Pattern of all file names, with groups slide, x and y in the slide, and class."""

IDC_CLASSES = ("negative", "positive")
"""Class 0 and class 1: without and with invasive ductal carcinoma."""

IDC_SIZE = (50, 50)
"""Width and height of a patch in pixels. Some patches at the edge of their slide are smaller."""


def read_idc(root: Path) -> LayoutReading:
    """Read the IDC patches in a folder.

    Parameters
    ----------
    root : Path
        ``IDC_regular_ps50_idx5`` or any folder above it. The published archive contains the whole tree twice.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the slide; a patch at two paths has two records.
    """
    findings = Findings()
    records = []
    with Progress(total=None, label="listing files", unit="files") as progress:
        for number, path in enumerate(walk_files(root, findings, hidden=True), start=1):
            progress.update_to(number)
            name = path.name
            match = IDC_NAME.fullmatch(name)
            if match is None:
                level: Level = "warning" if name.endswith(".png") else "note"
                findings.append(Finding(level, name, "not an IDC patch, left out"))
                continue
            if not _in_place(root, path):
                where = "/".join(path.relative_to(root).parent.parts[-2:]) or "."
                message = f"is in {where}, its name has {match[1]}/{match[4]}; move it"
                findings.error(name, message)
            records.append(
                ImageRecord(name, path, IDC_CLASSES[int(match[4])], match[1], source="idc")
            )
    return records, findings


def _in_place(root: Path, path: Path) -> bool:
    """Whether a patch is in the folder of its class inside the folder of its slide."""
    match = IDC_NAME.fullmatch(path.name)
    return match is not None and path.absolute().parent.parts[-2:] == (match[1], match[4])


LAYOUT = LayoutSpec(
    name="idc",
    read=read_idc,
    recognise_name=IDC_NAME.fullmatch,
    in_place=_in_place,
    patient_in=re.compile(r"(\d+)_idx5_x\d+_y\d+_class[01]", re.IGNORECASE),
    image_is="patch",
    group_is="slide",
    classes=IDC_CLASSES,
    positive=("positive",),
    size=IDC_SIZE,
    images=277_524,
    expected="names like 8863_idx5_x451_y1451_class0.png",
)
