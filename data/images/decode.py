"""Decoding of TIFF, PNG, JPEG, DICOM and lossless JPEG into uint8 RGB, with guards.

One stated rule per kind of file:

- grey becomes three equal channels; a palette is looked up; bilevel is black and white;
- 16-bit values are divided by 257 and rounded (full scale stays full scale);
- alpha is composited over white, the colour of empty glass;
- CMYK and YCbCr are converted to RGB by Pillow without a colour profile;
- an EXIF orientation is applied;
- of a file with several pages the first is read;
- DICOM by the rules of `dicom`, lossless JPEG and converted mammograms stretched to their range of grey levels;
- 32-bit integer, floating-point and Lab files are refused.

The number of pixels is checked from the header, before anything is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import PathInput, as_path
from ...errors import ImageError
from ..dataset import ImageRecord
from .dicom import DICOM_SUFFIXES, decode_dicom, read_dicom_header, stretch_to_eight_bits
from .ljpeg import LJPEG_SUFFIX, decode_ljpeg, read_ljpeg_header

__all__ = ["MAX_PIXELS", "ImageHeader", "decode_image", "decode_record", "decode_whole", "read_header", "resize_image"]

MAX_PIXELS = 85_000_000
"""Largest image that is decoded, pixels (ours: just below the size of which Pillow itself warns; a BACH image
has 3.1 million)."""

_WARNINGS = (UserWarning, RuntimeWarning)
"""Pillow's warnings of damaged tags and of huge images, where the caller made warnings into errors."""

_FORMATS = ("TIFF", "PNG", "JPEG")
_EXIF_ORIENTATION = 0x0112
_TRANSPOSED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_BITS_PER_SAMPLE = 258


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


def _open(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    try:
        image = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a TIFF, PNG or JPEG image; remove it or replace it by the image") from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        struct.error,
        Image.DecompressionBombError,
        *_WARNINGS,
    ) as error:
        raise ImageError(f"{path}: its header cannot be read ({error})") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _too_large(path, image.width, image.height)
    return image


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
    with _open(path) as image:
        width, height = image.size
        try:
            # Pillow decodes a whole PNG in search of EXIF data that may follow the pixels; there only what stands
            # in front counts.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            pages = getattr(image, "n_frames", 1)
        except (OSError, ValueError, SyntaxError, struct.error, EOFError, *_WARNINGS) as error:
            raise ImageError(f"{path}: its header cannot be read ({error}); copy the file again") from error
        if exif.get(_EXIF_ORIENTATION) in _TRANSPOSED:
            width, height = height, width
        return ImageHeader(image.format, width, height, image.mode, pages)


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
    from PIL import ImageOps

    if path.suffix.casefold() in (*DICOM_SUFFIXES, LJPEG_SUFFIX):
        _mammogram_header(path)  # bounds before pixels
        dicom = path.suffix.casefold() != LJPEG_SUFFIX
        return _grey(decode_dicom(path) if dicom else stretch_to_eight_bits(decode_ljpeg(path)))
    with _open(path) as image:
        try:
            if _is_deep(path, image):
                return _decode_deep(path, image, stretch=stretch_deep)
            image.load()
            orientation = ImageOps.exif_transpose(image)
            return _to_rgb(path, orientation)
        except ImageError:
            raise
        except (OSError, ValueError, SyntaxError, struct.error, EOFError, *_WARNINGS) as error:
            raise ImageError(
                f"{path}: cannot be decoded, the file is truncated or damaged ({error}); copy it again"
            ) from error


def _to_rgb(path: Path, image: Any) -> npt.NDArray[np.uint8]:
    from PIL import Image

    if image.mode in ("I", "F", "LAB", "HSV"):
        raise ImageError(f"{path}: images of mode {image.mode} have no defined colours here; save it as 8-bit RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _is_deep(path: Path, image: Any) -> bool:
    """Whether samples have 16 bits; Pillow alone would drop the low byte of 16-bit colour."""
    if image.mode.startswith("I;16"):
        return True
    if image.format == "PNG":
        with path.open("rb") as handle:
            return handle.read(25)[24:25] == b"\x10"
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) == 16)
    return False


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(image[:, :, np.newaxis], 3, axis=2)


def _decode_deep(path: Path, image: Any, *, stretch: bool) -> npt.NDArray[np.uint8]:
    import cv2

    image.load()  # Pillow refuses a truncated file, which OpenCV would fill up with black
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16:
        raise ImageError(f"{path}: this kind of 16-bit image cannot be decoded; save it as 8-bit RGB")
    if stretch and raw.ndim == 2:
        return _grey(stretch_to_eight_bits(raw))
    values = raw.astype(np.float32) / 257.0
    if values.ndim == 2:
        values = np.repeat(values[:, :, np.newaxis], 3, axis=2)
    elif values.shape[2] == 4:
        alpha = values[:, :, 3:] / 255.0
        values = values[:, :, 2::-1] * alpha + 255.0 * (1.0 - alpha)
    else:
        values = values[:, :, ::-1]
    return np.asarray(np.rint(values), dtype=np.uint8)


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
