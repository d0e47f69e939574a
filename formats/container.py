"""What every reader of a kind of file hands to `decode`: the sizes, and a way to the samples.

Here stands too what all readers share: headers, bounds, and the stretch of grey levels to 8 bits.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import ImageError
from . import limits

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error,
)  # fmt: skip
"""What reading a damaged file by other packages may raise, nested too deep and warnings made errors among it."""

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says.

    Attributes
    ----------
    format : str
        ``TIFF``, ``PNG``, ``JPEG``, ``DICOM`` or ``LJPEG``.
    width, height : int
        Pixels, after the EXIF rotation.
    mode : str
        As Pillow has it; bits and photometric interpretation of DICOM and lossless JPEG.
    pages : int
        Number of pages.
    page : int
        The one that is read, from 1.
    deep : bool
        Whether samples of a TIFF or PNG have 16 bits.
    mpp : float or None
        Micrometres per pixel, where a TIFF or DICOM says it with a unit, and it can be a microscope's.
    """

    format: str
    width: int
    height: int
    mode: str
    pages: int
    page: int = 1
    deep: bool = False
    mpp: float | None = None


def plausible_mpp(value: Any) -> float | None:
    """Return micrometres per pixel as a number; None for what no microscope gives, such as the 72 dpi of a screen.

    Examples
    --------
    >>> plausible_mpp(0.42), plausible_mpp(25400 / 72), plausible_mpp("?")
    (0.42, None, None)
    """
    try:
        return float(value) if limits.LEAST_MPP <= float(value) <= limits.MOST_MPP else None
    except (TypeError, ValueError):
        return None


class Samples(NamedTuple):
    """The decoded samples of a picture.

    Attributes
    ----------
    values : ndarray of uint8 or uint16, shape (height, width, channels)
        Grey or RGB, of which 0 is black, with an alpha channel behind where there is one.
    alpha : str
        What that is: ``""`` without, ``associated`` or ``unassociated``.
    """

    values: npt.NDArray[Any]
    alpha: str = ""


@dataclass(frozen=True)
class Container:
    """The picture of a file, as its header describes it.

    Attributes
    ----------
    header : ImageHeader
        With the sides as stored, before any turn.
    orientation : int
        EXIF orientation, 1 to 8.
    decode : callable
        Returns its `Samples`; raises `ImageError`, or one of `BROKEN`, unless every pixel is there.
    """

    header: ImageHeader
    orientation: int
    decode: Callable[[], Samples]


def damaged(path: Path, why: object) -> ImageError:
    """Return the error about a header that cannot be read."""
    return ImageError(f"{path}: its header cannot be read ({why}); download the file again")


def truncated(path: Path, why: object) -> ImageError:
    """Return the error about pixels that are not there, or cannot be decoded."""
    return ImageError(f"{path}: cannot be decoded, the file is truncated or damaged ({why}); download it again")


def check_size(path: Path, header: ImageHeader) -> None:
    """Refuse an image without pixels, and one of more than `limits.PIXELS`."""
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise damaged(path, f"its header has {width}x{height} pixels")
    if width * height > limits.PIXELS:
        raise ImageError(
            f"{path}: {width}x{height} is over the limit of {limits.PIXELS:,} pixels; cut it into smaller images"
        )


def check_bytes(path: Path) -> None:
    """Refuse a file of more than `limits.PICTURE_BYTES`, which is read whole."""
    if path.stat().st_size > limits.PICTURE_BYTES:
        raise ImageError(f"{path}: more than {limits.PICTURE_BYTES:,} bytes, too large for an image")


def exif_orientation(block: bytes) -> int | None:
    """Return the orientation that an EXIF block holds, 1 where it is none of 1 to 8, None where there is none.

    Parameters
    ----------
    block : bytes
        From ``II`` or ``MM`` on, with or without ``Exif`` before. Only the entries of its first directory are read,
        none of their data.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for offset in range(start + 2, min(start + 2 + 12 * min(count, limits.EXIF_ENTRIES), len(block) - 11), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", block, offset)
        if tag == _ORIENTATION:
            form = {1: "B", 3: "H", 4: "I"}.get(kind)
            value = struct.unpack_from(order + form, block, offset + 8)[0] if form and number == 1 else 1
            return value if 1 <= value <= 8 else 1
    return None


def xmp_orientation(text: bytes) -> int | None:
    """Return the orientation that an XMP packet names, None where it names none."""
    match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', text)
    return None if match is None else int(match[1]) if 1 <= int(match[1]) <= 8 else 1


def stretch_to_eight_bits(values: npt.NDArray[Any], ends: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Map the smallest value of an image to 0 and the largest to 255; an image of one value becomes 0.

    Parameters
    ----------
    values : ndarray of integer or float, any shape
    ends : (float, float), optional
        What becomes 0 and 255 instead; values beyond them do, too.

    Returns
    -------
    ndarray of uint8, same shape
    """
    low, high = ends or (float(values.min()), float(values.max()))
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    share = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.rint(np.clip(share, 0.0, 255.0)), dtype=np.uint8)
