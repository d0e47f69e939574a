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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import ImageError, PathInput, RefusedImageError, converted, first_line
from . import files
from .dicom import DICOM_SUFFIXES, read_dicom
from .files import BROKEN, SLIDE, SLIDE_SUFFIXES, Container, ImageHeader, Pixels, Remark, Samples
from .pictures import JPEG_BEGIN, LJPEG_SUFFIX, PNG_BEGIN, read_jpeg, read_ljpeg, read_picture
from .tiff import TIFF_BEGINS, read_tiff

_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height (TIFF 6.0, tag 274)."""

_UPSIDE_DOWN = (3, 4, 7, 8)
"""EXIF orientations whose rows must be reversed (after the swap of width and height)."""

_MIRRORED = (2, 3, 6, 7)
"""EXIF orientations whose columns must be reversed."""

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

_PICTURES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_DEEP_PICTURES = ("I;16", "I;16B")
"""Kinds of Pillow's pictures that are read, of 8 and of 16 bits."""

_BEGIN_BYTES = 512
"""Number of bytes that show the kind of a file."""


def _open(path: Path) -> Container:
    """Read the header of a file with the reader of its kind."""
    if path.is_symlink() and not path.exists():
        raise ImageError(f"{path}: a link that leads nowhere; correct or remove it")
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    suffix = path.suffix.casefold()
    if suffix in SLIDE_SUFFIXES:
        raise ImageError(f"{path}: {SLIDE}")
    if not path.stat().st_size:
        raise ImageError(f"{path}: this file is empty; download it again")
    container = None
    try:
        with path.open("rb") as handle:
            reader = _reader(handle.read(_BEGIN_BYTES), suffix)
            if reader is not None:
                handle.seek(0)
                container = reader(path, handle)
    except ImageError:
        raise
    except BROKEN as error:
        raise files.damaged(path, first_line(error)) from error
    if container is None:
        kind = "a DICOM image" if suffix in DICOM_SUFFIXES else "a TIFF, PNG or JPEG image"
        raise ImageError(
            files.mistaken(path, kind)
            or f"{path}: not {kind}; remove it or replace it by the image"
        )
    files.check_size(path, container.header)
    return container


def _reader(begin: bytes, suffix: str) -> Callable[[Path, BinaryIO], Container] | None:
    """Return the reader of a file with these first bytes; None if it is not an image."""
    if suffix == LJPEG_SUFFIX:  # known only by its name
        return read_ljpeg
    is_dicom = begin[128:132] == b"DICM"
    if is_dicom and suffix in DICOM_SUFFIXES:  # it may be TIFF, too
        return read_dicom
    for start, signature, reader in _READERS:
        if begin.startswith(signature, start):
            return reader
    return read_dicom if is_dicom else None


def read_header(path: PathInput) -> ImageHeader:
    """Read the header of an image file. Pixels are decoded only if there is an alpha channel, which may be empty.

    Raises
    ------
    ImageError
        The file is missing or not an image, its header is broken, or it has more than `limits.PIXELS` pixels.
    """
    path = converted(path, "path", Path)
    container = _open(path)
    header = container.header
    if header.mode.endswith("A"):
        with contextlib.suppress(ImageError):  # damaged pixels are refused only if they are needed
            _, is_clear = _samples(path, container)
            if is_clear:
                header = replace(header, remarks=(*header.remarks, _CLEAR))
    if header.orientation not in _TRANSPOSED:
        return header
    return replace(header, width=header.height, height=header.width)


def as_stored(x: float, y: float, *, header: ImageHeader) -> tuple[float, float]:
    """Return a position, in pixels from the left and the top, as the file stores the image, without its orientation."""
    if header.orientation in _MIRRORED:
        x = header.width - x
    if header.orientation in _UPSIDE_DOWN:
        y = header.height - y
    if header.orientation in _TRANSPOSED:
        return y, x
    return x, y


