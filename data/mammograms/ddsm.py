"""The layout of DDSM: an ``.ics`` file for each case, with an image and perhaps an overlay for each view.

Each record is one marked abnormality. Its image is the part of the view inside the box of its boundary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import ImageError, InputError, counted
from ...core.formats import LJPEG_SUFFIX, limits, read_header
from ..dataset import Box, ImageRecord
from ..findings import Findings
from ..layouts import LESIONS, LayoutReading, LayoutSpec
from ..walk import walk_files

_STEPS = np.array(
    [[0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1]], dtype=np.int64
)
"""dx and dy of the chain codes 0 to 7, from north clockwise. Heath et al. 2001, overlay format of the DDSM."""

_CHAIN = re.compile(r"([0-9]{1,6}) ([0-9]{1,6})((?: [0-7])*) #")
_NUMBER = re.compile(r"[0-9]{1,6}")
"""A coordinate or a count. Mammograms have some thousand pixels per side."""


_Size = tuple[int, int]
"""Width and height in pixels."""


class Abnormality(NamedTuple):
    """One marked abnormality of a view.

    Attributes
    ----------
    number : int
        Number in the file, from 1.
    lesions : tuple of str
        ``mass`` or ``calcification``, one per LESION_TYPE line.
    pathology : str
        As in the file: MALIGNANT, BENIGN, BENIGN_WITHOUT_CALLBACK or UNPROVEN.
    box : (int, int, int, int)
        Left, top, right, bottom of the outer outline in pixels; right and bottom are exclusive.
    """

    number: int
    lesions: tuple[str, ...]
    pathology: str
    box: Box


def read_overlay(path: Path, size: _Size) -> list[Abnormality]:
    """Read the abnormalities from an overlay file.

    Parameters
    ----------
    path : Path
        The ``.OVERLAY`` file.
    size : (int, int)
        Width and height of the view in pixels. An outer outline that leaves it is an error.

    Returns
    -------
    list of Abnormality

    Raises
    ------
    InputError
        The file is unreadable, has another number of abnormalities than it states, or an invalid outer chain. The
        message names the abnormality, not the file.
    """
    text = _ascii_text(path, "an overlay", most=limits.DDSM_OVERLAY_BYTES)
    lines = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    head, *blocks = re.split(r"^ABNORMALITY\b", lines, flags=re.MULTILINE)
    announced = _number("TOTAL_ABNORMALITIES", head)
    if announced != len(blocks):
        counts = f"announces {announced} abnormalities and holds {len(blocks)}"
        raise InputError(f"{counts}; the file is broken, copy it again")
    return [_abnormality(f"ABNORMALITY{block}", size) for block in blocks]


def _ascii_text(path: Path, what: str, *, most: int) -> str:
    """Return the text of a small file of the DDSM.

    Raises
    ------
    InputError
        The file has more than `most` bytes, is not readable, or is not ASCII. The message does not name the file.
    """
    try:
        if path.stat().st_size > most:
            raise InputError(f"too large for {what}; replace it by the published file")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read as {} ({}); download it again", what, error) from error


def _values(name: str, text: str) -> list[str]:
    """Return the first word after each line that begins with a name."""
    return re.findall(rf"^{name} ([^ \n]+)", text, re.MULTILINE)


def _number(name: str, text: str) -> int:
    word = next(iter(_values(name, text)), "")
    if not _NUMBER.fullmatch(word):
        raise InputError(f"{name} {word[:60]!r} names no number; the file is broken, copy it again")
    return int(word)


def _abnormality(text: str, size: _Size) -> Abnormality:
    number = _number("ABNORMALITY", text)
    chains = re.findall(r"^(?:BOUNDARY|CORE)\b.*\n?(.*)", text, re.MULTILINE)
    announced = _number("TOTAL_OUTLINES", text)
    if not chains or announced != len(chains):
        raise InputError(
            f"abnormality {number} announces {announced} outlines and has {len(chains)}; download the file again"
        )
    match = _CHAIN.fullmatch(chains[0])  # the outer outline; cores are inside of it
    if match is None:
        raise InputError(
            f"abnormality {number}: its chain is not x, y, codes from 0 to 7, and #; download the file again"
        )
    start = np.array([int(match[1]), int(match[2])])
    codes = np.array(match[3].split(), dtype=np.int64)
    points = np.vstack([start, start + np.cumsum(_STEPS[codes], axis=0)])
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    if min(left, top) < 0 or right >= size[0] or bottom >= size[1]:
        raise InputError(
            f"abnormality {number}: its chain leaves the view of {size[0]}x{size[1]}; download the file again"
        )
    lesions = tuple(map(str.casefold, _values("LESION_TYPE", text)))
    pathology = next(iter(_values("PATHOLOGY", text)), "")
    return Abnormality(number, lesions, pathology, (left, top, right + 1, bottom + 1))


PATHOLOGY_CLASSES = ("benign", "malignant")

_PATHOLOGY = {"BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign", "MALIGNANT": "malignant"}
_VIEW = re.compile(
    r"((?:LEFT|RIGHT)_(?:CC|MLO)) LINES ([0-9]{1,6}) PIXELS_PER_LINE ([0-9]{1,6}) BITS_PER_PIXEL [0-9]{1,3} "
    r"RESOLUTION [0-9.]{1,20} (OVERLAY|NON_OVERLAY)"
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Pattern of the name of a case, from which the names of files in the folder of its ``.ics`` are formed."""

