"""Decode and resize the image of a record."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core import ImageError
from ...core.formats import decode_image
from ..dataset import ImageRecord


def decode_record(record: ImageRecord) -> npt.NDArray[np.uint8]:
    """Decode the image of a record: its file, or only the part in the box of the record.

    Raises
    ------
    ImageError
        As `decode_image`, or the box exceeds the image of the file.
    """
    image, (left, top, right, bottom) = decode_whole(record)
    return np.ascontiguousarray(image[top:bottom, left:right])


def decode_whole(record: ImageRecord) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """Decode the whole file of a record, and return its pixels and the box of the image: left, top, right, bottom.

    Raises
    ------
    ImageError
        See `decode_record`.
    """
    image = decode_image(record.path, stretch_deep=record.stretch)
    height, width = image.shape[:2]
    left, top, right, bottom = record.box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ImageError(f"{record.path}: {record.image_id} is outside its {width}x{height} pixels; download it again")
    return image, (left, top, right, bottom)


def resize_image(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """Resize an image by cubic interpolation.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    scale : float
        Factor for both sides, which are rounded. With 1, the image itself is returned.

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


def shrink_image(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return an image whose longest side is at most `side` pixels, for display.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
    side : int
        In pixels.
    """
    longest = max(image.shape[:2])
    if longest <= side:
        return np.ascontiguousarray(image)
    import cv2

    height, width = (max(1, round(length * side / longest)) for length in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def scaled_side(pixels: int, scale: float) -> int:
    """Return the length in pixels of a side after `resize_image`."""
    return max(1, round(pixels * scale))
