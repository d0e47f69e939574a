"""PNG, BMP and WebP files.

Data after IEND are ignored, as in every viewer. Data that are missing before IEND are an error.

References
----------
BITMAPFILEHEADER and BITMAPINFOHEADER of Windows; WebP Container Specification (RIFF, VP8X); RFC 6386, sec. 9.1.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import ImageError
from . import files as container
from . import limits
from .files import Container, ImageHeader, Samples, damaged, truncated

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"

_END = b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})


_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""Colour type to Pillow's name of the mode."""

_RAW_EXIF = b"Raw profile type exif"
_XMP = b"XML:com.adobe.xmp"


def read_png(path: Path, handle: BinaryIO) -> Container:
    """Read the chunks of a PNG up to its end, or up to where it is cut off, without inflating pixels.

    Raises
    ------
    ImageError
        The chunks are invalid, or have more bytes than an image can have.
    """
    kept: list[tuple[bytes, int, int]] = []
    orientations: dict[str, list[int | None]] = {"exif": [], "raw": [], "xmp": []}  # the first one is applied
    pages, head, profile = 1, b"", b""
    for kind, length, offset in _chunks(path, handle):
        if kind == b"IHDR" and not kept and length == 13:
            head = handle.read(13)
        elif not head:
            raise damaged(path, "it does not begin with IHDR")
        elif kind == b"IHDR":
            raise damaged(path, "it has two IHDR chunks")
        elif kind == b"eXIf":
            orientations["exif"].append(container.exif_orientation(handle.read(min(length, limits.PNG_TEXT_BYTES))))
        elif kind == b"iCCP" and length <= limits.PROFILE_BYTES:
            profile = _text(b"zTXt", handle.read(length))[1]
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and length <= limits.PNG_TEXT_BYTES:
            name, text = _text(kind, handle.read(length))
            if name == _RAW_EXIF:
                orientations["raw"].append(container.exif_orientation(_hexadecimal(text)))
            elif name == _XMP:
                orientations["xmp"].append(container.xmp_orientation(text))
        elif kind == b"acTL" and length == 8:
            pages = max(1, struct.unpack(">I", handle.read(4))[0])
        if kind in _PIXELS:
            kept.append((kind, offset, length))
    if not head:
        raise damaged(path, "it does not begin with IHDR")
    if sum(length for _, _, length in kept) > limits.PICTURE_BYTES:
        raise damaged(path, f"more than {limits.PICTURE_BYTES:,} bytes of pixels")
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    if colour not in _MODES:
        raise damaged(path, f"its header has colours of kind {colour}")
    colours = _colours(path, kept) if colour == 3 else 0
    mode = "I;16" if depth == 16 and colour == 0 else _MODES[colour]
    mode += "A" if any(kind == b"tRNS" for kind, _, _ in kept) and "A" not in mode else ""
    remarks = container.remarks_on(profile, pages=pages) if profile or pages > 1 else ()
    orientation = next(filter(None, itertools.chain(*orientations.values())), 1)
    header = ImageHeader("PNG", width, height, mode, pages, deep=depth == 16, orientation=orientation, remarks=remarks)
    return Container(header, lambda: _decode(path, kept, colours))


def _decode(path: Path, kept: list[tuple[bytes, int, int]], colours: int) -> Samples:
    """Decode the chunks of the pixels with libpng, which checks their checksums and detects missing pixels."""
    import imagecodecs
    from PIL import Image

    parts = [PNG_BEGIN]
    with path.open("rb") as handle:
        for _, offset, length in kept:
            handle.seek(offset - 8)
            parts.append(handle.read(12 + length))
    data = b"".join([*parts, _END])
    try:
        values = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, UnicodeError) as error:  # not quoted: the message may be bytes of the file
        raise truncated(path, "libpng cannot read its pixels") from error
    if colours:  # libpng decodes colours beyond the palette as black
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if np.asarray(image).max() >= colours:
                raise truncated(path, f"pixels beyond the {colours} colours of its palette")
    values = np.atleast_3d(values)
    return Samples(values, "" if values.shape[2] % 2 else "unassociated")


def _chunks(path: Path, handle: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, length and offset of each chunk; the handle is then at its data."""
    size = handle.seek(0, 2)
    offset = len(PNG_BEGIN)
    for _ in range(limits.PNG_CHUNKS):
        handle.seek(offset)
        start = handle.read(8)
        if len(start) < 8:
            return
        length, kind = struct.unpack(">I4s", start)
        if not kind.isalpha() or offset + 12 + length > size:
            return  # the file is cut off
        yield kind, length, offset + 8
        if kind == b"IEND":
            return
        offset += 12 + length
    raise damaged(path, f"more than {limits.PNG_CHUNKS:,} parts")


def _text(kind: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Return name and text of a text chunk; compressed text is inflated to at most `limits.PNG_TEXT_BYTES`."""
    name, _, text = data.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        text = text[1:]
    elif kind == b"iTXt":
        packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, limits.PNG_TEXT_BYTES)
        except zlib.error:
            text = b""
    return name, text


def _hexadecimal(text: bytes) -> bytes:
    """Return the bytes of a raw profile: three lines of name and length, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""


def _colours(path: Path, kept: list[tuple[bytes, int, int]]) -> int:
    """Return the number of colours of the palette, which must occur once, before the pixels."""
    kinds = [kind for kind, _, _ in kept]
    before = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else kinds
    length = next((length for kind, _, length in kept if kind == b"PLTE"), 0)
    if before.count(b"PLTE") != 1 or kinds.count(b"PLTE") != 1 or length % 3 or not 3 <= length <= 768:
        raise damaged(path, f"a palette of {length} bytes before its pixels, not 3 a colour, once")
    return length // 3


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
    return Container(ImageHeader(kind, *size, mode, pages, orientation=exif or 1, remarks=remarks), decode)
