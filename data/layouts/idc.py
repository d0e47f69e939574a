"""The layout of the IDC patches: ``<slide>/<0|1>/<slide>_idx5_x<X>_y<Y>_class<0|1>.png``."""

from __future__ import annotations

import re
from pathlib import Path

from ...core import InputError
from ...formats import SLIDE, is_slide
from ...jobs import Progress
from ..dataset import ImageRecord
from ..findings import Finding
from ..images import same_content
from .index import FileIndex
from .spec import LayoutSpec

IDC_NAME = re.compile(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])\.png")
"""Pattern of all file names: slide, place in the slide, class."""

IDC_CLASSES = ("negative", "positive")
"""Class 0 and class 1: without and with invasive ductal carcinoma."""

IDC_SIZE = (50, 50)
"""Width and height of a patch, pixels; some at the edge of their slide are smaller."""

IDC_PATCHES = 277_524


def read_idc(root: Path) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a tree of IDC patches in one pass over its folders, which are remembered for next time.

    Parameters
    ----------
    root : Path
        ``IDC_regular_ps50_idx5`` or any folder above it. The published archive repeats the whole tree: a patch at
        two paths is used once where both files are equal.

    Returns
    -------
    list of ImageRecord, list of Finding
        The group is the slide.

    Raises
    ------
    InputError
        No IDC file name below `root`.
    """
    with Progress(total=None, label="index", unit="files") as progress:
        index = FileIndex.open(root, on_files=progress.update_to)
    findings: list[Finding] = list(index.findings)
    first: dict[str, str] = {}
    second: list[tuple[str, str]] = []
    for folder, name in index.files():
        match = IDC_NAME.fullmatch(name)
        if match is None:
            if is_slide(Path(name)):
                findings.append(Finding("warning", name, f"{SLIDE}; left out"))
                continue
            findings.append(Finding("warning" if name.endswith(".png") else "note", name, "not an IDC patch, left out"))
            continue
        parent, _, last = folder.rpartition("/")
        if last != match[4] or parent.rpartition("/")[2] != match[1]:
            where = "/".join(folder.split("/")[-2:]) or "."
            findings.append(Finding("error", name, f"lies in {where}, its name says {match[1]}/{match[4]}; move it"))
        if first.setdefault(name, folder) != folder:
            second.append((folder, name))
    if not first and not any(finding.level == "error" for finding in findings):
        raise InputError(f"{root}: no IDC patch here; expected names like 8863_idx5_x451_y1451_class0.png")
    findings.extend(_repeated(index, first, second))
    index.save()
    paths = {folder: index.root / folder for folder in set(first.values())}
    records = []
    for name, folder in first.items():
        label, slide = IDC_CLASSES[name[-5] == "1"], name.partition("_")[0]
        records.append(ImageRecord(name, paths[folder] / name, label, slide, source="idc"))
    if len(first) != IDC_PATCHES:
        findings.append(Finding("note", str(root), f"{len(first):,} of the {IDC_PATCHES:,} published patches are here"))
    return records, findings


def _repeated(index: FileIndex, first: dict[str, str], second: list[tuple[str, str]]) -> list[Finding]:
    """Compare patches that lie at two paths; folders found equal before are not read again while unchanged."""
    findings = []
    equal = 0
    differing: set[str] = set()
    pairs: dict[str, set[str]] = {}
    with Progress(total=len(second), label="compare", unit="repeated patches") as progress:
        for place, (folder, name) in enumerate(second, start=1):
            other = first[name]
            if index.equal.get(folder) == other or same_content(index.root / folder / name, index.root / other / name):
                equal += 1
                pairs.setdefault(folder, set()).add(other)
            else:
                differing.add(folder)
                where = f"in {other} and {folder}"
                findings.append(Finding("error", name, f"two different patches have this name, {where}; remove one"))
            progress.update_to(place)
    index.equal = {a: next(iter(b)) for a, b in pairs.items() if len(b) == 1 and a not in differing}
    if equal:
        where = f"first in {second[0][0]}"
        message = f"{equal:,} patches lie at two paths with equal content, {where}; each is used once"
        findings.append(Finding("warning", str(index.root), message))
    return findings


def _in_place(root: Path, path: Path) -> bool:
    """Whether a patch is in the folder of its class, in that of its slide."""
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
