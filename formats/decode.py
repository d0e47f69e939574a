"""Decoding of TIFF, PNG, JPEG, DICOM and lossless JPEG into uint8 RGB, with guards.

One stated rule per kind of file:

- grey becomes three equal channels, inverted where 0 is white; a palette is looked up; bilevel is black and white;
- 16-bit values are divided by 257 and rounded (full scale stays full scale);
- alpha and a transparent colour are composited over white, the colour of empty glass; a fourth sample that a TIFF says
  nothing of is passed over;
- CMYK and YCbCr are converted to RGB by Pillow without a colour profile;
- an EXIF orientation is applied, or that of XMP where there is none;
- of a file with several pages the first is read that is not called a thumbnail, and nothing that follows the end of a
  PNG or JPEG;
- DICOM by the rules of `dicom`, lossless JPEG and converted mammograms stretched to their range of grey levels;
- signed, 32-bit integer, floating-point and Lab files, arithmetic-coded JPEG and whole slides are refused.

The numbers of pixels, scans, pages and bytes are checked before anything is decoded, and every pixel must be there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import ImageError, PathInput, as_path
from .container import BROKEN, Container, ImageHeader, Samples, check_size, damaged, stretch_to_eight_bits, truncated
from .dicom import DICOM_SUFFIXES, decode_dicom, read_dicom_header
from .jpeg import JPEG_BEGIN, read_jpeg
from .ljpeg import LJPEG_SUFFIX, decode_ljpeg, read_ljpeg_header
from .png import PNG_BEGIN, read_png
from .slides import SLIDE, is_slide
from .tiff import TIFF_BEGINS, read_tiff

_TRANSPOSED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height (TIFF 6.0, tag 274)."""

_MIRRORED = (frozenset({3, 4, 7, 8}), frozenset({2, 3, 6, 7}))
"""Those whose rows, and whose columns, then run the other way."""

_BLOCK = 2**22
"""Samples that are brought from 16 to 8 bits at once: memory beside that of the picture."""

_READERS = {**dict.fromkeys(TIFF_BEGINS, read_tiff), PNG_BEGIN: read_png, JPEG_BEGIN: read_jpeg}
"""How a file is read by what it begins with, whatever its name says."""

_BY_SUFFIX = {
    **dict.fromkeys(DICOM_SUFFIXES, (read_dicom_header, decode_dicom)),
    LJPEG_SUFFIX: (read_ljpeg_header, decode_ljpeg),
}
"""How header and grey levels are read by the suffix of the name."""


def _refuse_unread(path: Path) -> None:
    """Refuse what is seen before a file is opened: that it is not there, is empty, or is a whole slide."""
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    if is_slide(path):
        raise ImageError(f"{path}: {SLIDE}")
    if not path.stat().st_size:
        raise ImageError(f"{path}: this file is empty; download it again")


def _open(path: Path) -> Container:
    try:
        with path.open("rb") as handle:
            begin = handle.read(8)
            read = next((read for known, read in _READERS.items() if begin.startswith(known)), None)
            container = None if read is None else read(path, handle)
    except ImageError:
        raise
    except BROKEN as error:
        raise damaged(path, _line(error)) from error
    if container is None:
        raise ImageError(f"{path}: not a TIFF, PNG or JPEG image; remove it or replace it by the image")
    check_size(path, container.header)
    return container


def read_header(path: PathInput) -> ImageHeader:
    """Read the header of an image file without decoding it.

    Raises
    ------
    ImageError
        Missing, not an image, a broken header, or more than `limits.PIXELS`.
    """
    path = as_path(path, "path")
    _refuse_unread(path)
    if path.suffix.casefold() in _BY_SUFFIX:
        header = _BY_SUFFIX[path.suffix.casefold()][0](path)
        check_size(path, header)
        return header
    container = _open(path)
    if container.orientation not in _TRANSPOSED:
        return container.header
    return replace(container.header, width=container.header.height, height=container.header.width)


def _line(error: Exception) -> str:
    """Return the first line of an error that other packages raised; their class where they say nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def decode_image(path: PathInput, *, stretch_deep: bool = False) -> npt.NDArray[np.uint8]:
    """Decode an image file to RGB by the rules of this module.

    Parameters
    ----------
    path : Path
        A TIFF, PNG, JPEG, DICOM or lossless JPEG file.
    stretch_deep : bool
        Map the range of values in a 16-bit grey TIFF or PNG to 0 to 255, instead of dividing by 257: converted
        mammograms use 12 of their 16 bits.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    ImageError
        The file cannot be decoded whole (truncated, foreign, damaged), is too large, or is of a refused kind.
    """
    path = as_path(path, "path")
    _refuse_unread(path)
    if path.suffix.casefold() in _BY_SUFFIX:
        read_header(path)  # bounds before pixels
        return _grey(_BY_SUFFIX[path.suffix.casefold()][1](path))
    container = _open(path)
    samples = _samples(path, container)
    if stretch_deep and container.header.deep and samples.values.shape[2] == 1:
        image = _grey(stretch_to_eight_bits(samples.values[..., 0]))
    else:
        image = _to_rgb(samples)
    if container.orientation in _TRANSPOSED:
        image = image.swapaxes(0, 1)
    rows, columns = (-1 if container.orientation in mirrored else 1 for mirrored in _MIRRORED)
    return np.ascontiguousarray(image[::rows, ::columns])


def _samples(path: Path, container: Container) -> Samples:
    """Decode the samples of a picture, and hold them against its header."""
    try:
        samples = container.decode()
    except ImageError:
        raise
    except BROKEN as error:
        raise truncated(path, _line(error)) from error
    height, width, channels = samples.values.shape
    if (height, width) != (container.header.height, container.header.width):
        raise truncated(path, f"its pixels are {width}x{height}")
    if samples.values.dtype != (np.uint16 if container.header.deep else np.uint8) or channels > 4:
        raise truncated(path, f"its pixels are {channels} samples of {samples.values.dtype}")
    return samples


def largest_sample(path: Path) -> int:
    """Return the largest value that a TIFF or PNG of 16 bits stores.

    Raises
    ------
    ImageError
        It cannot be decoded.
    """
    return int(_samples(path, _open(path)).values.max())


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(image[:, :, np.newaxis], 3, axis=2)


def _to_rgb(samples: Samples) -> npt.NDArray[np.uint8]:
    """Bring 16 bits to 8, some rows at a time, grey to three channels, and alpha over white."""
    values = samples.values
    if values.dtype == np.uint8 and not samples.alpha:
        return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    image = np.empty((*values.shape[:2], 3), np.uint8)
    rows = max(1, _BLOCK // (values.shape[1] * 4))
    for start in range(0, len(values), rows):
        image[start : start + rows] = _to_eight(values[start : start + rows], samples.alpha)
    return image


def _to_eight(values: npt.NDArray[Any], alpha: str) -> npt.NDArray[Any]:
    scaled = values.astype(np.float32) / np.float32(1 if values.dtype == np.uint8 else 257)
    if alpha:
        share = scaled[..., -1:] / 255.0
        colours = scaled[..., :-1] if alpha == "associated" else scaled[..., :-1] * share
        scaled = np.minimum(colours + 255.0 * (1.0 - share), 255.0)
    return np.asarray(np.rint(scaled))
