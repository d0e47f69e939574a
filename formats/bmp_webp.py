"""Reading of BMP and WebP with Pillow, after a check of the size in the header.

References
----------
WebP Container Specification (RIFF, VP8X); RFC 6386, sec. 9.1; BITMAPFILEHEADER and BITMAPINFOHEADER of Windows.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core import ImageError
from .container import (
    Container,
    ImageHeader,
    Samples,
    check_bytes,
    check_size,
    damaged,
    exif_orientation,
    page_remarks,
    profile_remarks,
    truncated,
    xmp_orientation,
)  # fmt: skip

_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA"}
"""Mode of Pillow to the mode in which samples are read."""


def read_bmp(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a BMP.

    Raises
    ------
    ImageError
        See `_read`.
    """
    handle.seek(14)
    size, *sides = struct.unpack("<Iiihh", handle.read(16))[:3]
    width, height = struct.unpack("<hh", struct.pack("<i", sides[0])) if size == 12 else sides
    return _read(path, "BMP", width, abs(height))


def read_webp(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a WebP.

    Raises
    ------
    ImageError
        See `_read`; or the file ends before its last part.
    """
    handle.seek(0)
    head = handle.read(30).ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[start : start + 3], "little") + 1 for start in (24, 27))
    else:
        (bits,) = struct.unpack_from("<I", head, 21 if head[12:16] == b"VP8L" else 26)
        shift = 14 if head[12:16] == b"VP8L" else 16
        width, height = (value & 0x3FFF for value in (bits, bits >> shift))
        width, height = (width + 1, height + 1) if shift == 14 else (width, height)
    if struct.unpack_from("<I", head, 4)[0] + 8 > path.stat().st_size:
        raise truncated(path, "it has fewer bytes than its header states")
    return _read(path, "WEBP", width, height)


def _read(path: Path, kind: str, width: int, height: int) -> Container:
    """Read the header by Pillow, and compare its size with that which was read before.

    Raises
    ------
    ImageError
        The file is too large or damaged, or of a kind that Pillow does not read.
    """
    from PIL import Image

    name = {"WEBP": "WebP"}.get(kind, kind)
    check_bytes(path)
    check_size(path, ImageHeader(name, width, height, "", 1))
    try:
        with Image.open(path, formats=(kind,)) as image:
            if image.size != (width, height) or image.mode not in _MODES:
                raise damaged(path, f"{image.mode} of {image.width}x{image.height} pixels")
            pages, about = getattr(image, "n_frames", 1), image.info
            mode = _MODES[image.mode]
    except OSError as error:
        if "nsupported" in str(error):
            raise ImageError(f"{path}: this kind of {name} is not read; save it as PNG") from error
        raise

    def decode() -> Samples:
        with Image.open(path, formats=(kind,)) as image:
            values = np.atleast_3d(np.array(image.convert(mode)))
        return Samples(values, "unassociated" if mode == "RGBA" else "")

    exif, xmp = exif_orientation(about.get("exif", b"")), xmp_orientation(about.get("xmp", b""))
    remarks = page_remarks(pages) + profile_remarks(about.get("icc_profile", b""))
    return Container(ImageHeader(name, width, height, mode, pages, remarks=remarks), exif or xmp or 1, decode)
