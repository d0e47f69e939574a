"""PNG: its chunks, those that make the pixels and those that turn them.

Kept are IHDR, PLTE, tRNS, IDAT and IEND, whose checksums are compared. What follows IEND is not read, as every viewer
does; what is missing before it is.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from .container import MAX_BYTES, Container, damaged, exif_orientation, truncated, xmp_orientation

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"

_EMPTY = b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
"""Where the pixels of a header would begin."""

_END = b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MOST_CHUNKS = 1_000_000
"""Chunks of a file (ours): writers that make IDAT of 8 KiB need 83,000 for the largest picture."""

_MOST_TEXT = 1024**2
"""Bytes of a text chunk, and of what it inflates to (ours)."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel for each colour type."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced picture (PNG specification, sec. 8)."""

_RAW_EXIF = b"Raw profile type exif"
_XMP = b"XML:com.adobe.xmp"


def read_png(path: Path, handle: BinaryIO) -> Container:
    """Read a PNG up to its end, or to where it is cut off, without inflating pixels.

    Raises
    ------
    ImageError
        Chunks that cannot be; of the file of pixels, missing ones and wrong checksums.
    """
    kept: list[tuple[bytes, int, int]] = []
    turns: dict[str, list[int | None]] = {"exif": [], "raw": [], "xmp": []}  # the first counts
    pages, head = 1, b""
    for kind, length, place in _chunks(path, handle):
        if kind == b"IHDR" and not kept and length == 13:
            head = handle.read(13)
        elif not head:
            raise damaged(path, "it does not begin with IHDR")
        elif kind == b"IHDR" or (kind == b"tRNS" and any(one == b"tRNS" for one, _, _ in kept)):
            raise damaged(path, f"{kind.decode('ascii')} stands in it twice")
        elif kind == b"eXIf":
            turns["exif"].append(exif_orientation(handle.read(min(length, _MOST_TEXT))))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and length <= _MOST_TEXT:
            name, text = _text(kind, handle.read(length))
            if name == _RAW_EXIF:
                turns["raw"].append(exif_orientation(_hexadecimal(text)))
            elif name == _XMP:
                turns["xmp"].append(xmp_orientation(text))
        elif kind == b"acTL" and length == 8:
            pages = max(1, struct.unpack(">I", handle.read(4))[0])
        if kind in _PIXELS:
            kept.append((kind, place, length))
    if sum(length for _, _, length in kept) > MAX_BYTES:
        raise damaged(path, f"more than {MAX_BYTES:,} bytes of pixels")
    if not head:
        raise damaged(path, "it does not begin with IHDR")
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    colours = _colours(path, kept) if colour == 3 else None
    turned = next(filter(None, itertools.chain(*turns.values())), 1)
    clear = _clear(path, kept, handle, depth=depth, colour=colour)
    return Container(
        "PNG", width, height, pages, turned, lambda pixels: _file(path, kept, pixels=pixels, clear=clear is None),
        deep=depth == 16, alpha="unassociated", clear=clear, colours=colours,
        check=lambda pixels: _compare(path, kept, head, pixels if kept[-1][0] == b"IEND" else None),
    )  # fmt: skip


def _chunks(path: Path, handle: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, length and place of each chunk, the handle at its data."""
    size = handle.seek(0, 2)
    place = len(PNG_BEGIN)
    for _ in range(_MOST_CHUNKS):
        handle.seek(place)
        start = handle.read(8)
        if len(start) < 8:
            return
        length, kind = struct.unpack(">I4s", start)
        if not kind.isalpha() or place + 12 + length > size:
            return  # cut off: it has no end
        yield kind, length, place + 8
        if kind == b"IEND":
            return
        place += 12 + length
    raise damaged(path, f"more than {_MOST_CHUNKS:,} parts")


def _text(kind: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Return name and text of a text chunk; a compressed one inflated to `_MOST_TEXT` at most."""
    name, _, text = data.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        text = text[1:]
    elif kind == b"iTXt":
        packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            text = b""
    return name, text


def _hexadecimal(text: bytes) -> bytes:
    """Return the bytes of a raw profile: three lines of name and length, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""


def _clear(
    path: Path, kept: list[tuple[bytes, int, int]], handle: BinaryIO, *, depth: int, colour: int
) -> tuple[int, ...] | None:
    """Return the transparent value of a grey or colour picture that Pillow or OpenCV would take wrongly."""
    found = next(((place, length) for kind, place, length in kept if kind == b"tRNS"), None)
    wanted = {0: 2, 2: 6}.get(colour)
    if found is None or wanted is None or (depth == 8 and colour == 2):
        return None
    handle.seek(found[0])
    if found[1] != wanted:
        raise damaged(path, f"its transparent colour takes {found[1]} bytes, not {wanted}")
    values = struct.unpack(f">{wanted // 2}H", handle.read(wanted))
    return values if depth == 16 else tuple((one & (2**depth - 1)) * (255 // (2**depth - 1)) for one in values)


def _colours(path: Path, kept: list[tuple[bytes, int, int]]) -> int:
    """Return how many colours the palette has; it stands once, before the pixels."""
    kinds = [kind for kind, _, _ in kept]
    before = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else kinds
    length = next((length for kind, _, length in kept if kind == b"PLTE"), 0)
    if before.count(b"PLTE") != 1 or kinds.count(b"PLTE") != 1 or length % 3 or not 3 <= length <= 768:
        raise damaged(path, f"a palette of {length} bytes before its pixels, where 3 a colour belong, once")
    return length // 3


def _compare(path: Path, kept: list[tuple[bytes, int, int]], head: bytes, pixels: npt.NDArray[np.uint8] | None) -> None:
    """Refuse a picture whose data inflate to less than its pixels take, which Pillow leaves black.

    They are inflated where the last pixel may be left so: black, or transparent and thereby white, or of a palette, or
    where none is given, since the file has no end.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    last = set() if pixels is None or colour == 3 or interlaced else set(pixels[-1, -1].tolist())
    if last not in (set(), {0}, {255}):
        return
    bits = depth * _CHANNELS.get(colour, 4)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sides = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    wanted = sum(down * (1 + (across * bits + 7) // 8) for across, down in sides if across > 0 and down > 0)
    inflate = zlib.decompressobj()
    with path.open("rb") as handle:
        for _, place, length in (one for one in kept if one[0] == b"IDAT"):
            handle.seek(place)
            data = handle.read(length)
            while data and wanted > 0:
                wanted -= len(inflate.decompress(data, _MOST_TEXT))
                data = inflate.unconsumed_tail
    if wanted > 0:
        raise truncated(path, f"pixels are missing, {wanted:,} bytes")


def _file(path: Path, kept: list[tuple[bytes, int, int]], *, pixels: bool, clear: bool) -> bytes:
    """Return a PNG of the kept chunks, whose checksums are compared on the way."""
    parts = [PNG_BEGIN]
    with path.open("rb") as handle:
        for kind, place, length in kept:
            if kind == b"IEND" or (kind == b"IDAT" and not pixels) or (kind == b"tRNS" and not clear):
                continue
            handle.seek(place - 8)
            whole = handle.read(12 + length)
            if len(whole) < 12 + length or zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
                raise truncated(path, f"the checksum of a part at byte {place - 8:,} does not fit")
            parts.append(whole)
    return b"".join([*parts, _END if pixels else _EMPTY])
