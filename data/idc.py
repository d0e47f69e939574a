"""The layout of the IDC patches: ``<slide>/<0|1>/<slide>_idx5_x<X>_y<Y>_class<0|1>.png``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from .dataset import Finding, ImageRecord

__all__ = ["IDC_CLASSES", "IDC_NAME", "IDC_SIZE", "read_idc"]

IDC_NAME = re.compile(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])\.png")
"""Pattern of all file names: slide, place in the slide, class."""

IDC_CLASSES = ("negative", "positive")
"""Class 0 and class 1: without and with invasive ductal carcinoma."""

IDC_SIZE = (50, 50)
"""Width and height of a patch, pixels; some at the edge of their slide are smaller."""

IDC_PATCHES = 277_524


def read_idc(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a tree of IDC patches in one pass over its folders.

    Parameters
    ----------
    root : Path
        ``IDC_regular_ps50_idx5`` or any folder above it. The published archive repeats the whole tree; a patch at
        two paths is used once by the caller.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the slide.

    Raises
    ------
    InputError
        No IDC file name below `root`.
    """
    records: list[ImageRecord] = []
    findings: list[Finding] = []
    for folder, name in _files(root):
        match = IDC_NAME.fullmatch(name)
        if match is None:
            finding = Finding("warning" if name.endswith(".png") else "note", name, "not an IDC patch, left out")
            findings.append(finding)
            continue
        if folder.name != match[4] or folder.parent.name != match[1]:
            where = f"{folder.parent.name}/{folder.name}"
            findings.append(Finding("error", name, f"lies in {where}, its name says {match[1]}/{match[4]}; move it"))
        records.append(
            ImageRecord(
                image_id=name, path=folder / name, label=IDC_CLASSES[int(match[4])], group=match[1], source="idc"
            )
        )
    if not records:
        raise InputError(f"{root}: no IDC patch here; expected names like 8863_idx5_x451_y1451_class0.png")
    total = len({record.image_id for record in records})
    if total != IDC_PATCHES:
        findings.append(Finding("note", str(root), f"{total:,} of the {IDC_PATCHES:,} published patches are here"))
    return records, findings


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from ((Path(folder), name) for name in sorted(names))
