"""Decoding of TIFF, PNG, JPEG, DICOM and lossless JPEG into uint8 RGB, with guards.

One stated rule per kind of file:

- grey becomes three equal channels, inverted where 0 is white; a palette is looked up; bilevel is black and white;
- 16-bit values are divided by 257 and rounded (full scale stays full scale);
- alpha and a transparent colour are composited over white, the colour of empty glass; a fourth sample that a TIFF says
  nothing of is passed over;
- CMYK and YCbCr are converted to RGB by Pillow without a colour profile;
- an EXIF orientation is applied, or that of XMP where there is none;
- of a file with several pages the first is read, and nothing that follows the end of a PNG or JPEG;
- DICOM by the rules of `dicom`, lossless JPEG and converted mammograms stretched to their range of grey levels;
- signed, 32-bit integer, floating-point and Lab files are refused.

The numbers of pixels, scans, pages and bytes are checked before anything is decoded, and every pixel must be there.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import PathInput, as_path
from ...errors import ImageError
from ..dataset import ImageRecord
from .container import BROKEN, MAX_PIXELS, Container, damaged, truncated
from .dicom import DICOM_SUFFIXES, decode_dicom, read_dicom_header, stretch_to_eight_bits
from .jpeg import JPEG_BEGIN, check_jpeg, read_jpeg
from .ljpeg import LJPEG_SUFFIX, decode_ljpeg, read_ljpeg_header
from .png import PNG_BEGIN, read_png
from .tiff import TIFF_BEGINS, read_tiff

_TRANSPOSED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_BLOCK = 2**22
"""Samples that are brought from 16 to 8 bits at once (ours): memory beside that of the picture."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says.

    Attributes
    ----------
    format : str
        ``TIFF``, ``PNG``, ``JPEG``, ``DICOM`` or ``LJPEG``.
    width, height : int
        Pixels, after the EXIF rotation.
    mode : str
        Pillow's mode; bits and photometric interpretation of DICOM and lossless JPEG.
    pages : int
        Number of pages.
    """

    format: str
    width: int
    height: int
    mode: str
    pages: int


def _open(path: Path) -> Container:
    """Read the header of a file by what it begins with, whatever its name says."""
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    try:
        with path.open("rb") as handle:
            begin = handle.read(8)
            if begin.startswith(TIFF_BEGINS):
                found = read_tiff(path, handle)
            elif begin == PNG_BEGIN:
                found = read_png(path, handle)
            elif begin.startswith(JPEG_BEGIN):
                found = read_jpeg(path, handle)
            else:
                found = None
    except ImageError:
        raise
    except BROKEN as error:
        raise damaged(path, _line(error)) from error
    if found is None:
        raise ImageError(f"{path}: not a TIFF, PNG or JPEG image; remove it or replace it by the image")
    if found.width < 1 or found.height < 1:
        raise damaged(path, f"it says {found.width}x{found.height} pixels")
    if found.width * found.height > MAX_PIXELS:
        raise _too_large(path, found.width, found.height)
    return found


def _too_large(path: Path, width: int, height: int) -> ImageError:
    return ImageError(
        f"{path}: {width}x{height} is over the limit of {MAX_PIXELS:,} pixels; cut it into smaller images"
    )


def read_header(path: PathInput) -> ImageHeader:
    """Read the header of an image file without decoding it.

    Raises
    ------
    ImageError
        Missing, not an image, a broken header, or more than `MAX_PIXELS`.
    """
    path = as_path(path, "path")
    if path.suffix.casefold() in (*DICOM_SUFFIXES, LJPEG_SUFFIX):
        return _mammogram_header(path)
    found = _open(path)
    with _pillow(path, found.file(False), found) as image:
        turned = found.orientation in _TRANSPOSED
        width, height = (found.height, found.width) if turned else (found.width, found.height)
        return ImageHeader(found.format, width, height, image.mode, found.pages)


def _pillow(path: Path, data: bytes, found: Container) -> Any:
    """Open a clean file by Pillow, which must find the size that we did."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=(found.format,))
    except (Image.DecompressionBombError, *BROKEN) as error:
        raise damaged(path, _line(error)) from error
    if image.size != (found.width, found.height):
        raise damaged(path, f"it says {found.width}x{found.height} and {image.width}x{image.height} pixels")
    return image


