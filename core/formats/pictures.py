"""PNG, BMP, WebP and JPEG files, whose headers Pillow reads, and the lossless JPEG of DDSM.

Data after the end of a picture are ignored, as in every viewer: cameras store previews and videos there, and copying
may add zeros.

libjpeg silently fills missing pixels of a JPEG with grey. To detect this, the image is decoded twice, the second time
with additional bytes after the coded data of every scan. A complete image never reaches these bytes; if a pixel
changes, data are missing.

References
----------
Portable Network Graphics, 3rd ed., sec. 11.2.1; WebP Container Specification (RIFF, VP8X); RFC 6386, sec. 9.1.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import ImageError
from . import files, limits
from .files import Container, ImageHeader, Pixels, Samples

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
JPEG_2000_BEGIN = b"\xff\x4f\xff\x51"
"""First bytes of a JPEG 2000, up to the segment of its size."""


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height of a WebP, for which Pillow reserves memory when it opens the file."""
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def coded_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height for which the decoder of a WebP or JPEG 2000 reserves memory; None for other data."""
    if data.startswith(b"RIFF"):
        return _webp_size(data[:30].ljust(30, b"\0"))
    start = data.find(JPEG_2000_BEGIN, 0, 256)
    if start < 0:
        return None
    # the size of the grid, without the offset of the image in it
    width, height = struct.unpack_from(">2I", data.ljust(start + 16, b"\0"), start + 8)
    return width, height


_STEPS_AT_50 = 3688
"""Sum of the quantisation table for brightness at quality 50 (ITU-T T.81, table K.1)."""


def jpeg_quality(table: Sequence[int]) -> str:
    """Return the quality, as libjpeg counts it, of a JPEG with this quantisation table; empty without one.

    Examples
    --------
    >>> jpeg_quality([1] * 64), jpeg_quality([60] * 64), jpeg_quality([])
    ('quality 99', 'quality 48', '')
    """
    steps = sum(table) / _STEPS_AT_50
    if not steps:
        return ""
    if steps > 1:
        return f"quality {50 / steps:.0f}"
    return f"quality {100 - 50 * steps:.0f}"


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
        picture: Image.Image
        if kind == "JPEG":  # Image.open would look for further pictures in it
            picture = JpegImagePlugin.JpegImageFile(source)
        else:
            picture = Image.open(source, formats=(kind.upper(),))
        with picture as image:
            width, height = image.size
            mode = image.mode
            properties = image.info
            pages = getattr(image, "n_frames", 1)
            tables = getattr(image, "quantization", {})
    except Image.DecompressionBombError as error:
        raise files.too_large(path, "the picture") from error
    except files.BROKEN as error:
        raise files.damaged(
            path, "it is cut off, altered, or of a rare kind; perhaps save it as PNG"
        ) from error
    if "transparency" in properties and "A" not in mode:
        mode += "A"
    header = ImageHeader(
        kind,
        width,
        height,
        mode,
        pages,
        orientation=files.exif_orientation(properties.get("exif") or b""),
        codec=jpeg_quality(tables.get(0, ())),
        remarks=files.remarks_on(properties.get("icc_profile") or b"", pages=pages),
    )
    files.check_size(path, header)
    return header


def read_picture(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a PNG, BMP or WebP; of an animation, the first frame is used.

    Raises
    ------
    ImageError
        The file is too large, cut off or damaged, or of a kind that Pillow does not read.
    """
    head = handle.read(34).ljust(34, b"\0")
    kind = "WebP"
    if head.startswith(PNG_BEGIN):
        kind = "PNG"
    elif head.startswith(b"BM"):
        kind = "BMP"
    files.check_bytes(path)
    if kind == "WebP":
        files.check_size(path, ImageHeader(kind, *_webp_size(head), "", 1))
        if struct.unpack_from("<I", head, 4)[0] + 8 > path.stat().st_size:
            raise files.truncated(path, "it has fewer bytes than its header states")
    header = picture_header(path, path, kind)
    if kind != "PNG":
        return Container(header, functools.partial(_decode, path, header))
    deep = head[24] == 16
    return Container(replace(header, deep=deep), functools.partial(_decode_png, path, header))


