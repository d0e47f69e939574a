"""Lossless JPEG (process 14, SOF3) of the DDSM: the size by its markers, the pixels by imagecodecs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DependencyError, ImageError
from .container import MAX_BYTES

LJPEG_SUFFIX = ".ljpeg"
_SOF3 = 0xC3
_ALONE = frozenset({0xD8, 0x01, *range(0xD0, 0xD8)})
"""Markers without a segment."""


@dataclass(frozen=True)
class LjpegHeader:
    """Width and height in pixels, bits per sample."""

    width: int
    height: int
    bits: int


def read_ljpeg_header(path: Path) -> LjpegHeader:
    """Read the frame header of a lossless JPEG.

    Raises
    ------
    ImageError
        Missing, or no lossless JPEG of one component.
    """
    try:
        with path.open("rb") as handle:
            if handle.read(2) != b"\xff\xd8":
                raise ImageError(f"{path}: not a JPEG file; replace it by the image")
            while (marker := _next_marker(handle)) is not None:
                if marker in _ALONE:
                    continue
                length = struct.unpack(">H", handle.read(2))[0]
                if marker != _SOF3:
                    handle.seek(length - 2, 1)
                    continue
                bits, height, width, components = struct.unpack(">BHHB", handle.read(6))
                if components != 1 or not width or not height:
                    raise ImageError(f"{path}: {width}x{height} with {components} components, not a grey image")
                return LjpegHeader(width, height, bits)
    except (OSError, struct.error) as error:
        raise ImageError(f"{path}: its header cannot be read ({error}); copy the file again") from error
    raise ImageError(f"{path}: no lossless JPEG; convert it to TIFF or PNG beside the .ics")


def _next_marker(handle: Any) -> int | None:
    """Return the next marker, or None where the entropy-coded data or the end of the file begins."""
    if handle.read(1) != b"\xff":
        return None
    while (code := handle.read(1)) == b"\xff":
        pass
    return None if not code or code[0] in (0x00, 0xD9, 0xDA) else code[0]


def decode_ljpeg(path: Path) -> npt.NDArray[np.uint16]:
    """Decode a lossless JPEG.

    Returns
    -------
    ndarray of uint8 or uint16, shape (height, width)
        The stored grey levels.

    Raises
    ------
    DependencyError
        imagecodecs is not installed.
    ImageError
        The file is truncated or damaged.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise DependencyError(
            f"{path}: lossless JPEG needs imagecodecs: pip install 'bchisto[mammograms]', or put the image as 16-bit "
            "TIFF or PNG of the same name beside the .ics"
        ) from error
    header = read_ljpeg_header(path)
    if path.stat().st_size > MAX_BYTES:
        raise ImageError(f"{path}: more than {MAX_BYTES:,} bytes, too large for an image")
    try:
        values = np.asarray(imagecodecs.jpegsof3_decode(path.read_bytes()))
    except (imagecodecs.Jpegsof3Error, ValueError, OSError) as error:
        raise ImageError(f"{path}: cannot be decoded ({error}); copy it again") from error
    if values.shape != (header.height, header.width):
        raise ImageError(f"{path}: decodes to {values.shape}, its header says {header.height} x {header.width}")
    return values
