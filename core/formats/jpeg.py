"""JPEG files, and the lossless ones of DDSM.

libjpeg silently fills missing pixels with grey. To detect this, the image is decoded twice, the second time with
additional bytes after the coded data of every scan. A complete image never reaches these bytes; if a pixel changes,
data are missing. Data after the end of the image are ignored, as in every viewer: cameras store previews and videos
there, and copying may add zeros.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from .. import ImageError
from . import files as container
from . import limits
from .files import Container, ImageHeader, Samples, check_bytes, damaged, stretch_to_eight_bits, truncated

JPEG_BEGIN = b"\xff\xd8\xff"

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Frames that are read: baseline, extended and progressive. Lossless, hierarchical and arithmetic-coded frames are
rare. They are refused because a single wrong bit in a marker would otherwise decode an image to noise."""

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
"""Number of colours to Pillow's name of the mode."""

_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})
_SCAN, _END, _APP0, _APP1, _APP2, _ADOBE = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE
_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0\1"


_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_SURPLUS = bytes(range(17, 81))
"""Bytes that decode to other pixels than those that libjpeg fills in. None is 255, with which markers begin."""


def read_jpeg(path: Path, handle: BinaryIO) -> Container:
    """Read the segments of a JPEG up to its first scan.

    Raises
    ------
    ImageError
        There is no frame, its kind is not read, or segments are damaged. Decoding raises it for too many scans, or if
        the end is missing.
    """
    frame = b""
    exif: int | None = None
    xmp: int | None = None
    kept: list[bytes] = []
    profile = b""
    for code, segment in segments(path, handle):
        block = segment[2:]
        if code in _FRAMES and frame:
            raise damaged(path, "it has two frames")
        if code in _FRAMES:
            frame = block
            if code not in _HUFFMAN or block[:1] != b"\x08":
                kind = f"SOF{code - 0xC0} with {block[0] if block else 0} bits"
                raise ImageError(
                    f"{path}: a JPEG of kind {kind} is not read, only baseline and progressive ones of 8 bits; save it "
                    "as PNG"
                )
        elif code == _APP1 and exif is None and block.startswith(_EXIF):
            exif = container.exif_orientation(block)
        elif code == _APP1 and xmp is None and block.startswith(_XMP):
            xmp = container.xmp_orientation(block)
        elif code == _APP2 and block.startswith(_PROFILE):  # the first part, which has the name
            profile = block[len(_PROFILE) + 1 :]
        if code in _FRAMES | _TABLES | {_SCAN, _APP0, _ADOBE}:
            kept.append(bytes([0xFF, code]) + segment)
    start = handle.tell()
    if len(frame) < 6:
        raise damaged(path, "no frame before its first scan")
    height, width, components = struct.unpack(">HHB", frame[1:6])
    if components not in _MODES:
        raise damaged(path, f"its header has {components} colours")
    head = b"\xff\xd8" + b"".join(kept)

    @functools.cache
    def data() -> bytes:
        if isinstance(handle, io.BytesIO):
            return handle.getvalue()[start:]
        with path.open("rb") as again:
            again.seek(start)
            return again.read(min(limits.PICTURE_BYTES, path.stat().st_size))  # a read allocates the requested size

    def decode() -> Samples:
        parts = (_coded(path, data(), area=width * height, surplus=surplus) for surplus in (False, True))
        whole, other = (_pixels(head + part) for part in parts)
        if whole.shape[:2] != (height, width):
            raise truncated(path, f"its pixels are {whole.shape[1]}x{whole.shape[0]}")
        if not np.array_equal(whole, other):
            raise truncated(path, "pixels are missing")
        return Samples(whole)

    remarks = container.remarks_on(profile)
    header = ImageHeader("JPEG", width, height, _MODES[components], 1, orientation=exif or xmp or 1, remarks=remarks)
    return Container(header, decode)


def _pixels(data: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.array(image.convert("RGB"))


def check_jpeg(path: Path, data: bytes, *, size: tuple[int, int] | None = None) -> None:
    """Refuse a JPEG within another file if pixels are missing, or if its width and height differ from `size`.

    Raises
    ------
    ImageError
        Pixels are missing, the size is wrong, or the JPEG cannot be decoded.
    """
    picture = read_jpeg(path, io.BytesIO(data))
    width, height = picture.header.width, picture.header.height
    if width * height > limits.PIXELS or size not in (None, (width, height)):
        raise truncated(path, f"a JPEG of {width}x{height} pixels is in it")
    try:
        picture.decode()
    except ImageError:
        raise
    except container.BROKEN as error:
        raise truncated(path, f"a JPEG in it, {type(error).__name__}") from error


def segments(path: Path, handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the bytes (length and data) of each segment, up to the header of the first scan."""
    handle.seek(2)
    for _ in range(limits.JPEG_SEGMENTS):
        while (byte := handle.read(1)) not in (b"\xff", b""):
            pass  # some writers pad between segments, as decoders allow
        while byte == b"\xff":
            byte = handle.read(1)
        if not byte or byte[0] == _END:
            raise damaged(path, "it ends before its first scan")
        if byte[0] in (0x00, 0x01, *range(0xD0, 0xD9)):
            continue
        length = handle.read(2)
        if len(length) < 2 or struct.unpack(">H", length)[0] < 2:
            raise damaged(path, "it ends in a segment")
        yield byte[0], length + handle.read(struct.unpack(">H", length)[0] - 2)
        if byte[0] == _SCAN:
            return
    raise damaged(path, f"more than {limits.JPEG_SEGMENTS:,} segments")


def _coded(path: Path, data: bytes, *, area: int, surplus: bool) -> bytes:
    """Return the coded data up to the end of the image, without comments and similar segments.

    Parameters
    ----------
    data : bytes
        The file from the end of the header of the first scan.
    area : int
        Number of pixels of the image.
    surplus : bool
        Add bytes after each run of coded data, which a complete image never reaches.

    Raises
    ------
    ImageError
        There are too many scans or an invalid marker, or the end is missing.
    """
    parts = []
    offset, scans = 0, 1
    while (match := _MARKER.search(data, offset)) is not None:
        scan = data[offset : match.start()]
        if scan and surplus:
            scan = _RESTART.sub(lambda mark: _SURPLUS + mark[0], scan) + _SURPLUS
        parts.append(scan)
        code = match[1][0]
        if code == _END:
            return b"".join(parts) + b"\xff\xd9"
        if code < 0xC0 or code == 0xD8:
            raise truncated(path, f"a marker {code} cannot be in its pixels")
        if match.end() + 2 > len(data):
            break
        offset = match.end() + struct.unpack_from(">H", data, match.end())[0]
        scans += code == _SCAN
        if scans * area > limits.JPEG_SCANNED:
            raise truncated(path, f"its {area:,} pixels are decoded more than {limits.JPEG_SCANNED // area:,} times")
        if code in _TABLES | {_SCAN}:
            parts.append(b"\xff" + data[match.end() - 1 : offset])
    raise truncated(path, "it has no end")


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
            return Container(header, functools.partial(_decode, path, header))
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
