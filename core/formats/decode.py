"""Decoding of TIFF, PNG, JPEG, BMP, WebP, DICOM and lossless JPEG into uint8 RGB, with checks of damaged or huge files.

Rules for the kinds of files:

- Grey becomes three equal channels, inverted if 0 is white. Palettes are looked up; a colour map of a TIFF without a
  value above 255 is of 8 bits. Bilevel images become black and white.
- 16-bit values are divided by 257 and rounded, so that full scale stays full scale.
- Three grey channels of a TIFF that are one image in bright field become RGB, in the order of their names or colours:
  channels of OME or ImageJ, or samples without colours. Fluorescence, other numbers of channels, three grey pages,
  z-stacks and time series are refused.
- Alpha and transparent colours are composited over white, the colour of empty glass. An alpha channel that is 0
  everywhere is ignored. Further TIFF samples without a defined meaning are ignored.
- Pillow converts CMYK and YCbCr to RGB. Colour profiles are not applied.
- An EXIF orientation is applied; that of a PNG only if it precedes the pixels.
- Of several pages, the first one that is not marked as a thumbnail is read, and of an animation the first frame. Data
  after the end of a PNG or JPEG are ignored.
- DICOM is decoded by the rules of `dicom`. Lossless JPEG and converted mammograms are stretched to their range of grey
  levels.
- Signed, 32-bit integer, floating-point and Lab files, arithmetic-coded JPEG and whole slides are refused.

What a person must know of a file (channels read as RGB, ignored alpha or pages, a colour profile) is a remark in its
header. The numbers of pixels, scans, pages and bytes are checked before anything is decoded. Images with missing pixels
are refused.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ImageError, PathInput, converted
from . import files
from .dicom import DICOM_SUFFIXES, read_dicom
from .files import BROKEN, SLIDE, SLIDE_SUFFIXES, Container, ImageHeader, Remark, Samples
from .pictures import JPEG_BEGIN, LJPEG_SUFFIX, PNG_BEGIN, read_jpeg, read_ljpeg, read_picture
from .tiff import TIFF_BEGINS, read_tiff

_TRANSPOSED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height (TIFF 6.0, tag 274)."""

_MIRRORED = (frozenset({3, 4, 7, 8}), frozenset({2, 3, 6, 7}))
"""EXIF orientations whose rows, and whose columns, must be reversed (after the swap of width and height)."""

_BLOCK = 2**22
"""Number of samples that are converted from 16 to 8 bits at once, which bounds the additional memory."""

_READERS = (
    *((0, begin, read_tiff) for begin in TIFF_BEGINS),
    (0, PNG_BEGIN, read_picture),
    (0, JPEG_BEGIN, read_jpeg),
    (0, b"BM", read_picture),
    (8, b"WEBP", read_picture),
)
"""Place and value of the first bytes of a kind of files, and its reader; the suffix of a name does not matter."""

_CLEAR: Remark = ("note", "its alpha channel is 0 everywhere, so that it is ignored")

_BEGIN_BYTES = 512
"""Number of bytes that show the kind of a file."""


def _open(path: Path) -> Container:
    """Read the header of a file with the reader of its kind."""
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    suffix = path.suffix.casefold()
    if suffix in SLIDE_SUFFIXES:
        raise ImageError(f"{path}: {SLIDE}")
    if not path.stat().st_size:
        raise ImageError(f"{path}: this file is empty; download it again")
    try:
        with path.open("rb") as handle:
            begin = handle.read(_BEGIN_BYTES)
            read = next(
                (read for start, known, read in _READERS if begin.startswith(known, start)), None
            )
            # a file may be DICOM and TIFF in one
            if begin[128:132] == b"DICM" and (read is None or suffix in DICOM_SUFFIXES):
                read = read_dicom
            if suffix == LJPEG_SUFFIX:  # known only by its name
                read = read_ljpeg
            container = None if read is None else read(path, handle)
    except ImageError:
        raise
    except BROKEN as error:
        raise files.damaged(path, _line(error)) from error
    if container is None:
        wanted = "a DICOM image" if suffix in DICOM_SUFFIXES else "a TIFF, PNG or JPEG image"
        raise ImageError(
            files.mistaken(path, wanted)
            or f"{path}: not {wanted}; remove it or replace it by the image"
        )
    files.check_size(path, container.header)
    return container


