"""Slides in TIFF that no scanner wrote: levels in SubIFDs or pages, further compressions, strips; read by tifffile.

References
----------
TIFF 6.0 (Adobe 1992), sections 14 and 15; OME-TIFF specification (2018), "Sub-resolutions".
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core import DAMAGE, ImageError, InputError, few, first_line
from ...core.formats import (
    Array,
    Pixels,
    check_jpeg,
    coded_size,
    limits,
    ome_images,
    pixel_sizes,
)

_log = logging.getLogger(__name__)

_RGB = 2
_YCBCR = 6
_JPEG = 7
_ORIENTATION = 274
_PACKINGS = frozenset({1, 5, _JPEG, 8, 32773, 32946, 34712, 50000, 50001})
"""Compressions that are read: none, LZW, JPEG, deflate, PackBits, JPEG 2000, Zstandard and WebP, whose decoders need no
more memory than a tile has pixels."""

_MOST_LEVELS = 32
"""Pages that may be levels, and are looked at: halved so often, a slide of any size has one pixel."""

_KEPT = 2**27
"""Bytes of decoded tiles that are kept: a row of tiles of a slide of 170,000 pixels, of which each strip of a mask
reads a part."""

_SAMPLED = 64
_PART = 4096
"""Tiles of level 0, and bytes of each, that are in the digest, since to read all takes minutes."""

TO_PYRAMID = (
    "save the slide as a pyramid of tiles"
    " (in QuPath: File > Export images > OME TIFF; or by tiffsave of vips)"
)


_WORDS = r"(?<![a-z])(label|macro|makro|overview|thumbnail|preview|barcode|etikett|übersicht|vorschau)s?(?![a-z])"
_OTHER = re.compile(rf"\A[^|]{{0,99}}{_WORDS}|<ImageType>\s*{_WORDS}", re.IGNORECASE)
"""Matches descriptions of images that are not slides, by names in OME and by the first words that scanners write."""


class TiffScan:
    """A slide in TIFF: the largest page that is not named as a label or an overview.

    Its levels are in SubIFDs of that page, or in pages after it.

    Tiles that the file lacks are white, as is everything outside of a level. The attributes are those of
    `bchisto.apps.slides.slide.OpenSlideScan`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        It is not RGB of 8 or 16 bits, upright, in a compression that is read, in tiles or strips of a size that fits
        into memory; or it is truncated.
    ValueError
        Its directories cannot be read.
    """

    objective = "unknown"

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = path
        self._file = tifffile.TiffFile(path)
        try:
            texts = ome_images(self._file)
            images = _images(path, self._file, texts)
            first = max(images, key=lambda page: page.imagewidth * page.imagelength)
            _check_colours(path, first)
            self._levels = [first, *_lower_levels(images, first)]
            self.sizes = [(page.imagewidth, page.imagelength) for page in self._levels]
            width, height = self.sizes[0]
            self.factors = [(width / w + height / h) / 2 for w, h in self.sizes]
            self.bounds: tuple[int, ...] = (0, 0, width, height)
            self.pitch = pixel_sizes(first, texts.get(first.index, first.description))
            for page in self._levels:
                _check_tiles(path, page, self._file.filehandle.size)
            self.digest = self._checksum()
        except BaseException:
            self.close()
            raise
        others = few(
            f"{page.imagewidth} x {page.imagelength}"
            for page in images
            if page is not first and not page.subfiletype
        )
        if others:
            text = "%s: the image of %s x %s pixels is read, its others are not: %s"
            _log.warning(text, path, width, height, others)
        largest = max(3 * math.prod(page.chunks[:2]) for page in self._levels)
        self._tile = functools.lru_cache(maxsize=max(1, _KEPT // largest))(self._decode)

    def _checksum(self) -> str:
        """Return a checksum of the sizes of levels, the lengths of all tiles of level 0, and the middle of some."""
        page = self._levels[0]
        facts = (self.sizes, page.description, page.databytecounts)
        digest = hashlib.sha256(repr(facts).encode())
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        for offset, count in places[:: max(1, len(places) // _SAMPLED)]:
            digest.update(self._bytes(offset + count // 2, _PART))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, x: int, y: int, level: int, size: tuple[int, int]) -> Pixels:
        """Read pixels of a level, interpolated if `x` and `y` are between its pixels; see `OpenSlideScan.read`."""
        import cv2

        factor = self.factors[level]
        across, right = divmod(x / factor, 1)
        down, lower = divmod(y / factor, 1)
        column = int(across)
        row = int(down)
        width = size[0] + bool(right)
        height = size[1] + bool(lower)
        # white where the level has no pixels
        tile_height, tile_width = self._levels[level].chunks[:2]
        bands = []
        for top in range(row // tile_height * tile_height, row + height, tile_height):
            rows = slice(max(0, row - top), row + height - top)
            tiles = []
            for left in range(column // tile_width * tile_width, column + width, tile_width):
                columns = slice(max(0, column - left), column + width - left)
                tiles.append(self._tile(level, left, top)[rows, columns])
            bands.append(np.concatenate(tiles, axis=1))
        block = np.concatenate(bands)
        if lower:
            block = cv2.addWeighted(block[:-1], 1 - lower, block[1:], lower, 0)
        if right:
            block = cv2.addWeighted(block[:, :-1], 1 - right, block[:, 1:], right, 0)
        return np.asarray(block, dtype=np.uint8)

    def _decode(self, level: int, left: int, top: int) -> Pixels:
        """Decode the tile at a place of a level; it is white if the file lacks it, and outside of the level.

        Raises
        ------
        ImageError
        """
        page = self._levels[level]
        tile_height, tile_width = page.chunks[:2]
        tile = np.full((tile_height, tile_width, 3), 255, np.uint8)
        width, height = self.sizes[level]
        if not (0 <= left < width and 0 <= top < height):
            return tile
        columns = math.ceil(width / tile_width)
        # tiles from one colour to the next, if each colour has its own tiles
        step = columns * math.ceil(height / tile_height)
        numbers = range(
            top // tile_height * columns + left // tile_width, math.prod(page.chunked), step
        )
        if not all(page.databytecounts[number] for number in numbers):
            return tile
        try:
            planes = [self._plane(page, number) for number in numbers]
        except (ImageError, *DAMAGE) as error:
            x, y = (round(start * self.factors[level]) for start in (left, top))
            reason = first_line(error).removeprefix(f"{self._path}: ").partition("; ")[0]
            part = f"x {x}, y {y} ({tile_width} x {tile_height} pixels of level {level})"
            raise ImageError(
                f"{self._path}: damaged at {part}: {reason}; copy the slide again"
            ) from error
        values = np.concatenate(planes, axis=2)[: height - top, : width - left]
        if values.dtype == np.uint16:
            values = np.rint(values / 257)  # as images of 16 bits are read
        rows, columns, _ = values.shape
        tile[:rows, :columns] = _on_white(values, is_multiplied=page.extrasamples[:1] == (1,))
        return tile

    def _plane(self, page: Any, number: int) -> Array:
        """Decode a tile of all colours, or of one."""
        data = self._bytes(page.dataoffsets[number], page.databytecounts[number])
        if page.compression == _JPEG:
            tables = page.jpegtables or b"\xff\xd8\xff\xd9"
            check_jpeg(self._path, tables[:-2] + data[2:])
        size = coded_size(data)
        if size is not None and math.prod(size) > math.prod(page.chunks[:2]):
            raise ValueError("a tile of {} x {} pixels".format(*size))
        values: Array = page.decode(data, number, jpegtables=page.jpegtables)[0][0]
        return values

    def _bytes(self, offset: int, count: int) -> bytes:
        """Read bytes of the file."""
        handle = self._file.filehandle
        handle.seek(offset)
        return bytes(handle.read(count))


def _check_colours(path: Path, page: Any) -> None:
    """Refuse what is not an image in bright field, or not upright."""
    if page.tags.valueof(_ORIENTATION) in range(2, 9):
        raise InputError(f"{path}: stored turned or mirrored, which is not read; save it upright")
    samples = page.samplesperpixel
    has_alpha = samples == 4 and page.extrasamples[:1] in ((1,), (2,))
    is_colour = page.photometric in (_RGB, _YCBCR) and (samples == 3 or has_alpha)
    if not is_colour or page.dtype not in ("u1", "u2"):
        raise InputError(
            f"{path}: not in RGB of 8 or 16 bits; if it is stained with dyes, save it as RGB"
            " (in QuPath: File > Export images > OME TIFF)"
        )


def _images(path: Path, file: Any, described: Mapping[int, str]) -> list[Any]:
    """Return the pages that are not named as labels or overviews."""
    images = [
        page
        for page in file.pages[:_MOST_LEVELS]
        if not _OTHER.search(described.get(page.index, page.description))
    ]
    if not images:
        raise InputError(f"{path}: only labels or overviews, by their names; copy the slide again")
    return images


def _lower_levels(images: Sequence[Any], first: Any) -> list[Any]:
    """Return the pages that show all of the first in fewer pixels, from large to small."""
    width = first.imagewidth
    height = first.imagelength
    following = images[images.index(first) + 1 :]
    # up to the next slide; labels and overviews in between may lack a subfile type, but are not tiled
    candidates = itertools.takewhile(lambda page: page.subfiletype or not page.is_tiled, following)
    pages = first.pages or (page for page in candidates if page.is_tiled and page.subfiletype == 1)
    levels = {}
    for page in itertools.islice(pages, _MOST_LEVELS):
        is_alike = (page.dtype, page.samplesperpixel) == (first.dtype, first.samplesperpixel)
        # its sides have the same ratio, apart from rounding to whole pixels
        is_whole = abs(page.imagewidth * height - page.imagelength * width) <= width + height
        if page.imagewidth < width and is_alike and is_whole:
            levels[page.imagewidth] = page
    return [page for _, page in sorted(levels.items(), reverse=True)]


def _check_tiles(path: Path, page: Any, end: int) -> None:
    """Refuse tiles or strips that cannot be decoded, are too large, or are behind the end of the file."""
    is_subsampled = page.photometric == _YCBCR and page.compression != _JPEG
    if page.compression not in _PACKINGS or is_subsampled:
        kind = getattr(page.compression, "name", page.compression)
        raise InputError(f"{path}: a TIFF packed as {kind}, which is not read; {TO_PYRAMID}")
    if page.tiledepth > 1 or not 0 < math.prod(page.chunks[:2]) <= limits.PIXELS:
        raise InputError(f"{path}: not in tiles; {TO_PYRAMID}")
    ends = np.asarray(page.dataoffsets, float) + np.asarray(page.databytecounts, float)
    if len(ends) < math.prod(page.chunked) or ends.max() > end:
        raise InputError(f"{path}: truncated, tiles are missing at its end; copy the slide again")


def _on_white(values: Array, *, is_multiplied: bool) -> Pixels:
    """Return samples as RGB of 8 bits, over white if the fourth is alpha; colours may be multiplied by it already."""
    colours = values[..., :3]
    if values.shape[2] == 4:
        share = values[..., 3:] / 255
        if not is_multiplied:
            colours = colours * share
        colours = np.clip(np.rint(colours + 255 * (1 - share)), 0, 255)
    return colours.astype(np.uint8)
