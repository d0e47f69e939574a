"""Headers of PNG, BMP, WebP and JPEG files by Pillow, and the pixels of all but JPEG.

Data after the end of a picture are ignored, as in every viewer.

References
----------
Portable Network Graphics, 3rd ed., sec. 11.2.1; WebP Container Specification (RIFF, VP8X); RFC 6386, sec. 9.1.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from . import files
from .files import Container, ImageHeader, Samples

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height of a WebP, of which Pillow reserves the memory when it opens it."""
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def picture_header(path: Path, source: Path | BinaryIO, kind: str) -> ImageHeader:
    """Read the header of a picture with Pillow, without decoding its pixels.

    Parameters
    ----------
    path : Path
        For messages.
    source : Path or binary file
    kind : {"PNG", "BMP", "WebP", "JPEG"}

    Raises
    ------
    ImageError
        Pillow cannot read it, or it is too large.
    """
    from PIL import Image, JpegImagePlugin

    try:
        # Image.open would look for further pictures in a JPEG
        picture = (
            JpegImagePlugin.JpegImageFile(source) if kind == "JPEG" else Image.open(source, formats=(kind.upper(),))
        )
        with picture as image:
            size, mode, about, pages = image.size, image.mode, image.info, getattr(image, "n_frames", 1)
    except Image.DecompressionBombError as error:
        raise files.too_large(path, "the picture") from error
    except files.BROKEN as error:
        raise files.damaged(path, "it is cut off, altered, or of a rare kind; perhaps save it as PNG") from error
    mode += "A" if "transparency" in about and "A" not in mode else ""
    remarks = files.remarks_on(about.get("icc_profile") or b"", pages=pages)
    turned = files.exif_orientation(about.get("exif", b""))
    header = ImageHeader(kind, *size, mode, pages, orientation=turned, remarks=remarks)
    files.check_size(path, header)
    return header


def read_picture(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a PNG, BMP or WebP; of an animation, the first frame is used.

    Raises
    ------
    ImageError
        The file is too large, cut off or damaged, or of a kind that Pillow does not read.
    """
    handle.seek(0)
    head = handle.read(34).ljust(34, b"\0")
    kind = next((kind for begin, kind in ((PNG_BEGIN, "PNG"), (b"BM", "BMP")) if head.startswith(begin)), "WebP")
    files.check_bytes(path)
    if kind == "WebP":
        files.check_size(path, ImageHeader(kind, *_webp_size(head), "", 1))
        if struct.unpack_from("<I", head, 4)[0] + 8 > path.stat().st_size:
            raise files.truncated(path, "it has fewer bytes than its header states")
    header = picture_header(path, path, kind)
    if kind == "PNG":
        return Container(replace(header, deep=head[24] == 16), functools.partial(_decode_png, path))
    return Container(header, functools.partial(_decode, path, header))


def _decode_png(path: Path) -> Samples:
    """Decode a PNG with libpng, which checks its checksums and detects missing pixels."""
    import imagecodecs

    try:
        values = np.atleast_3d(imagecodecs.png_decode(path.read_bytes()))
    except (imagecodecs.PngError, UnicodeError) as error:  # not quoted: the message may be bytes of the file
        raise files.truncated(path, "libpng cannot read its pixels") from error
    return Samples(values, "" if values.shape[2] % 2 else "unassociated")


def _decode(path: Path, header: ImageHeader) -> Samples:
    """Decode a BMP or a WebP."""
    from PIL import Image

    mode = "RGBA" if header.mode == "RGBA" else "RGB"
    with Image.open(path, formats=(header.format.upper(),)) as image:
        return Samples(np.array(image.convert(mode)), "unassociated" if mode == "RGBA" else "")
