"""Reading of TIFF files with tifffile: the first page that is not marked as a thumbnail or a mask.

All sizes are checked before the page is decoded. Descriptions of OME, ImageJ and Aperio state channels and micrometres
per pixel: only their first `limits.DESCRIPTION` characters are searched, by regular expressions, so that no entity of
XML is expanded and no other file is opened.

References
----------
TIFF 6.0 (Adobe 1992) and its technical notes; BigTIFF (2007); OME Data Model 2016-06 (Pixels, Channel); ImageJ 1.54,
FileSaver.java and TiffEncoder.java (keys of the text).
"""

from __future__ import annotations

import contextlib
import functools
import html
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import ImageError
from . import files, limits
from .files import SLIDE, Container, ImageHeader, Remark, Samples
from .pictures import check_jpeg

TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ORIENTATION, _PHOTOMETRIC, _SUB_DIRECTORIES, _COLOUR_MAP, _PROFILE = 274, 262, 330, 320, 34675
_RESOLUTIONS, _UNIT = (282, 283), 296
_MICROMETRES = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
"""Micrometres per unit of resolution: inch, centimetre, and the millimetre and micrometre of some programs."""

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
"""Photometric interpretation to number of samples per pixel."""

_DARK = 48
"""Grey levels. The median of each channel of an image in bright field is brighter (in 99 % of 959 patches of BreakHis
and IDC above 85); that of fluorescence is near black."""

_AS_RGB = "save it as 8-bit RGB (in Fiji: Image > Type > RGB Color)"

_JOINED: Final = "3 grey channels are read as red, green and blue"

_NO_PACKING, _JPEG = 1, 7
_PACKINGS = frozenset({_NO_PACKING, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000})
"""Compressions that are read: none, CCITT, LZW, JPEG, deflate, PackBits and Zstandard. Their decoders need no more
memory than the size of the page."""


_CHANNEL = re.compile(r"<(?:\w{1,99}:)?Channel\b([^<>]*)")
_MPP = re.compile(r"\|\s?MPP\s?=\s?([0-9]+[.,]?[0-9]*)")
_PURE = {"ff0000": "r", "00ff00": "g", "0000ff": "b"}
_COLOUR_NAME = re.compile(r"(?<![a-z])(?:(r)|(g)|(b))(?:ed|reen|lue)?(?![a-z])", re.IGNORECASE)
_UNITS = {
    "um": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25_400.0,
    "inch": 25_400.0,
}
"""Micrometres of a unit of length, without a plural s."""


class Description(NamedTuple):
    """What the description of a TIFF states.

    Attributes
    ----------
    counts : tuple of int
        Numbers of channels, of planes in depth and of times; 1 if not stated.
    order : tuple of int
        Positions of red, green and blue among three channels, by their names or colours; empty if not stated.
    other : bool
        Whether the channels are stated to have other colours than red, green and blue, or contradicting ones.
    size : tuple of float
        Micrometres per pixel, across and down; empty if not stated.
    """

    counts: tuple[int, ...] = (1, 1, 1)
    order: tuple[int, ...] = ()
    other: bool = False
    size: tuple[float, ...] = ()


