"""Reading of TIFF files with tifffile: the first page that is not marked as a thumbnail or a mask.

All sizes are checked before the page is decoded.

References
----------
TIFF 6.0 (Adobe 1992) and its technical notes; BigTIFF (2007).
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..core import ImageError
from . import limits
from .container import (
    Container,
    ImageHeader,
    Samples,
    check_size,
    damaged,
    page_remarks,
    plausible_mpp,
    truncated,
    xmp_orientation,
)
from .jpeg import check_jpeg
from .slides import SLIDE

TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ORIENTATION, _PHOTOMETRIC, _SUB_DIRECTORIES, _XMP = 274, 262, 330, 700
_RESOLUTIONS, _UNIT = (282, 283), 296
_MICROMETRES = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
"""Micrometres per unit of resolution: inch, centimetre, and the millimetre and micrometre of some programs."""

_IMAGEJ_UNIT = re.compile(r"^ImageJ=.*^unit=(micron|um|µm|\\u00B5m)$", re.MULTILINE | re.DOTALL)
"""Description of an ImageJ file whose resolution is in micrometres; ImageJ writes the unit only there."""

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
"""Photometric interpretation to number of samples per pixel."""

_NO_PACKING, _JPEG = 1, 7
_PACKINGS = frozenset({_NO_PACKING, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000})
"""Compressions that are read: none, CCITT, LZW, JPEG, deflate, PackBits and Zstandard. Their decoders need no more
memory than the size of the page."""


def read_tiff(path: Path, handle: BinaryIO) -> Container:
    """Read the directory of the first page that is not marked as a thumbnail or a mask.

    Raises
    ------
    ImageError
        All pages are thumbnails of another image in the file, or the file is a whole slide, has a damaged directory or
        impossible sizes, or has samples of a kind that is refused.
    """
    handle.seek(0)  # tifffile assumes that the file begins at the current position
    with _opened(handle, name=path.name) as file:
        pages = len(file.pages)
        if pages > limits.PAGES:
            raise damaged(path, f"more than {limits.PAGES:,} pages")
        number = next((index for index in range(pages) if not _is_other(file.pages.get(index))), None)
        if number is None and _SUB_DIRECTORIES in file.pages.first.tags:
            raise ImageError(f"{path}: its pages are thumbnails of another image in it; save that image as RGB")
        page: Any = file.pages.get(number or 0)
    width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
    if width * height > limits.PIXELS and page.is_tiled:
        raise ImageError(f"{path}: {width}x{height} pixels in tiles: {SLIDE}")
    deep = page.bitspersample == 16
    mode = {1: "I;16" if deep else "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(samples, f"{samples} colours")
    header = ImageHeader("TIFF", width, height, mode, pages, (number or 0) + 1, deep, _mpp(page))
    header = replace(header, remarks=page_remarks(header.pages, header.page))
    check_size(path, header)
    _check_samples(path, page)
    _check_parts(path, page)
    orientation = page.tags.valueof(_ORIENTATION)
    if orientation is None:
        xmp = page.tags.valueof(_XMP, b"")
        orientation = xmp_orientation(xmp if isinstance(xmp, bytes) else str(xmp).encode()) or 1
    return Container(header, orientation if orientation in range(1, 9) else 1, lambda: _decode(path, number or 0))


def _mpp(page: Any) -> float | None:
    """Return micrometres per pixel; None if there is no unit, or the pixels are not square."""
    unit = _MICROMETRES.get(page.tags.valueof(_UNIT)) or (1.0 if _IMAGEJ_UNIT.match(page.description) else None)
    try:
        across, down = (unit * size / pixels for pixels, size in map(page.tags.valueof, _RESOLUTIONS))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return plausible_mpp(across) if math.isclose(across, down, rel_tol=0.01) else None


def _is_other(page: Any) -> bool:
    """Whether a page is marked as a smaller version of the image, or as a mask."""
    kind, old = page.tags.valueof(254), page.tags.valueof(255)
    return bool(kind & 5) if isinstance(kind, int) else old == 2


def _check_samples(path: Path, page: Any) -> None:
    """Refuse samples without defined colours, and kinds of samples that cannot be decoded."""
    bits, kind, packing, photometric = page.bitspersample, page.sampleformat, page.compression, page.photometric
    if _PHOTOMETRIC not in page.tags:
        raise damaged(path, "it does not define its colours")
    if packing not in _PACKINGS:
        raise ImageError(f"{path}: a TIFF packed in way {int(packing)} is not read; save it uncompressed or as LZW")
    if kind not in (1, 4) or bits not in (1, 2, 4, 8, 16):
        names = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        what = f"samples of {bits} bits" if kind in (1, 4) else f"{names.get(kind, 'unknown')} numbers"
        raise ImageError(f"{path}: a TIFF of {what} has no defined colours; save it as 8-bit RGB")
    if photometric == _YCBCR and packing != _JPEG and page.is_subsampled:
        raise ImageError(f"{path}: YCbCr with fewer colours than pixels is read as JPEG only; save it as 8-bit RGB")
    if photometric not in _COLOURS:
        raise ImageError(f"{path}: this kind of TIFF is not read; save it as 8-bit RGB")
    colours = _COLOURS[photometric]
    if page.samplesperpixel - colours not in (0, 1) or (colours == 4 and page.samplesperpixel > 4):
        raise damaged(path, f"{page.samplesperpixel} samples a pixel, where {colours} colours belong")
    if bits == 16 and (packing == _JPEG or photometric not in (_WHITE_IS_ZERO, 1, _RGB)):
        raise ImageError(f"{path}: this kind of 16-bit image cannot be decoded; save it as 8-bit RGB")


def _check_parts(path: Path, page: Any) -> None:
    """Check the number and the sizes of the strips or tiles."""
    across, down = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    if not 0 < across * min(down, max(page.imagelength, page.tilelength)) <= limits.PIXELS:
        raise damaged(path, f"its tiles have {across}x{down} pixels")
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    parts = _parts(page)
    if len(parts) < expected or not all(map(all, parts)):
        raise damaged(path, f"{len(parts):,} parts, where {expected:,} belong")
    if sum(count for _, count in parts) > limits.PICTURE_BYTES:
        raise damaged(path, f"more than {limits.PICTURE_BYTES:,} bytes of pixels")


def _parts(page: Any) -> list[tuple[int, int]]:
    """Return offset and number of bytes of each strip or tile; an uncompressed page is a single part."""
    if page.is_contiguous:
        return [(page.dataoffsets[0], page.nbytes)]
    return list(zip(page.dataoffsets, page.databytecounts, strict=False))


@contextlib.contextmanager
def _opened(source: Path | BinaryIO, name: str | None = None) -> Iterator[Any]:
    """Open a TIFF. Errors of tifffile become ValueError, as in its releases since late 2025."""
    import tifffile

    try:
        with tifffile.TiffFile(source, name=name) as file:
            yield file
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error


def _decode(path: Path, number: int) -> Samples:
    """Decode a page after checking that all its strips or tiles are complete."""
    with _opened(path) as file:
        page: Any = file.pages.get(number)
        end = file.filehandle.size
        if any(offset + count > end for offset, count in _parts(page)):  # before memory is allocated for them
            raise truncated(path, "pixels are behind its end")
        if page.compression == _JPEG:
            for strip in _strips(page):
                check_jpeg(path, strip)  # libjpeg silently fills missing pixels
        values = page.asarray(maxworkers=1)
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            values = np.moveaxis(values, 0, -1)
        return _colours(np.atleast_3d(values), page)


def _strips(page: Any) -> Iterator[bytes]:
    """Yield each strip or tile as a complete JPEG file, with the shared tables inserted."""
    tables = page.jpegtables or b"\xff\xd8\xff\xd9"
    for data, _ in page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts, sort=False):
        yield tables[:-2] + data[2:]


def _colours(values: npt.NDArray[Any], page: Any) -> Samples:
    """Convert samples to grey or RGB of 8 or 16 bits; an alpha channel, if any, is last."""
    from PIL import Image

    photometric, bits = page.photometric, page.bitspersample
    if photometric == _PALETTE:
        return Samples((np.asarray(page.colormap) >> 8).astype(np.uint8).T[values[..., 0]])
    if bits < 8:
        values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if photometric == _WHITE_IS_ZERO:
        values[..., 0] = np.iinfo(values.dtype).max - values[..., 0]
    if photometric == _CMYK or (photometric == _YCBCR and page.compression != _JPEG):
        image = Image.fromarray(np.ascontiguousarray(values), "CMYK" if photometric == _CMYK else "YCbCr")
        return Samples(np.array(image.convert("RGB")))
    if values.shape[2] in (1, 3):
        return Samples(values)
    kind = int(page.extrasamples[0]) if page.extrasamples else 2
    if kind == 0:  # a sample without a defined meaning
        return Samples(values[..., :-1])
    return Samples(values, "associated" if kind == 1 else "unassociated")
