"""DDSM overlays: the marks of a radiologist in a view, as keywords and chain-coded outlines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core import InputError
from ...core.formats import limits

_STEPS = np.array([[0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1]], dtype=np.int64)
"""dx and dy of the chain codes 0 to 7, from north clockwise. Heath et al. 2001, overlay format of the DDSM."""

_CHAIN = re.compile(r"([0-9]{1,6}) ([0-9]{1,6})((?: [0-7])*) #")
_NUMBER = re.compile(r"[0-9]{1,6}")
"""A coordinate or a count. Mammograms have some thousand pixels per side."""


@dataclass(frozen=True)
class Abnormality:
    """One marked abnormality of a view.

    Attributes
    ----------
    number : int
        Number in the file, from 1.
    lesions : tuple of str
        ``mass`` or ``calcification``, one per LESION_TYPE line.
    pathology : str
        As in the file: MALIGNANT, BENIGN, BENIGN_WITHOUT_CALLBACK or UNPROVEN.
    boundary : ndarray of int, shape (points, 2)
        x and y of every point of the outer outline, pixels.
    cores : tuple of ndarray of int, shape (points, 2)
        Further outlines inside the boundary.
    """

    number: int
    lesions: tuple[str, ...]
    pathology: str
    boundary: npt.NDArray[np.int64]
    cores: tuple[npt.NDArray[np.int64], ...] = ()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the boundary in pixels; right and bottom are exclusive."""
        left, top = self.boundary.min(axis=0).tolist()
        right, bottom = self.boundary.max(axis=0).tolist()
        return left, top, right + 1, bottom + 1


def outline_points(text: str) -> npt.NDArray[np.int64]:
    """Decode a chain ``x y c c c ... #`` into points.

    Parameters
    ----------
    text : str
        Start and codes, followed by ``#``.

    Returns
    -------
    ndarray of int, shape (codes + 1, 2)
        x and y of each point, beginning with the start.

    Raises
    ------
    InputError
        The text is not such a chain.

    Examples
    --------
    >>> outline_points("10 20 2 4 #").tolist()
    [[10, 20], [11, 20], [11, 21]]
    """
    match = _CHAIN.fullmatch(" ".join(text.split()))
    if match is None:
        raise InputError("its chain is not x, y, codes from 0 to 7, and #")
    codes = np.array(match[3].split(), dtype=np.int64)
    start = np.array([[int(match[1]), int(match[2])]], dtype=np.int64)
    return np.concatenate([start, start + np.cumsum(_STEPS[codes], axis=0)])


def read_overlay(path: Path, *, width: int, height: int) -> list[Abnormality]:
    """Read the abnormalities from an overlay file.

    Parameters
    ----------
    path : Path
        The ``.OVERLAY`` file.
    width, height : int
        Size of the view in pixels. Outlines outside of it are errors.

    Returns
    -------
    list of Abnormality

    Raises
    ------
    InputError
        The file is unreadable, has another number of abnormalities than it states, or has an invalid chain. The
        message names file and abnormality.
    """
    try:
        return _abnormalities(
            ascii_text(path, "an overlay", most=limits.DDSM_OVERLAY_BYTES), width=width, height=height
        )
    except InputError as error:
        raise InputError("{}: {}", path, error) from error


def ascii_text(path: Path, what: str, *, most: int) -> str:
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


def _abnormalities(text: str, *, width: int, height: int) -> list[Abnormality]:
    lines = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    head, *blocks = re.split(r"^ABNORMALITY\b", lines, flags=re.MULTILINE)
    announced = _number("TOTAL_ABNORMALITIES", head)
    if announced != len(blocks):
        counts = f"announces {announced} abnormalities and holds {len(blocks)}"
        raise InputError(f"{counts}; the file is broken, copy it again")
    return [_abnormality(f"ABNORMALITY{block}", width=width, height=height) for block in blocks]


def _values(name: str, text: str) -> list[str]:
    """Return the first word after each line that begins with a name."""
    return re.findall(rf"^{name} ([^ \n]+)", text, re.MULTILINE)


def _number(name: str, text: str) -> int:
    word = next(iter(_values(name, text)), "")
    if not _NUMBER.fullmatch(word):
        raise InputError(f"{name} {word[:60]!r} names no number; the file is broken, copy it again")
    return int(word)


def _abnormality(text: str, *, width: int, height: int) -> Abnormality:
    number = _number("ABNORMALITY", text)
    outlines: list[npt.NDArray[np.int64]] = []
    for chain in re.findall(r"^(?:BOUNDARY|CORE)\b.*\n?(.*)", text, re.MULTILINE):
        where = f"abnormality {number}, outline {len(outlines) + 1}"
        try:
            points = outline_points(chain)
        except InputError as error:
            raise InputError("{}: {}; download the file again", where, error) from error
        if points.min() < 0 or points[:, 0].max() >= width or points[:, 1].max() >= height:
            raise InputError(f"{where}: its chain leaves the view of {width}x{height}; download the file again")
        outlines.append(points)
    announced = _number("TOTAL_OUTLINES", text)
    if not outlines or announced != len(outlines):
        raise InputError(
            f"abnormality {number} announces {announced} outlines and has {len(outlines)}; download the file again"
        )
    lesions = tuple(map(str.casefold, _values("LESION_TYPE", text)))
    pathology = next(iter(_values("PATHOLOGY", text)), "")
    return Abnormality(number, lesions, pathology, outlines[0], tuple(outlines[1:]))