def decode_image(path: PathInput, *, stretch_deep: bool = False) -> Pixels:
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
    if stretch_deep and container.header.deep and samples.values.shape[2] == 1:
        samples = samples._replace(values=files.stretch_to_eight_bits(samples.values))
    image = _rgb(samples)
    orientation = container.header.orientation
    if orientation in _TRANSPOSED:
        image = image.swapaxes(0, 1)
    if orientation in _UPSIDE_DOWN:
        image = image[::-1]
    if orientation in _MIRRORED:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def decode_given(image: Any, name: str) -> tuple[ImageHeader, Pixels]:
    """Return header and pixels of an array, or of a picture of Pillow, which is converted as files are.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3), or PIL.Image.Image
    name : str
        For messages.

    Raises
    ------
    RefusedImageError
        The array is not an RGB image, or the picture is damaged, closed, or of a kind that is refused.
    ImageError
        It has more than `limits.PIXELS` pixels, or none.
    """
    from PIL import Image, ImageOps

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.shape[2:] != (3,) or not image.size:
            text = "{}: an array of {} and shape {}; give uint8 of shape (height, width, 3), RGB"
            raise RefusedImageError(text, name, image.dtype, image.shape)
        image = Image.fromarray(np.ascontiguousarray(image))
    is_deep = image.mode in _DEEP_PICTURES
    header = ImageHeader("picture", image.width, image.height, image.mode, 1, deep=is_deep)
    files.check_size(Path(name), header)
    try:
        image = ImageOps.exif_transpose(image)  # pixels of a picture are first read here
    except BROKEN as error:
        raise RefusedImageError("{}: damaged or closed: {}", name, first_line(error)) from error
    if is_deep:
        samples = Samples(np.atleast_3d(np.asarray(image)).astype(np.uint16))
    elif image.mode not in _PICTURES:
        text = "{}: a picture of kind {} is not read; convert it to RGB"
        raise RefusedImageError(text, name, image.mode)
    elif image.has_transparency_data:
        samples, _ = _without_clear(Samples(np.array(image.convert("RGBA")), "unassociated"))
    else:
        samples = Samples(np.array(image.convert("RGB")))
    return replace(header, width=image.width, height=image.height), _rgb(samples)


def _rgb(samples: Samples) -> Pixels:
    """Convert samples to RGB of 8 bits."""
    values = samples.values
    if values.dtype != np.uint8 or samples.alpha:
        image = np.empty((*values.shape[:2], 3), np.uint8)
        rows = max(1, _BLOCK // (values.shape[1] * 4))
        full_scale = np.float32(1 if values.dtype == np.uint8 else 257)
        for start in range(0, len(values), rows):
            # alpha is composited over white
            scaled = values[start : start + rows].astype(np.float32) / full_scale
            if samples.alpha:
                share = scaled[..., -1:] / 255.0
                colours = scaled[..., :-1]
                if samples.alpha == "unassociated":
                    colours = colours * share
                scaled = np.minimum(colours + 255.0 * (1.0 - share), 255.0)
            image[start : start + rows] = np.rint(scaled)
        return image
    if values.shape[2] == 1:
        return np.repeat(values, 3, axis=2)
    return values


def _without_clear(samples: Samples) -> tuple[Samples, bool]:
    """Leave out an alpha channel that is 0 everywhere, which only pads pixels to 32 bits; return whether there was."""
    if samples.alpha and not samples.values[..., -1].any():
        return Samples(samples.values[..., :-1]), True
    return samples, False


def _samples(path: Path, container: Container) -> tuple[Samples, bool]:
    """Decode the samples of an image, see `_without_clear`, and check that they match its header."""
    try:
        samples = container.decode()
    except ImageError:
        raise
    except BROKEN as error:
        raise files.truncated(path, first_line(error)) from error
    values = samples.values
    height, width, channels = values.shape
    if (height, width) != (container.header.height, container.header.width):
        raise files.truncated(path, f"its pixels are {width}x{height}")
    dtype = np.uint16 if container.header.deep else np.uint8
    if values.dtype != dtype or channels > 4:
        raise files.truncated(path, f"its pixels are {channels} samples of {values.dtype}")
    return _without_clear(samples)


def largest_sample(path: Path) -> int:
    """Return the largest sample value in a 16-bit TIFF or PNG.

    Raises
    ------
    ImageError
        The file cannot be decoded.
    """
    samples, _ = _samples(path, _open(path))
    values = samples.values
    if samples.alpha:
        values = values[..., :-1]
    return int(values.max())
