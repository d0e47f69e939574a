"""Reading of the lossless JPEG files (process 14, SOF3) of the DDSM; imagecodecs decodes the pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core import ImageError
from .container import ImageHeader, check_bytes, damaged, stretch_to_eight_bits
from .jpeg import JPEG_BEGIN, segments

LJPEG_SUFFIX = ".ljpeg"
_SOF3 = 0xC3

_END = b"\xff\xd9"
"""Marker of the end of the image. The decoder reads beyond data that are too short. The image is therefore decoded
twice, with different bytes after the data, enough for every pixel; pixels that differ were missing."""

_MOST_OF_A_SAMPLE = 4
"""Most bytes of one sample: the longest code and its difference have 16 bits each."""


def read_ljpeg_header(path: Path) -> ImageHeader:
    """Read the frame header of a lossless JPEG.

    Raises
    ------
    ImageError
        The file is missing, or is not a lossless JPEG with one component.
    """
    try:
        with path.open("rb") as handle:
            if handle.read(2) != JPEG_BEGIN[:2]:
                raise ImageError(f"{path}: not a JPEG file; replace it by the image")
            for code, segment in segments(path, handle):
                if code == _SOF3:
                    bits, height, width, components = struct.unpack(">BHHB", segment[2:8])
                    if components != 1 or not width or not height:
                        raise ImageError(f"{path}: {width}x{height} with {components} components, not a grey image")
                    return ImageHeader("LJPEG", width, height, f"{bits} bits", 1)
    except (OSError, struct.error) as error:
        raise damaged(path, error) from error
    raise ImageError(f"{path}: no lossless JPEG; convert it to TIFF or PNG next to the .ics")


def decode_ljpeg(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a lossless JPEG, stretched to its range of grey levels.

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    ImageError
        The file is truncated or damaged.
    """
    import imagecodecs

    header = read_ljpeg_header(path)
    check_bytes(path)
    data, pixels = path.read_bytes() + _END, header.width * header.height
    cut = ImageError(f"{path}: cannot be decoded (it ends before its last pixel); download it again")
    if 8 * len(data) < pixels:  # each pixel takes at least one bit
        raise cut
    room = _MOST_OF_A_SAMPLE * pixels
    try:
        values, again = (np.asarray(imagecodecs.jpegsof3_decode(data + fill * room)) for fill in (b"\0", b"\xaa"))
    except (imagecodecs.Jpegsof3Error, ValueError, OSError) as error:
        raise ImageError("{}: cannot be decoded ({}); download it again", path, error) from error
    if values.shape != (header.height, header.width):
        raise ImageError(f"{path}: decodes to {values.shape}, its header has {header.height} x {header.width}")
    if not np.array_equal(values, again):
        raise cut
    return stretch_to_eight_bits(values)
