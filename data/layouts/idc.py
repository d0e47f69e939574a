"""The layout of the IDC patches: ``<slide>/<0|1>/<slide>_idx5_x<X>_y<Y>_class<0|1>.png``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...core import InputError
from ...core.jobs import Progress, in_threads
from ..dataset import ImageRecord
from ..findings import Finding, Level
from ..images import same_content
from ..walk import walk_files
from .registry import LayoutSpec

IDC_NAME = re.compile(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])\.png")
"""Pattern of all file names, with groups slide, x and y in the slide, and class."""

IDC_CLASSES = ("negative", "positive")
"""Class 0 and class 1: without and with invasive ductal carcinoma."""

IDC_SIZE = (50, 50)
"""Width and height of a patch in pixels. Some patches at the edge of their slide are smaller."""

IDC_PATCHES = 277_524


def read_idc(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read the IDC patches in a folder.

    Parameters
    ----------
    root : Path
        ``IDC_regular_ps50_idx5`` or any folder above it. The published archive contains the whole tree twice; a patch
        at two paths is used once if both files are equal.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the slide.

    Raises
    ------
    InputError
        There is no IDC patch below `root`.
    """
    findings: list[Finding] = []
    records: dict[str, ImageRecord] = {}
    repeated: list[tuple[Path, Path]] = []
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
                findings.append(Finding("error", name, message))
            record = ImageRecord(name, path, IDC_CLASSES[int(match[4])], match[1], source="idc")
            if (first := records.setdefault(name, record)) is not record:
                repeated.append((first.path, path))
    if not records and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{root}: no IDC patch in it; expected names like 8863_idx5_x451_y1451_class0.png")
    findings.extend(_compare(repeated, root))
    if len(records) != IDC_PATCHES:
        message = f"{len(records):,} of the {IDC_PATCHES:,} published patches are present"
        findings.append(Finding("note", str(root), message))
    return list(records.values()), findings


def _compare(repeated: Sequence[tuple[Path, Path]], root: Path) -> list[Finding]:
    """Return findings for patches at two paths: an error if their content differs, else a warning."""
    findings = []
    equal = 0
    with Progress(total=len(repeated), label="comparing", unit="repeated patches") as progress:
        same = in_threads(lambda pair: same_content(*pair), repeated)
        for number, ((first, second), is_equal) in enumerate(zip(repeated, same, strict=True), start=1):
            equal += is_equal
            if not is_equal:
                where = f"in {first.relative_to(root).parent} and {second.relative_to(root).parent}"
                message = f"two different patches have this name, {where}; remove one"
                findings.append(Finding("error", second.name, message))
            progress.update_to(number)
    if equal:
        where = f"first in {repeated[0][1].relative_to(root).parent}"
        message = f"{equal:,} patches are at two paths with equal content, {where}; each is used once"
        findings.append(Finding("warning", str(root), message))
    return findings


def _in_place(root: Path, path: Path) -> bool:
    """Whether a patch is in the folder of its class inside the folder of its slide."""
    match = IDC_NAME.fullmatch(path.name)
    return match is not None and path.absolute().parent.parts[-2:] == (match[1], match[4])


LAYOUT = LayoutSpec(
    name="idc",
    read=read_idc,
    recognise_name=lambda name: IDC_NAME.fullmatch(name) is not None,
    in_place=_in_place,
    image_is="patch",
    group_is="slide",
    classes=IDC_CLASSES,
    positive=("positive",),
    size=IDC_SIZE,
)