def _decode_png(path: Path, header: ImageHeader) -> Samples:
    """Decode a PNG with libpng, which checks its checksums and detects missing pixels."""
    import imagecodecs
    from PIL import Image

    try:
        values = np.atleast_3d(imagecodecs.png_decode(path.read_bytes()))
    except (imagecodecs.PngError, UnicodeError) as error:
        # not quoted: the message may be bytes of the file
        raise files.truncated(path, "libpng cannot read its pixels") from error
    if header.mode.startswith("P"):  # libpng decodes colours beyond the palette as black
        with Image.open(path, formats=("PNG",)) as image:
            colours = len(image.palette.palette) // 3 if image.palette else 0
            if np.asarray(image).max() >= colours:
                raise files.truncated(path, f"pixels beyond the {colours} colours of its palette")
    has_alpha = values.shape[2] % 2 == 0
    return Samples(values, "unassociated" if has_alpha else "")


def _decode(path: Path, header: ImageHeader) -> Samples:
    """Decode a BMP or a WebP."""
    from PIL import Image

    with Image.open(path, formats=(header.format.upper(),)) as image:
        if header.mode == "RGBA":
            return Samples(np.array(image.convert("RGBA")), "unassociated")
        return Samples(np.array(image.convert("RGB")))


JPEG_BEGIN = b"\xff\xd8\xff"

_SCAN = 0xDA
_END = 0xD9
_LARGE = (0xE1, 0xE2)
"""Segments of EXIF, XMP and previews. Pillow would read each of their entries, which may repeat themselves."""

_DENSITY = b"\xff\xe0\0\x10JFIF\0\1\1\1\0\x48\0\x48\0\0"
"""A segment with pixels per inch, so that Pillow does not look for them in the EXIF entries."""