def read_header(path: PathInput) -> ImageHeader:
    """Read the header of an image file. Pixels are decoded only if there is an alpha channel, which may be empty.

    Raises
    ------
    ImageError
        Missing, not an image, a broken header, or more than `limits.PIXELS`.
    """
    path = converted(path, "path", Path)
    container = _open(path)
    header = container.header
    if header.mode.endswith("A"):
        with contextlib.suppress(ImageError):  # of pixels: raised if they are decoded
            if _samples(path, container)[1]:
                header = replace(header, remarks=(*header.remarks, _CLEAR))
    if header.orientation not in _TRANSPOSED:
        return header
    return replace(header, width=header.height, height=header.width)


def as_stored(x: float, y: float, *, header: ImageHeader) -> tuple[float, float]:
    """Return a position, in pixels from the left and the top, as the file stores the image, without its orientation."""
    rows, columns = (header.orientation in mirrored for mirrored in _MIRRORED)
    across, down = header.width - x if columns else x, header.height - y if rows else y
    return (down, across) if header.orientation in _TRANSPOSED else (across, down)


def _line(error: Exception) -> str:
    """Return the first line of the message of an error from another package, or its class if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def decode_image(path: PathInput, *, stretch_deep: bool = False) -> npt.NDArray[np.uint8]:
    """Decode an image file to RGB by the rules of this module.

    Parameters
    ----------
    path : Path
        A TIFF, PNG, JPEG, BMP, WebP, DICOM or lossless JPEG file.
    stretch_deep : bool
        Map the range of values in a 16-bit grey TIFF or PNG to 0 to 255, instead of dividing by 257. Converted
        mammograms use only 12 of their 16 bits.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        The file is truncated, damaged or not an image, is too large, or is of a kind that is refused.
    """
    path = converted(path, "path", Path)
    container = _open(path)
    samples, _ = _samples(path, container)
    values = samples.values
    if stretch_deep and container.header.deep and values.shape[2] == 1:
        values = files.stretch_to_eight_bits(values)
    image = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    if values.dtype != np.uint8 or samples.alpha:  # some rows at a time
        image = np.empty((*values.shape[:2], 3), np.uint8)
        rows = max(1, _BLOCK // (values.shape[1] * 4))
        for start in range(0, len(values), rows):
            image[start : start + rows] = _to_eight(values[start : start + rows], samples.alpha)
    orientation = container.header.orientation
    if orientation in _TRANSPOSED:
        image = image.swapaxes(0, 1)
    rows, columns = (-1 if orientation in mirrored else 1 for mirrored in _MIRRORED)
    return np.ascontiguousarray(image[::rows, ::columns])


def _samples(path: Path, container: Container) -> tuple[Samples, bool]:
    """Decode the samples of an image, and check that they match its header.

    An alpha channel that is 0 everywhere, as programs write that pad pixels to 32 bits, is left out; the second value
    says so.
    """
    try:
        samples = container.decode()
    except ImageError:
        raise
    except BROKEN as error:
        raise files.truncated(path, _line(error)) from error
    height, width, channels = samples.values.shape
    if (height, width) != (container.header.height, container.header.width):
        raise files.truncated(path, f"its pixels are {width}x{height}")
    if samples.values.dtype != (np.uint16 if container.header.deep else np.uint8) or channels > 4:
        raise files.truncated(path, f"its pixels are {channels} samples of {samples.values.dtype}")
    is_clear = bool(samples.alpha) and not samples.values[..., -1].any()
    return Samples(samples.values[..., :-1]) if is_clear else samples, is_clear


def largest_sample(path: Path) -> int:
    """Return the largest sample value in a 16-bit TIFF or PNG.

    Raises
    ------
    ImageError
        The file cannot be decoded.
    """
    samples, _ = _samples(path, _open(path))
    return int(samples.values[..., : -1 if samples.alpha else None].max())


def _to_eight(values: npt.NDArray[Any], alpha: str) -> npt.NDArray[Any]:
    """Convert samples to 8 bits, and composite alpha over white."""
    scaled = values.astype(np.float32) / np.float32(1 if values.dtype == np.uint8 else 257)
    if alpha:
        share = scaled[..., -1:] / 255.0
        colours = scaled[..., :-1] if alpha == "associated" else scaled[..., :-1] * share
        scaled = np.minimum(colours + 255.0 * (1.0 - share), 255.0)
    return np.asarray(np.rint(scaled))