def describe(
    text: str, *, samples: int, resolutions: list[float], beside: dict[str, Any] | None
) -> Description:
    """Read the description of a page.

    Parameters
    ----------
    text : str
    samples : int
        Samples per pixel of the page; OME counts each as a channel.
    resolutions : list of float
        Pixels per unit, across and down; empty if unknown. ImageJ writes the unit into the description.
    beside : dict, optional
        What ImageJ writes outside of the description, such as ``LUTs``.
    """
    text = text[: limits.DESCRIPTION].strip()
    ome = re.search(r"<(?:\w{1,99}:)?OME\b", text) is not None
    if not ome and not text.startswith("ImageJ="):
        # a picture that was made smaller keeps the number of the large one: "46000x32914 -> 1024x732"
        sizes = {
            value.replace(",", ".")
            for value in _MPP.findall(text)
            if "->" not in text.partition("|")[0]
        }
        return Description(
            size=(float(min(sizes)),) * 2 if len(sizes) == 1 and text.startswith("Aperio") else ()
        )
    text = re.split(r"</(?:\w{1,99}:)?Pixels\s*>", text, maxsplit=1)[0]
    keys = ("SizeC", "SizeZ", "SizeT") if ome else ("channels", "slices", "frames")
    counts = [_count(_value(key, text)) for key in keys]
    if ome:
        inside = _CHANNEL.findall(text)
        names = [_value("Name", channel) for channel in inside]
        shown = filter(None, (_value("Color", channel) for channel in inside))  # RGBA
        colours = [f"{_count(colour) >> 8:06x}" for colour in shown]
        size = [
            _length(_value(f"PhysicalSize{axis}", text), _value(f"PhysicalSize{axis}Unit", text))
            for axis in "XY"
        ]
        counts[0] = max(1, counts[0] // samples)
    else:
        names = []
        colours = [bytes(table[:, -1]).hex() for table in (beside or {}).get("LUTs", ())]
        size = [_length(1 / value, _value("unit", text) or "pixel") for value in resolutions]
    named = ["".join(map("".join, _COLOUR_NAME.findall(name))).lower() for name in names]
    three = (named, [_PURE.get(colour, "") for colour in colours])
    orders = {
        tuple(map(letters.index, "rgb")) for letters in three if sorted(letters) == ["b", "g", "r"]
    }
    others = len({*colours}) > 1 and {*colours} != {*_PURE}
    return Description(
        tuple(counts), min(orders, default=()), others or len(orders) > 1, tuple(filter(None, size))
    )


def _value(key: str, text: str) -> str:
    """Return the first value of a key: of XML in quotes, of ImageJ up to the end of the line; empty without one."""
    match = re.search(rf"""\b{key}\s?=\s?["']?([^"'\n\r]{{0,200}})""", text)
    return html.unescape(match[1]) if match else ""


def _count(text: str) -> int:
    """Return a whole number that a text states, of 32 bits without a sign; 1 if it states none."""
    return int(text) % 2**32 or 1 if re.fullmatch(r"\s*-?[0-9]{1,10}\s*", text) else 1


def _length(value: str | float, unit: str) -> float | None:
    """Return a length in micrometres, the unit of OME if it names none; None if it or its unit is unknown."""
    unit = re.sub(
        r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), unit.strip() or "um"
    )  # as in ImageJ
    unit = unicodedata.normalize("NFKC", unit)
    try:
        return float(value) * _UNITS[unit if len(unit) < 3 else unit.casefold().removesuffix("s")]
    except (KeyError, ValueError):
        return None


def square_mpp(size: tuple[float, ...]) -> float | None:
    """Return micrometres per pixel from those across and down; None if implausible, or the pixels are not square."""
    return (
        files.plausible_mpp(size[0])
        if len(size) == 2 and math.isclose(*size, rel_tol=0.01)
        else None
    )


def read_tiff(path: Path, handle: BinaryIO) -> Container:
    """Read the directory of the first page that is not marked as a thumbnail or a mask.

    Three grey channels that are the red, green and blue of one image are decoded here, since only their pixels show it.

    Raises
    ------
    ImageError
        All pages are thumbnails of another image in the file, or the file is a whole slide, a stack, a time series or
        fluorescence, has a damaged directory or impossible sizes, or has samples of a kind that is refused.
    """
    handle.seek(0)  # tifffile assumes that the file begins at the current position
    with _opened(handle, name=path.name) as file:
        pages = len(file.pages)
        if pages > limits.PAGES:
            raise ImageError(f"{path}: more than {limits.PAGES:,} pages; save one of them as RGB")
        used = [index for index in range(pages) if not _is_other(file.pages.get(index))]
        if not used and _SUB_DIRECTORIES in file.pages.first.tags:
            raise ImageError(
                f"{path}: its pages are thumbnails of another image in it; save that image as RGB"
            )
        number = used[0] if used else 0
        page: Any = file.pages.get(number)
        width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
        if width * height > limits.PIXELS and page.is_tiled:
            raise ImageError(f"{path}: {width}x{height} pixels in tiles: {SLIDE}")
        deep = page.bitspersample == 16
        mode = {1: "I;16" if deep else "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(
            samples, f"{samples} samples"
        )
        header = ImageHeader("TIFF", width, height, mode, pages, number + 1, deep)
        files.check_size(path, header)
        stated = describe(
            str(page.description),
            samples=samples,
            resolutions=_resolutions(page),
            beside=file.imagej_metadata,
        )
        channels = _channels(path, file, used[:4] or [0], stated)
        remarks: tuple[Remark, ...] = (("note", _JOINED),)
        if channels is None:
            _check_page(path, page)
            only_colours: Remark = (
                "note",
                f"{samples} samples a pixel, of which only the colours are used",
            )
            remarks = (only_colours,) if samples - _COLOURS[page.photometric] > 1 else ()
            remarks += files.remarks_on(pages=len(used) or pages, page=number + 1)
        orientation = page.tags.valueof(_ORIENTATION)
        remarks += files.remarks_on(page.tags.valueof(_PROFILE, b""))
        orientation = orientation if orientation in range(1, 9) else 1
        mode = "RGB" if channels else mode
        header = replace(
            header, mode=mode, mpp=_mpp(page, stated), orientation=orientation, remarks=remarks
        )
    read = functools.partial(_decode, path, number) if channels is None else lambda: channels
    return Container(header, read)


