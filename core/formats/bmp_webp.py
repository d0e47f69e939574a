"""Reading of BMP and WebP with Pillow, after a check of the size in the header.

References
----------
BITMAPFILEHEADER and BITMAPINFOHEADER of Windows; WebP Container Specification (RIFF, VP8X); RFC 6386, sec. 9.1.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import ImageError
from . import container
from .container import Container, ImageHeader, Samples


def _size(head: bytes) -> tuple[int, int]:
    """Return width and height of a BMP, of a WebP with VP8X, and of the two kinds of plain WebP."""
    if head.startswith(b"BM"):
        width, height = struct.unpack_from("<HH" if head[14] == 12 else "<ii", head, 18)
        return width, abs(height)
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def read_bmp_or_webp(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a BMP or WebP; of an animation, the first frame is used.

    Raises
    ------
    ImageError
        The file is too large, cut off or damaged, or of a kind that Pillow does not read.
    """
    from PIL import Image

    handle.seek(0)
    head = handle.read(34).ljust(34, b"\0")
    kind, size = "BMP" if head.startswith(b"BM") else "WebP", _size(head)
    container.check_bytes(path)
    container.check_size(path, ImageHeader(kind, *size, "", 1))  # before Pillow takes memory
    if kind == "WebP" and struct.unpack_from("<I", head, 4)[0] + 8 > path.stat().st_size:
        raise container.truncated(path, "it has fewer bytes than its header states")
    try:
        with Image.open(path, formats=(kind.upper(),)) as image:
            found, about, pages = image.size, image.info, getattr(image, "n_frames", 1)
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
    except OSError as error:
        raise ImageError(f"{path}: this {kind} is damaged, or of a rare kind; save it as PNG") from error
    if found != size:
        raise container.damaged(path, f"{found[0]}x{found[1]} pixels, not {size[0]}x{size[1]}")

    def decode() -> Samples:
        with Image.open(path, formats=(kind.upper(),)) as image:
            return Samples(np.array(image.convert(mode)), "unassociated" if mode == "RGBA" else "")

    exif = container.exif_orientation(about.get("exif", b"")) or container.xmp_orientation(about.get("xmp", b""))
    remarks = container.remarks_on(about.get("icc_profile", b""), pages=pages)
    return Container(ImageHeader(kind, *size, mode, pages, remarks=remarks), exif or 1, decode)