_CONVERTED = (".tif", ".tiff", ".png")


def pathology_label(text: str) -> str | None:
    """Return benign or malignant, or None if unknown, such as UNPROVEN. BENIGN_WITHOUT_CALLBACK counts as benign."""
    return _PATHOLOGY.get(re.sub(r"\s+", "_", text.strip().upper()))


def read_ddsm(root: Path, *, lesions: Iterable[str] = ()) -> LayoutReading:
    """Read cases of the DDSM.

    Parameters
    ----------
    root : Path
        Any folder above the cases.
    lesions : iterable of {"mass", "calcification"}
        Kinds of abnormalities to keep; empty keeps all.

    Returns
    -------
    list of ImageRecord, list of Finding
        IDs look like ``B_3159_1.LEFT_CC_1`` (case, view, abnormality). The group is the case, which is one patient.

    Raises
    ------
    InputError
        There is no ``.ics`` file below `root`.
    """
    kinds = set(lesions) or set(LESIONS)
    findings = Findings()
    files = sorted(path for path in walk_files(root, findings) if path.suffix == ".ics")
    if not files and not findings:
        raise InputError(f"{root}: no DDSM case in it; expected files like B-3159-1.ics")
    records = []
    unmarked = 0
    other: Counter[str] = Counter()
    for path in files:
        try:
            case, views = _read_case(path, findings)
        except InputError as error:
            findings.error(path.name, str(error))
            continue
        unmarked += list(views.values()).count(None)
        for view, size in views.items():
            if size is not None:
                stem = path.with_name(f"{case.replace('-', '_')}.{view}")
                records.extend(_marked(stem, size, kinds, other, findings))
    if unmarked:
        findings.note(
            str(root), f"{counted(unmarked, 'view')} without a marked abnormality left out"
        )
    for kind, count in sorted(other.items()):
        findings.note(str(root), f"abnormalities left out: {count} {kind}")
    return records, findings


def _read_case(path: Path, findings: Findings) -> tuple[str, dict[str, _Size | None]]:
    """Return the name of a case, and the size of each view (None if unmarked)."""
    name = path.stem
    views = {}
    text = _ascii_text(path, "an .ics", most=limits.DDSM_CASE_BYTES)
    for line in (" ".join(line.split()) for line in text.splitlines()):
        match = _VIEW.fullmatch(line)
        if line.startswith("filename "):
            name = line.split()[1]
        elif match and match[1] in views:
            findings.error(path.name, f"names {match[1]} twice; download the file again")
        elif match:
            views[match[1]] = (int(match[3]), int(match[2])) if match[4] == "OVERLAY" else None
        elif re.match(r"(LEFT|RIGHT)_", line):
            findings.error(path.name, f"not a view: {line[:100]!r}; download the file again")
    if not _NAME.fullmatch(name):
        raise InputError(f"{name[:60]!r} is not the name of a case; download the file again")
    if not views:
        raise InputError("names no view; download the file again")
    return name, views


def _marked(
    stem: Path, size: _Size, kinds: set[str], other: Counter[str], findings: Findings
) -> list[ImageRecord]:
    """Return the abnormalities of a view with a known pathology and of the given kinds; count all others in `other`."""
    image = _image(stem, size, findings)
    overlay = Path(f"{stem}.OVERLAY")
    if not overlay.is_file():
        findings.error(overlay.name, "the .ics announces this overlay; download it again")
        return []
    try:
        marks = read_overlay(overlay, size)
    except InputError as error:
        findings.error(overlay.name, str(error))
        return []
    group = stem.stem.replace("_", "-")
    records = []
    for mark in marks:
        label = pathology_label(mark.pathology)
        if label is None:
            other[f"of pathology {mark.pathology or 'not given'}"] += 1
        elif kinds.isdisjoint(mark.lesions):
            other[" and ".join(sorted(set(mark.lesions))) or "of no lesion type"] += 1
        elif image is not None:
            name = f"{stem.name}_{mark.number}"
            records.append(
                ImageRecord(name, image, label, group, source="ddsm", box=mark.box, stretch=True)
            )
    return records


def _image(stem: Path, size: _Size, findings: Findings) -> Path | None:
    """Return the image of a view: a converted file if there is one, else the lossless JPEG; None if unusable."""
    by_suffix = {path.suffix.casefold(): path for path in stem.parent.glob(f"{stem.name}.*")}
    images = [by_suffix[suffix] for suffix in (*_CONVERTED, LJPEG_SUFFIX) if suffix in by_suffix]
    if not images:
        message = "there is no such image, nor a TIFF or PNG of it; download it again"
        findings.error(f"{stem.name}.LJPEG", message)
        return None
    try:
        header = read_header(images[0])
    except ImageError as error:
        findings.error(images[0].name, str(error))
        return None
    if header.size != size:
        sizes = f"{header.width}x{header.height}, the .ics has {size[0]}x{size[1]}"
        message = f"{sizes}: its outlines do not fit; convert it again, unscaled"
        findings.error(images[0].name, message)
        return None
    return images[0]


LAYOUT = LayoutSpec(
    name="ddsm",
    read=read_ddsm,
    recognise_name=lambda name: name.endswith(".ics"),
    patient_in=re.compile(r"([A-D]_\d{4}_\d)\.(?:LEFT|RIGHT)_(?:CC|MLO)", re.IGNORECASE),
    classes=PATHOLOGY_CLASSES,
    positive=("malignant",),
    stained=False,
    options=frozenset({"lesions", "context"}),
)