def _channels(path: Path, file: Any, used: Sequence[int], stated: Description) -> Samples | None:
    """Return the decoded red, green and blue of an image that stores them apart; None if it does not.

    Parameters
    ----------
    path : Path
    file : tifffile.TiffFile
    used : sequence of int
        The first four pages that are not marked as thumbnails or masks.
    stated : Description
        Of the first of these pages.
    """
    page = file.pages.get(used[0])
    count, planes, times = stated.counts
    for number, kind in ((max(planes, page.imagedepth), "z-stack"), (times, "time series")):
        if number > 1:
            raise ImageError(f"{path}: a {kind} of {number} images; save one of them as 8-bit RGB")
    grey = page.photometric in (_WHITE_IS_ZERO, 1)
    inside = page.samplesperpixel if grey and not {1, 2} & {*page.extrasamples} else 1
    count = max(count, inside)
    if count == 1 and grey and len(used) == 3:
        raise ImageError(
            f"{path}: 3 grey pages; if they are red, green and blue, {_AS_RGB}, else save one of them"
        )
    if count == 1:
        return None
    parts = [page] if inside > 1 else [file.pages.get(index) for index in used[:3]]
    alike = len({(part.shape, part.dtype, part.photometric) for part in parts}) == 1
    complete = grey and alike and len(parts) * page.samplesperpixel == 3 and count in (1, 3)
    if complete and not stated.other:
        for part in parts:
            _check_page(path, part)
        values = np.concatenate([_pixels(path, file, part).values for part in parts], axis=2)
        values = values[..., list(stated.order or range(3))]
        levels = values.reshape(-1, 3)[:: max(1, len(values) // 1024)] / (
            257 if values.dtype == np.uint16 else 1
        )
        bright = (np.median(levels, axis=0) >= _DARK).all()
        if stated.order or bright:
            return Samples(values)
    kind = (
        ("not all in it", "of fluorescence, or dark as such")[complete]
        if count == 3
        else "not red, green and blue"
    )
    raise ImageError(
        f"{path}: {count} channels, {kind}; if they are one image in bright field, {_AS_RGB}"
    )


def _resolutions(page: Any) -> list[float]:
    """Return the pixels per unit, across and down; empty if a page does not state them."""
    try:
        return [pixels / size for pixels, size in map(page.tags.valueof, _RESOLUTIONS) if pixels]
    except (TypeError, ValueError, ZeroDivisionError):
        return []


def _mpp(page: Any, stated: Description) -> float | None:
    """Return micrometres per pixel by the description, else by the resolution; None if they contradict each other."""
    unit = _MICROMETRES.get(page.tags.valueof(_UNIT))
    tagged = square_mpp(tuple(unit / value for value in _resolutions(page))) if unit else None
    described = square_mpp(stated.size) if stated.size else tagged
    return (
        described
        if tagged is None or described is None or math.isclose(tagged, described, rel_tol=0.01)
        else None
    )


def _is_other(page: Any) -> bool:
    """Whether a page is marked as a smaller version of the image, or as a mask."""
    kind, old = page.tags.valueof(254), page.tags.valueof(255)
    return bool(kind & 5) if isinstance(kind, int) else old == 2


def _check_page(path: Path, page: Any) -> None:
    """Refuse samples without defined colours, kinds of samples that cannot be decoded, and impossible sizes."""
    bits, kind, packing, photometric = (
        page.bitspersample,
        page.sampleformat,
        page.compression,
        page.photometric,
    )
    if _PHOTOMETRIC not in page.tags:
        raise ImageError(f"{path}: a TIFF that does not define its colours; save it as 8-bit RGB")
    if packing not in _PACKINGS:
        raise ImageError(
            f"{path}: a TIFF packed in way {int(packing)} is not read; save it uncompressed or as LZW"
        )
    if kind not in (1, 4) or bits not in (1, 2, 4, 8, 16):
        names = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        what = (
            f"samples of {bits} bits" if kind in (1, 4) else f"{names.get(kind, 'unknown')} numbers"
        )
        raise ImageError(f"{path}: a TIFF of {what} has no defined colours; save it as 8-bit RGB")
    if photometric == _YCBCR and packing != _JPEG and page.is_subsampled:
        raise ImageError(
            f"{path}: YCbCr with fewer colours than pixels is read as JPEG only; save it as 8-bit RGB"
        )
    if photometric not in _COLOURS:
        name = getattr(photometric, "name", photometric)
        raise ImageError(
            f"{path}: a TIFF with colours of the kind {name} is not read; save it as 8-bit RGB"
        )
    if page.samplesperpixel < (colours := _COLOURS[photometric]):
        raise files.damaged(
            path, f"{page.samplesperpixel} samples a pixel, where {colours} colours belong"
        )
    if page.imagewidth * page.imagelength * page.samplesperpixel * bits > 8 * limits.PICTURE_BYTES:
        raise ImageError(
            f"{path}: {page.samplesperpixel} samples a pixel are too large; save it as 8-bit RGB"
        )
    if bits == 16 and (packing == _JPEG or photometric not in (_WHITE_IS_ZERO, 1, _RGB)):
        raise ImageError(
            f"{path}: this kind of 16-bit image cannot be decoded; save it as 8-bit RGB"
        )
    _check_parts(path, page)


def _check_parts(path: Path, page: Any) -> None:
    """Check the number and the sizes of the strips or tiles."""
    across, down = (
        (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    )
    if not 0 < across * min(down, max(page.imagelength, page.tilelength)) <= limits.PIXELS:
        raise files.damaged(path, f"its tiles have {across}x{down} pixels")
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    parts = _parts(page)
    if len(parts) < expected or not all(map(all, parts)):
        raise files.damaged(path, f"{len(parts):,} parts, where {expected:,} belong")
    if sum(count for _, count in parts) > limits.PICTURE_BYTES:
        raise files.damaged(path, f"more than {limits.PICTURE_BYTES:,} bytes of pixels")


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
    """Decode a page of a file."""
    with _opened(path) as file:
        return _pixels(path, file, file.pages.get(number))


def _pixels(path: Path, file: Any, page: Any) -> Samples:
    """Decode a page after checking that all its strips or tiles are complete."""
    end = file.filehandle.size
    if any(
        offset + count > end for offset, count in _parts(page)
    ):  # before memory is allocated for them
        raise files.truncated(path, "pixels are behind its end")
    if page.compression == _JPEG:
        tables = page.jpegtables or b"\xff\xd8\xff\xd9"
        for data, _ in page.parent.filehandle.read_segments(
            page.dataoffsets, page.databytecounts, sort=False
        ):
            check_jpeg(path, tables[:-2] + data[2:])  # libjpeg silently fills missing pixels
    values = page.asarray(maxworkers=1)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    return _colours(np.atleast_3d(values), page)


def _colours(values: npt.NDArray[Any], page: Any) -> Samples:
    """Convert samples to grey or RGB of 8 or 16 bits; an alpha channel, if any, is last."""
    from PIL import Image

    photometric, bits = page.photometric, page.bitspersample
    number = _COLOURS[photometric]
    extra = [int(kind) for kind in page.extrasamples] or [2] * (values.shape[2] == number + 1)
    alpha = next((index for index, kind in enumerate(extra) if kind in (1, 2)), None)
    if number == 1 and alpha is None:  # channels of a grey page
        number = values.shape[2]
    values, clear = (
        values[..., :number],
        values[..., number:] if alpha is None else values[..., number + alpha, None],
    )
    if photometric == _PALETTE:
        table = np.reshape(page.tags.valueof(_COLOUR_MAP), (3, -1))
        # some programs write values of 8 bits; libtiff takes a table for such if no value is above 255
        values = (
            (table if table.max() < 256 else table >> 8)
            .astype(np.uint8)
            .T[values[..., 0].astype(np.uint8)]
        )
    elif bits < 8:
        values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if photometric == _WHITE_IS_ZERO:
        values = np.iinfo(values.dtype).max - values
    if photometric == _CMYK or (photometric == _YCBCR and page.compression != _JPEG):
        image = Image.fromarray(
            np.ascontiguousarray(values), "CMYK" if photometric == _CMYK else "YCbCr"
        )
        values = np.array(image.convert("RGB"))
    if alpha is None:
        return Samples(values)
    if bits < 8:
        clear = clear.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    return Samples(
        np.concatenate([values, clear], axis=2),
        "associated" if extra[alpha] == 1 else "unassociated",
    )