_RARE = frozenset({*range(0xC3, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Lossless (0xF7 is JPEG-LS), hierarchical and arithmetic-coded frames. They are refused because a single wrong bit in
a marker would otherwise decode an image to noise."""

_FRAME = re.compile(rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7])\0.(.)", re.DOTALL)
"""Matches the beginning of a frame: its kind, and the bits of a sample."""

_HEAD = 2**20
"""Number of bytes that hold most headers."""
_MORE = 15 * 2**20
"""Most further bytes that are read, since Pillow joins EXIF segments in a time that grows with the square of their
number."""

_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_SURPLUS = bytes(range(17, 81))
"""Bytes that decode to other pixels than those that libjpeg fills in. None is 255, with which markers begin."""


def read_jpeg(path: Path, handle: BinaryIO) -> Container:
    """Read the header of a JPEG.

    Raises
    ------
    ImageError
        The header is damaged or of a kind that is not read. Decoding raises it for too many scans, or if pixels or the
        end are missing.
    """
    files.check_bytes(path)
    head = handle.read(_HEAD)
    try:
        header = _jpeg_header(path, head)
    except ImageError:  # perhaps because cameras and programs wrote much before the picture
        header = _jpeg_header(path, head + handle.read(_MORE))
    area = header.width * header.height
    return Container(header, lambda: Samples(_jpeg_pixels(path, path.read_bytes(), area)))


def _jpeg_header(path: Path, data: bytes) -> ImageHeader:
    """Read the header of a JPEG from its first bytes."""
    source = io.BytesIO(data[:2] + _DENSITY + data[2 : _HEAD + _MORE])
    try:
        return picture_header(path, source, "JPEG")
    except ImageError as error:
        frame = _FRAME.search(data)
        if frame is not None and (frame[1][0] in _RARE or frame[2][0] != 8):
            raise _unread(path) from error  # even if it is not damaged
        raise


def _unread(path: Path) -> ImageError:
    """Return the error for a kind of JPEG that is not read."""
    return ImageError(
        f"{path}: a JPEG that is lossless, arithmetic-coded or not of 8 bits is not read; save it as PNG or TIFF"
    )


def check_jpeg(path: Path, data: bytes, *, size: tuple[int, int] | None = None) -> None:
    """Refuse a JPEG within another file if pixels are missing, or if its width and height differ from `size`.

    Raises
    ------
    ImageError
        Pixels are missing, the size is wrong, or the JPEG cannot be decoded.
    """
    header = _jpeg_header(path, data)
    if size not in (None, header.size):
        raise files.truncated(path, f"a JPEG of {header.width}x{header.height} pixels is in it")
    try:
        _jpeg_pixels(path, data, header.width * header.height)
    except ImageError:
        raise
    except files.BROKEN as error:
        raise files.truncated(path, f"a JPEG in it, {type(error).__name__}") from error


def _jpeg_pixels(path: Path, data: bytes, area: int) -> Pixels:
    """Decode a JPEG twice, and refuse it if that gives different pixels."""
    from PIL import Image

    decoded = []
    for surplus in (False, True):
        coded = io.BytesIO(_coded(path, data, area, surplus=surplus))
        with Image.open(coded, formats=("JPEG",)) as image:
            decoded.append(np.array(image.convert("RGB")))
    if not np.array_equal(decoded[0], decoded[1]):
        raise files.truncated(path, "pixels are missing")
    return decoded[0]


def _coded(path: Path, data: bytes, area: int, *, surplus: bool) -> bytes:
    """Return a JPEG up to its end; with `surplus`, bytes that a complete image never reaches follow each coded part.

    Raises
    ------
    ImageError
        There are too many scans or an invalid marker, or the end is missing.
    """
    parts = [data[:2]]
    offset = 2
    scans = 0
    while (match := _MARKER.search(data, offset)) is not None:
        scan = data[offset : match.start()]
        if scan and scans > 0 and surplus:
            scan = _RESTART.sub(lambda mark: _SURPLUS + mark[0], scan) + _SURPLUS
        parts.append(scan)
        code = match[1][0]
        start = match.end()
        if code == _END:
            return b"".join(parts) + b"\xff\xd9"
        if code < 0xC0 or code == 0xD8:
            raise files.truncated(path, f"a marker {code} cannot be in its pixels")
        if code in _RARE:
            raise _unread(path)
        if start + 2 > len(data):
            break
        offset = start + struct.unpack_from(">H", data, start)[0]
        if code not in _LARGE:
            parts.append(b"\xff" + data[start - 1 : offset])
        if code == _SCAN:
            scans += 1
        if scans * area > limits.JPEG_SCANNED:
            raise files.truncated(
                path,
                f"its {area:,} pixels are decoded more than {limits.JPEG_SCANNED // area:,} times",
            )
    raise files.truncated(path, "it has no end")


LJPEG_SUFFIX = ".ljpeg"
_SOF3 = re.compile(rb"\xff\xc3\x00\x0b(.)(..)(..)\x01", re.DOTALL)
"""Frame header of a lossless JPEG with one component: bits, height and width."""

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
    frame = _SOF3.search(handle.read(_HEAD))
    if frame is None:
        raise ImageError(
            f"{path}: no lossless JPEG of grey levels; convert it to TIFF or PNG next to the .ics"
        )
    bits, height, width = (int.from_bytes(part, "big") for part in frame.groups())
    header = ImageHeader("LJPEG", width, height, f"{bits} bits", 1)
    return Container(header, functools.partial(_decode_ljpeg, path, header))


def _decode_ljpeg(path: Path, header: ImageHeader) -> Samples:
    """Decode a lossless JPEG twice, and refuse it if pixels are missing, see `_MISSING_END`."""
    import imagecodecs

    files.check_bytes(path)
    data = path.read_bytes() + _MISSING_END
    pixels = header.width * header.height
    truncation = ImageError(
        f"{path}: cannot be decoded (it ends before its last pixel); download it again"
    )
    if 8 * len(data) < pixels:  # each pixel takes at least one bit
        raise truncation
    room = _MOST_OF_A_SAMPLE * pixels
    try:
        values = np.asarray(imagecodecs.jpegsof3_decode(data + b"\0" * room))
        second = np.asarray(imagecodecs.jpegsof3_decode(data + b"\xaa" * room))
    except (imagecodecs.Jpegsof3Error, ValueError, OSError) as error:
        raise ImageError("{}: cannot be decoded ({}); download it again", path, error) from error
    if values.shape != (header.height, header.width):
        raise ImageError(
            f"{path}: decodes to {values.shape}, its header has {header.height} x {header.width}"
        )
    if not np.array_equal(values, second):
        raise truncation
    return Samples(files.stretch_to_eight_bits(values)[..., np.newaxis])
