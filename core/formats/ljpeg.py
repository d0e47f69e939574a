"""Reading of the lossless JPEG files (process 14, SOF3) of the DDSM; imagecodecs decodes the pixels."""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import ImageError
from .container import Container, ImageHeader, Samples, check_bytes, stretch_to_eight_bits
from .jpeg import JPEG_BEGIN, segments

LJPEG_SUFFIX = ".ljpeg"
_SOF3 = 0xC3

_MISSING_END = b"\xff\xd9"
"""Marker of the end of the image. The decoder reads beyond data that are too short. The image is therefore decoded
twice, with different bytes after the data, enough for every pixel; pixels that differ were missing."""

_MOST_OF_A_SAMPLE = 4
"""Most bytes of one sample: the longest code and its difference have 16 bits each."""


def read_ljpeg(path: Path, handle: BinaryIO) -> Container:
    """Read the frame header of a lossless JPEG, whose grey levels are stretched to their range.

    Raises
    ------
    ImageError
        The file is not a lossless JPEG with one component. Decoding raises it if the file is truncated or damaged.
    """
    handle.seek(0)
    if handle.read(2) != JPEG_BEGIN[:2]:
        raise ImageError(f"{path}: not a JPEG file; replace it by the image")
    for code, segment in segments(path, handle):
        if code == _SOF3:
            bits, height, width, components = struct.unpack(">BHHB", segment[2:8])
            if components != 1 or not width or not height:
                raise ImageError(f"{path}: {width}x{height} with {components} components, not a grey image")
            header = ImageHeader("LJPEG", width, height, f"{bits} bits", 1)
            return Container(header, 1, functools.partial(_decode, path, header))
    raise ImageError(f"{path}: no lossless JPEG; convert it to TIFF or PNG next to the .ics")


def _decode(path: Path, header: ImageHeader) -> Samples:
    import imagecodecs

    check_bytes(path)
    data, pixels = path.read_bytes() + _MISSING_END, header.width * header.height
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
    return Samples(stretch_to_eight_bits(values)[..., np.newaxis])
