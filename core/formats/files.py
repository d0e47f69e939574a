"""What a file is: its kind, size, checksum and identity, and what the headers of images have in common.

Each reader returns a `Container` with the size of an image and a function that decodes its pixels.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import DAMAGE, BchistoError, ImageError, InputError, Message, system_reason
from . import limits
from .texts import open_zip

BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
"""Exceptions that other packages may raise for a damaged file, including `RecursionError` (by its base class) and
warnings that were turned into errors."""

_ORIENTATION = 0x0112

Remark = tuple[Literal["note", "warning"], str]
"""What a person must know of a file, with its level: a note if it is read as it was meant, a warning if perhaps not."""


@dataclass(frozen=True)
class ImageHeader:
    """Properties of an image from the header of its file.

    Attributes
    ----------
    format : str
        ``TIFF``, ``PNG``, ``JPEG``, ``BMP``, ``WebP``, ``DICOM`` or ``LJPEG``.
    width, height : int
        Pixels, after the EXIF rotation.
    mode : str
        Mode as in Pillow; for DICOM and lossless JPEG, the bits and the photometric interpretation.
    pages : int
        Number of pages.
    page : int
        Number of the page that is read, from 1.
    deep : bool
        Whether samples of a TIFF or PNG have 16 bits.
    mpp : float or None
        Micrometres per pixel; None if a TIFF or DICOM does not state them with a unit, or they are implausible for a
        microscope.
    orientation : int
        EXIF orientation, 1 to 8, which decoding applies.
    codec : str
        How the pixels are packed: the compression of a TIFF, the quality of a JPEG; empty if there is only one way.
    scanner : str
        Maker, model and program that wrote a TIFF; empty if it does not state them.
    date : str
        Day on which a TIFF was made, as in it; empty if it does not state one.
    remarks : tuple of (str, str)
        What a person must know of this file, each with its level, see `Remark`: plain texts of one line without its
        name, which are the same for all files with the same fault.
    """

    format: str
    width: int
    height: int
    mode: str
    pages: int
    page: int = 1
    deep: bool = False
    mpp: float | None = None
    orientation: int = 1
    codec: str = ""
    scanner: str = ""
    date: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def remarks_on(profile: bytes = b"", *, pages: int = 1, page: int = 1) -> tuple[Remark, ...]:
    """Return remarks on pages that are not used, and on a colour profile that is not sRGB by its name.

    Parameters
    ----------
    profile : bytes
        The profile, whose texts are ASCII or UTF-16 (ICC.1:2010, sec. 10); empty for none.
    pages, page : int
        Number of pages, and the page that is used, from 1.
    """
    remarks: list[Remark] = []
    if pages > 1:
        name = "the first" if page == 1 else f"page {page}"
        remarks.append(("warning", f"{pages} pages, only {name} is used"))
    if profile and b"srgb" not in profile.replace(b"\0", b"").lower():
        remarks.append(("note", "has a colour profile, which is not applied"))
    return tuple(remarks)


def plausible_mpp(value: Any) -> float | None:
    """Return micrometres per pixel as a number; None if implausible for a microscope, such as the 72 dpi of a screen.

    Examples
    --------
    >>> plausible_mpp(0.42), plausible_mpp(25400 / 72), plausible_mpp("?")
    (0.42, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if limits.LEAST_MPP <= number <= limits.MOST_MPP:
        return number
    return None


Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
"""Arrays of any type, of grey levels, of numbers in double and single precision, of whole numbers, and of booleans."""


class Samples(NamedTuple):
    """The decoded samples of an image.

    Attributes
    ----------
    values : ndarray of uint8 or uint16, shape (height, width, channels)
        Grey or RGB, with 0 for black; an alpha channel, if any, is last.
    alpha : str
        Kind of the alpha channel: ``""`` if there is none, ``associated`` or ``unassociated``.
    """

    values: Array
    alpha: str = ""


class Container(NamedTuple):
    """An image file whose header was read, and whose pixels can be decoded.

    Attributes
    ----------
    header : ImageHeader
        With width and height as stored, before any rotation.
    decode : callable
        Returns the `Samples`; raises `ImageError`, or one of `BROKEN`, unless the file contains every pixel.
    """

    header: ImageHeader
    decode: Callable[[], Samples]


def damaged(path: Path, why: object) -> ImageError:
    """Return an error for a header that cannot be read."""
    return ImageError(f"{path}: its header cannot be read ({why}); download the file again")


def truncated(path: Path, why: object) -> ImageError:
    """Return an error for pixels that are missing or cannot be decoded."""
    return ImageError(
        f"{path}: cannot be decoded, the file is truncated or damaged ({why}); download it again"
    )


def too_large(path: Path, what: str) -> ImageError:
    """Return an error for an image of too many pixels."""
    return ImageError(
        f"{path}: {what} is over the limit of {limits.PIXELS:,} pixels; cut it into smaller images"
    )


def check_size(path: Path, header: ImageHeader) -> None:
    """Refuse an image without pixels, or with more than `limits.PIXELS`."""
    width, height = header.size
    if width < 1 or height < 1:
        raise damaged(path, f"its header has {width}x{height} pixels")
    if width * height > limits.PIXELS:
        raise too_large(path, f"{width}x{height}")


def check_bytes(path: Path) -> None:
    """Refuse a file of more than `limits.PICTURE_BYTES`, because it will be read as a whole."""
    if path.stat().st_size > limits.PICTURE_BYTES:
        raise ImageError(
            f"{path}: more than {limits.PICTURE_BYTES:,} bytes, too large for an image"
        )


def exif_orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 if there is none.

    Only the entries of the first directory are read, not data elsewhere in the block.

    Parameters
    ----------
    block : bytes
        The block from ``II`` or ``MM`` on, with or without the prefix ``Exif``.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    start = struct.unpack_from(f"{order}I", block, 4)[0] + 2
    (count,) = struct.unpack(f"{order}H", block[start - 2 : start].rjust(2, b"\0"))
    count = min(count, limits.EXIF_ENTRIES)
    for offset in range(start, min(start + 12 * count, len(block) - 11), 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", block, offset)
        if tag == _ORIENTATION:
            is_valid = (kind, number) == (3, 1) and 1 <= value <= 8
            return value if is_valid else 1
    return 1


def stretch_to_eight_bits(values: Array, ends: tuple[float, float] | None = None) -> Pixels:
    """Map the smallest value of an image to 0 and the largest to 255; an image of one value becomes 0.

    Parameters
    ----------
    values : ndarray of integer or float, any shape
    ends : (float, float), optional
        Values to map to 0 and 255 instead; values outside this range are clipped.

    Returns
    -------
    ndarray of uint8, same shape
    """
    low, high = ends or (float(values.min()), float(values.max()))
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    share = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.rint(np.clip(share, 0.0, 255.0)), dtype=np.uint8)


_HEAD = 4096
"""Bytes that are looked at: more than any pattern needs, and the header of a table."""


def published_rows(package: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a table that ships with bchisto, from the folder ``published`` of a package."""
    text = (resources.files(package) / "published" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def mistaken(path: Path, wanted: str) -> str | None:
    """Return the refusal of a file that is of another kind than `wanted`; None if its kind is not known.

    Parameters
    ----------
    path : Path
    wanted : str
        What the file should have been, such as "a model file".

    Returns
    -------
    str or None
        One line: the file, what it is, and what to do with it. ``published/kinds.csv`` lists the kinds: a pattern of
        the first bytes, of names inside a zip, a text with which such a member begins, and the endings for which the
        kind is the right one.
    """
    with contextlib.suppress(*DAMAGE):
        with path.open("rb") as handle:
            head = handle.read(_HEAD).decode("latin-1")
        for kind in published_rows(__package__, "kinds.csv"):
            if re.match(kind["begins"], head, re.DOTALL) is None:
                continue
            if not _holds(path, kind["inside"], kind["text"]):
                continue
            # it is of the wanted kind, so it must be damaged
            if path.suffix.casefold() in kind["unless"].split() or kind["what"] == wanted:
                return None
            return Message("{}: not {}, but {}; " + kind["cure"], path, wanted, kind["what"])
    return None


def _holds(path: Path, inside: str, text: str) -> bool:
    """Return whether a zip has a member of this name that begins with this text, as far as they are given."""
    if not inside:
        return True
    with contextlib.suppress(*DAMAGE), open_zip(path, members=limits.ARCHIVE_MEMBERS) as archive:
        members = [name for name in archive.namelist() if fnmatch(name, inside)]
        if members and text:
            return text.encode() in archive.open(members[0]).read(99)
        return bool(members)
    return False


SLIDE_SUFFIXES = frozenset(
    {
        ".bif",
        ".czi",
        ".isyntax",
        ".mrxs",
        ".ndpi",
        ".ndpis",
        ".scn",
        ".svs",
        ".svslide",
        ".vms",
        ".vmu",
        ".vsi",
    }
)
"""Suffixes of the files of slide scanners, except those that are also suffixes of ordinary images: whole slides named
``.tif`` are recognised by their header."""

SLIDE = (
    "a whole slide; `bchisto slides cut` cuts fields out of it, or export them from a viewer as PNG or TIFF, all at "
    "one known size of a pixel (such as 0.5 micrometres), or bring embeddings of it from another program"
)
"""Message that explains the refusal of a whole slide and what to do instead."""


_SETTLED_NS = 2_000_000_000
"""Nanoseconds after a change before the checksum of a file is cached. Time stamps of file systems are coarse, so two
changes in quick succession may have the same time stamp."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    with _readable(path), path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file from a cache, unless its size, times or inode changed.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    with _readable(path):
        status = path.stat()
    if time.time_ns() - max(status.st_ctime_ns, status.st_mtime_ns) <= _SETTLED_NS:
        return file_sha256(path)
    return _hash_once(path.absolute(), (*file_identity(path), str(status.st_dev)))


@functools.lru_cache(maxsize=256)
def _hash_once(path: Path, identity: tuple[str, ...]) -> str:
    """Return the SHA-256 of a file, which is cached for its identity."""
    return file_sha256(path)


def file_identity(path: Path) -> tuple[str, str, str, str]:
    """Return the size, modification time, status change time and inode of a file, as texts.

    Only the system sets the status change time. It therefore also reveals files that were renamed, or whose
    modification time was set back, as unpacking and ``cp -p`` do.
    """
    with _readable(path):
        status = path.stat()
    return str(status.st_size), str(status.st_mtime_ns), str(status.st_ctime_ns), str(status.st_ino)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn a system error inside the block into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({system_reason(error)})") from error


@contextlib.contextmanager
def reading(
    path: Path, say: str = "{}", *, kind: type[BchistoError] = InputError
) -> Iterator[None]:
    """Turn an error of a library into one line that names the file; leave an error that already names it."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, BchistoError) and str(error).startswith(f"{path}: "):
            raise
        text = str(error)
        if isinstance(error, KeyError) and error.args:  # its text is in quotes
            text = str(error.args[0])
        lines = text.strip().splitlines() or [type(error).__name__]
        raise kind(f"{path}: {say.format(lines[0][:200])}") from error