def _line(error: Exception) -> str:
    """Return the first line of an error that other packages raised; their class where they say nothing."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "of a kind that is not read"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _mammogram_header(path: Path) -> ImageHeader:
    if path.suffix.casefold() == LJPEG_SUFFIX:
        lossless = read_ljpeg_header(path)
        header = ImageHeader("LJPEG", lossless.width, lossless.height, f"{lossless.bits} bits", 1)
    else:
        found = read_dicom_header(path)
        header = ImageHeader("DICOM", found.width, found.height, f"{found.photometric}, {found.bits} bits", 1)
    if header.width * header.height > MAX_PIXELS:
        raise _too_large(path, header.width, header.height)
    return header


def decode_record(record: ImageRecord) -> npt.NDArray[np.uint8]:
    """Decode the image of a record: its file, or the part of it in the record's box.

    Raises
    ------
    ImageError
        As `decode_image`; a box that leaves the file.
    """
    image, (left, top, right, bottom) = decode_whole(record)
    return np.ascontiguousarray(image[top:bottom, left:right])


def decode_whole(record: ImageRecord) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """Decode the file of a record, and say which part of it is the image: left, top, right, bottom.

    Raises
    ------
    ImageError
        See `decode_record`.
    """
    image = decode_image(record.path, stretch_deep=record.stretch)
    height, width = image.shape[:2]
    left, top, right, bottom = record.box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ImageError(f"{record.path}: {record.image_id} lies outside its {width}x{height} pixels; copy it again")
    return image, (left, top, right, bottom)


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
    if path.suffix.casefold() in (*DICOM_SUFFIXES, LJPEG_SUFFIX):
        _mammogram_header(path)  # bounds before pixels
        dicom = path.suffix.casefold() != LJPEG_SUFFIX
        return _grey(decode_dicom(path) if dicom else stretch_to_eight_bits(decode_ljpeg(path)))
    found = _open(path)
    try:
        image = _decode_deep(path, found, stretch=stretch_deep) if found.deep else _decode_eight(path, found)
    except ImageError:
        raise
    except BROKEN as error:
        raise truncated(path, _line(error)) from error
    if image.shape != (found.height, found.width, 3):
        raise truncated(path, f"its pixels are {image.shape[1]}x{image.shape[0]}")
    return np.ascontiguousarray(_TURNS[found.orientation](image))


_TURNS: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""How the stored pixels are turned for each EXIF orientation (TIFF 6.0, tag 274)."""


def _decode_eight(path: Path, found: Container) -> npt.NDArray[np.uint8]:
    for part in found.strips() if found.strips is not None else ():
        check_jpeg(path, part)  # libtiff fills missing pixels up, as libjpeg does
    with _pillow(path, found.file(True), found) as image:
        image.load()
        pixels = _to_rgb(path, image)
    if found.surplus is not None:
        with _pillow(path, found.surplus(), found) as image:
            if not np.array_equal(_to_rgb(path, image), pixels):
                raise truncated(path, "pixels are missing")
    if found.check is not None:
        found.check(pixels)
    if found.clear is not None:
        pixels[(pixels == np.array(found.clear, np.uint8)).all(axis=2)] = 255
    return pixels


def _to_rgb(path: Path, image: Any) -> npt.NDArray[np.uint8]:
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "F", "LAB", "HSV"):
        raise ImageError(f"{path}: images of mode {image.mode} have no defined colours here; save it as 8-bit RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(image[:, :, np.newaxis], 3, axis=2)


def _decode_deep(path: Path, found: Container, *, stretch: bool) -> npt.NDArray[np.uint8]:
    """Bring 16 bits to 8, some rows at a time; Pillow alone would drop the low byte of colours."""
    if found.planes > 1 and found.plane is not None:
        grey = [_samples(path, found, found.plane(number)) for number in range(found.planes)]
        raw = np.stack([grey[number] for number in (2, 1, 0, 3)[: found.planes]], axis=2)  # as OpenCV has them
    else:
        raw = _samples(path, found, found.file(True))
    if found.check is not None:
        found.check(None)
    if found.inverted:
        raw = np.uint16(65535) - raw
    if stretch and raw.ndim == 2 and found.clear is None:
        return _grey(stretch_to_eight_bits(raw))
    image = np.empty((*raw.shape[:2], 3), np.uint8)
    rows = max(1, _BLOCK // (raw.shape[1] * 4))
    for start in range(0, len(raw), rows):
        image[start : start + rows] = _to_eight(raw[start : start + rows], found)
    return image


def _samples(path: Path, found: Container, data: bytes) -> npt.NDArray[np.uint16]:
    """Decode samples of 16 bits: grey, or blue, green and red."""
    import cv2

    with _pillow(path, data, found) as image:
        image.load()  # Pillow refuses a truncated file, which OpenCV would fill up with black
    raw = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16:
        raise ImageError(f"{path}: this kind of 16-bit image cannot be decoded; save it as 8-bit RGB")
    return np.asarray(raw)


def _to_eight(raw: npt.NDArray[np.uint16], found: Container) -> npt.NDArray[Any]:
    values = raw.astype(np.float32) / 257.0
    if values.ndim == 2:
        values = np.repeat(values[:, :, np.newaxis], 3, axis=2)
    elif values.shape[2] == 4:
        alpha = values[:, :, 3:] / 255.0
        if found.alpha == "":
            alpha = np.ones_like(alpha)
        colours = values[:, :, 2::-1] if found.alpha == "associated" else values[:, :, 2::-1] * alpha
        values = np.minimum(colours + 255.0 * (1.0 - alpha), 255.0)
    else:
        values = values[:, :, ::-1]
    if found.clear is not None:
        clear = np.array(found.clear[::-1], np.uint16)
        same = (raw == clear) if raw.ndim == 2 else (raw == clear).all(axis=2)
        values = np.where(same[:, :, np.newaxis], np.float32(255.0), values)
    return np.asarray(np.rint(values))


def resize_image(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """Resize an image by cubic interpolation.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    scale : float
        Factor of both sides; the new sides are rounded. 1 returns the image itself.

    Returns
    -------
    ndarray of uint8, shape (round(scale height), round(scale width), 3)

    References
    ----------
    Rakhlin et al. 2018, sec. 2.3 (scale 0.5), cubic as in the published code.
    """
    if scale == 1.0:
        return image
    import cv2

    height, width = image.shape[:2]
    size = (scaled_side(width, scale), scaled_side(height, scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def scaled_side(pixels: int, scale: float) -> int:
    """Return the length of a side after `resize_image`, pixels."""
    return max(1, round(pixels * scale))
