"""TIFF: the directory of the first page that is not called a thumbnail, and only that page as a small file.

Kept are the tags that make the pixels, and the strips or tiles that they name, in their order. Sizes are compared
with the bytes of the file before anything is read or inflated.

References
----------
TIFF 6.0 (Adobe 1992) and its technical notes; BigTIFF (2007).
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...errors import ImageError
from ..slides import SLIDE
from .container import MAX_BYTES, MAX_PIXELS, Container, damaged, truncated, xmp_orientation

TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _COUNTS, _PLANAR = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA, _FORMAT, _JPEG_TABLES, _SUBSAMPLING, _XMP = 338, 339, 347, 530, 700
_PIXELS = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _SAMPLES, _ROWS, _PLANAR, 292, 293, 317, 320,
     _TILE_WIDTH, _TILE_HEIGHT, 332, _EXTRA, _FORMAT, _JPEG_TABLES, 529, _SUBSAMPLING, 531, 532}
)  # fmt: skip
"""Tags that make the pixels; those of strips and tiles are made anew."""

_WHOLE = frozenset({1, 3, 4, 16})
_NOT_WHOLE = frozenset({_JPEG_TABLES, 529, 532, _ORIENTATION, _XMP})
"""Kinds of tags that hold whole numbers from 0 up, and the tags that are read and may be of another kind."""

_SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES = 254, 255, 330
_ROLES = frozenset({_SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES})
"""Tags that say what a page is to the others."""

_READ = _PIXELS | {_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS, _ORIENTATION, _XMP}
_FORMS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d",
          13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_NO_PACKING, _JPEG = 1, 7
_PACKINGS = frozenset({_NO_PACKING, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000})
"""None, CCITT, LZW, JPEG, deflate, PackBits and Zstandard: those whose decoders take no more memory than the
page has."""

_DEEP_PACKINGS = frozenset({_NO_PACKING, 5, 8, 32773, 32946})
"""Of those the ones that OpenCV knows, too."""

_MOST_TAGS = 1000
_MOST_TAG_BYTES = 16 * 1024**2
_MOST_PAGES = 10_000
"""Tags of a directory, bytes of one that is read, and pages (ours)."""


class _Tag(NamedTuple):
    kind: int
    values: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, order: str, kind: int, *values: int) -> _Tag:
        return cls(kind, values, struct.pack(f"{order}{len(values)}{_FORMS[kind]}", *values))


@dataclass(frozen=True)
class _Page:
    """Directory of a page, with its strips or tiles as (place, bytes)."""

    order: str
    tags: dict[int, _Tag]
    parts: tuple[tuple[int, int], ...] = ()

    def values(self, tag: int, *default: int) -> tuple[int, ...]:
        return self.tags[tag].values if tag in self.tags else default

    def number(self, tag: int, default: int) -> int:
        return (self.values(tag) or (default,))[0]

    def data(self, tag: int, default: bytes = b"") -> bytes:
        return self.tags[tag].data if tag in self.tags else default

    @property
    def planes(self) -> int:
        """Pictures that its colours are."""
        return self.number(_SAMPLES, 1) if self.number(_PLANAR, 1) == 2 else 1


def read_tiff(path: Path, handle: BinaryIO) -> Container:
    """Read the directory of the picture in a TIFF: that of the first page that is not called a thumbnail or a mask.

    Raises
    ------
    ImageError
        A thumbnail of a picture that is on no page, a whole slide, a directory that is damaged or in a circle, samples
        that are refused; of the file of pixels, missing strips.
    """
    handle.seek(0)
    begin = handle.read(16)
    order, big = "<" if begin[:2] == b"II" else ">", b"+" in begin[:4]
    if len(begin) < (16 if big else 8):
        raise damaged(path, "it ends in a directory")
    (where,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", begin, 8 if big else 4)
    read = functools.partial(_directory, path, handle, order=order, big=big)
    first, after = read(where, wanted=_ROLES)
    pages = {where: _is_other(first)}
    while after:
        if after in pages:
            raise damaged(path, "its pages lead in a circle")
        if len(pages) >= _MOST_PAGES:
            raise damaged(path, f"more than {_MOST_PAGES:,} pages")
        tags, following = read(after, wanted=_ROLES)
        pages[after], after = _is_other(tags), following
    number = next((place for place, other in enumerate(pages.values()) if not other), 0)
    if all(pages.values()) and _SUB_DIRECTORIES in first:
        raise ImageError(f"{path}: its pages are thumbnails of a picture that lies elsewhere in it; save that as RGB")
    page = _Page(order, read(list(pages)[number], wanted=_READ)[0])
    width, height = page.number(_WIDTH, 0), page.number(_HEIGHT, 0)
    if width * height > MAX_PIXELS and _TILE_WIDTH in page.tags:
        raise ImageError(f"{path}: {width}x{height} pixels in tiles: {SLIDE}")
    if not 0 < width * height <= MAX_PIXELS:  # said by `check_size`; nothing more is worked out
        return Container("TIFF", width, height, len(pages), 1, lambda pixels: b"")
    deep, alpha = _samples(path, page)
    page = replace(page, parts=_parts(path, page, width=width, height=height))
    turned = page.number(_ORIENTATION, 0) if _ORIENTATION in page.tags else xmp_orientation(page.data(_XMP)) or 1
    file = functools.partial(_file, path, page)
    return Container(
        "TIFF", width, height, len(pages), turned if 1 <= turned <= 8 else 1,
        lambda pixels: file(pixels=pixels),
        deep=deep,
        planes=tuple(functools.partial(file, pixels=True, plane=one) for one in range(page.planes))
        if page.planes > 1 else (),
        inverted=page.number(_PHOTOMETRIC, 1) == 0, alpha=alpha,
        strips=lambda: _strips(path, page), page=number + 1,
    )  # fmt: skip


def _is_other(tags: dict[int, _Tag]) -> bool:
    """Whether a page is called a smaller version of the picture, or a mask of it."""
    old = tags[_OLD_SUBFILE].values[:1] if _OLD_SUBFILE in tags else ()
    new = tags[_SUBFILE].values[:1] if _SUBFILE in tags else ()
    return bool(new and new[0] & 5) or (not new and old == (2,))


def _directory(
    path: Path, handle: BinaryIO, place: int, *, order: str, big: bool, wanted: frozenset[int]
) -> tuple[dict[int, _Tag], int]:
    """Return the wanted tags of a directory, and the place of the next."""
    counts, entry, pointer = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    step, head, inline = (struct.calcsize(f"={form}") for form in (entry, counts, pointer))
    handle.seek(place)
    data = handle.read(head)
    number = struct.unpack(order + counts, data)[0] if len(data) == head else 0
    if not 1 <= number <= _MOST_TAGS:
        raise damaged(path, f"a directory of {number:,} tags at byte {place:,}")
    rows = handle.read(number * step + inline)
    if len(rows) < number * step + inline:
        raise damaged(path, "it ends in a directory")
    tags: dict[int, _Tag] = {}
    for tag, kind, count, value in struct.iter_unpack(order + entry, rows[:-inline]):
        if tag not in wanted:
            continue
        form = _FORMS.get(kind)
        if form is None or tag in tags:
            raise damaged(path, f"tag {tag} {'stands in it twice' if form else f'is of kind {kind}'}")
        length = count * struct.calcsize(f"={form}")
        if length > _MOST_TAG_BYTES:
            raise damaged(path, f"tag {tag} takes {length:,} bytes")
        if length > inline:
            handle.seek(struct.unpack(order + pointer, value)[0])
            value = handle.read(length)
        if len(value) < length:
            raise damaged(path, f"tag {tag} lies outside the file")
        whole = kind in _WHOLE
        if not whole and tag in _READ - _NOT_WHOLE:
            raise damaged(path, f"tag {tag} is of kind {kind}, not a whole number")
        values = struct.unpack(f"{order}{count}{form}", value[:length]) if whole else ()
        if kind == 16 and tag in _PIXELS:  # classic directories know no numbers of 64 bits
            tags[tag] = _Tag.of(order, 4, *values)
        else:
            tags[tag] = _Tag(kind, values, value[:length])
    return tags, int(struct.unpack(order + pointer, rows[-inline:])[0])


def _samples(path: Path, page: _Page) -> tuple[bool, str]:
    """Return whether samples have 16 bits, and what a fourth is; refuse kinds that would be taken wrongly."""
    samples, packing = page.number(_SAMPLES, 1), page.number(_COMPRESSION, _NO_PACKING)
    bits, formats = set(page.values(_BITS, 1)), set(page.values(_FORMAT, 1))
    photometric = page.number(_PHOTOMETRIC, 1)
    if _PHOTOMETRIC not in page.tags:
        raise damaged(path, "it does not say what its colours are")
    if packing not in _PACKINGS:
        raise ImageError(f"{path}: a TIFF packed in way {packing} is not read; save it uncompressed or as LZW")
    if formats - {1, 4} or len(bits) != 1 or not bits <= {1, 2, 4, 8, 16}:
        names = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        kind = f"samples of {', '.join(map(str, sorted(bits)))} bits"
        if strange := formats - {1, 4}:
            kind = f"{names.get(min(strange), 'unknown')} numbers"
        raise ImageError(f"{path}: a TIFF of {kind} has no defined colours here; save it as 8-bit RGB")
    if photometric == 6 and packing != _JPEG and page.values(_SUBSAMPLING, 2, 2) != (1, 1):
        raise ImageError(f"{path}: YCbCr with fewer colours than pixels is read as JPEG only; save it as 8-bit RGB")
    deep = 16 in bits
    known = packing in _DEEP_PACKINGS and (photometric, samples) in ((0, 1), (1, 1), (2, 3), (2, 4))
    if deep and not (known and formats == {1}):
        raise ImageError(f"{path}: this kind of 16-bit image cannot be decoded; save it as 8-bit RGB")
    return deep, {0: "", 1: "associated"}.get(page.number(_EXTRA, 2), "unassociated")


def _parts(path: Path, page: _Page, *, width: int, height: int) -> tuple[tuple[int, int], ...]:
    """Return place and bytes of each strip or tile; without packing the bytes follow from the size."""
    tiled = _TILE_OFFSETS in page.tags or _TILE_WIDTH in page.tags
    offsets = page.values(_TILE_OFFSETS if tiled else _OFFSETS)
    counts = page.values(_TILE_COUNTS if tiled else _COUNTS)
    across = page.number(_TILE_WIDTH, 0) if tiled else width
    down = page.number(_TILE_HEIGHT, 0) if tiled else min(page.number(_ROWS, height) or height, height)
    if across < 1 or down < 1 or across * down > MAX_PIXELS:
        raise damaged(path, f"its tiles have {across}x{down} pixels")
    samples = page.number(_SAMPLES, 1)
    each = -(-width // across) * -(-height // down)
    number = each * page.planes
    if not 1 <= samples <= 6 or len(offsets) < number:
        raise damaged(path, f"{samples} colours in {len(offsets):,} parts, where {number:,} belong")
    if page.number(_COMPRESSION, _NO_PACKING) == _NO_PACKING:
        row = -(-across * page.number(_BITS, 1) * (samples // page.planes) // 8)
        counts = tuple(row * (down if tiled else min(down, height - place % each * down)) for place in range(number))
    elif len(counts) < number:
        raise damaged(path, f"{len(counts):,} sizes of {number:,} parts")
    parts = tuple(zip(offsets[:number], counts, strict=False))
    if sum(count for _, count in parts) > MAX_BYTES:
        raise damaged(path, f"more than {MAX_BYTES:,} bytes of pixels")
    return parts


def _strips(path: Path, page: _Page) -> Iterator[bytes]:
    """Yield the JPEG files that strips or tiles are, with the tables that they share; none of another packing."""
    if page.number(_COMPRESSION, _NO_PACKING) != _JPEG:
        return
    tables = page.data(_JPEG_TABLES, b"\xff\xd8\xff\xd9")
    for data in _read_parts(path, page.parts):
        yield tables[:-2] + data[2:]


def _file(path: Path, page: _Page, *, pixels: bool, plane: int | None = None) -> bytes:
    """Return a TIFF of this page, or of one of its colours as a grey page: its strips or tiles, then its directory."""
    order, parts = page.order, page.parts
    tags = {tag: page.tags[tag] for tag in _PIXELS & page.tags.keys()}
    if plane is not None:
        each = len(parts) // page.number(_SAMPLES, 1)
        parts = parts[plane * each : (plane + 1) * each]
        tags = {tag: found for tag, found in tags.items() if tag not in (_EXTRA, _FORMAT)}
        tags |= {tag: _Tag.of(order, 3, 1) for tag in (_SAMPLES, _PLANAR, _PHOTOMETRIC)}
        tags[_BITS] = _Tag.of(order, 3, 16)
    elif page.number(_BITS, 1) == 16 and page.number(_PHOTOMETRIC, 1) == 0:
        tags[_PHOTOMETRIC] = _Tag.of(order, 3, 1)  # Pillow knows it in one order of bytes only
    strips = list(_read_parts(path, parts)) if pixels else []
    tiled = _TILE_WIDTH in tags
    counts = [count for _, count in parts]
    tags[_TILE_OFFSETS if tiled else _OFFSETS] = _Tag.of(order, 4, *itertools.accumulate(counts[:-1], initial=8))
    tags[_TILE_COUNTS if tiled else _COUNTS] = _Tag.of(order, 4, *counts)
    length = sum(map(len, strips))
    strips.append(b"\0" * (length % 2))
    start = 8 + length + length % 2
    free = start + 2 + 12 * len(tags) + 4
    rows, data = [], []
    for tag, (kind, _, content) in sorted(tags.items()):
        count, value = len(content) // struct.calcsize(f"={_FORMS[kind]}"), content
        if len(content) > 4:
            value = struct.pack(f"{order}I", free)
            data.append(content + b"\0" * (len(content) % 2))
            free += len(data[-1])
        rows.append(struct.pack(f"{order}HHI4s", tag, kind, count, value))
    begin = b"II*\0" if order == "<" else b"MM\0*"
    head, number = struct.pack(f"{order}I", start), struct.pack(f"{order}H", len(rows))
    return b"".join([begin, head, *strips, number, *rows, bytes(4), *data])


def _read_parts(path: Path, parts: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes of strips or tiles, of which place and length are given."""
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        for place, count in parts:
            if place + count > size:  # before it is read: room is made for what is asked for
                raise truncated(path, "pixels lie behind its end")
            handle.seek(place)
            data = handle.read(count)
            if len(data) < count:  # the file was cut meanwhile
                raise truncated(path, "pixels lie behind its end")
            yield data
