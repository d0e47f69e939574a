"""The pixels of an image of a table, and what its header says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core import ImageError
from ...core.formats import (
    ImageHeader,
    Pixels,
    Remark,
    decode_given,
    decode_image,
    largest_sample,
    read_header,
)
from ...core.jobs import in_threads
from ..dataset import Box, ImageRecord
from ..findings import Finding

RgbImage = Pixels
"""The pixels of an image, shape (height, width, 3)."""


def decode_record(record: ImageRecord) -> RgbImage:
    """Return the pixels of a record: those that it holds, or else those of its file, or of its box in the file.

    Raises
    ------
    ImageError
        See `decode_whole`.
    """
    if record.pixels is not None:
        return record.pixels.copy()  # so that the caller's do not change
    image, (left, top, right, bottom) = decode_whole(record)
    return np.ascontiguousarray(image[top:bottom, left:right])


def decode_whole(record: ImageRecord) -> tuple[RgbImage, Box]:
    """Decode the whole file of a record, and return its pixels and the box of the image: left, top, right, bottom.

    Raises
    ------
    ImageError
        As `decode_image`, or the box exceeds the image of the file.
    """
    image = decode_image(record.path, stretch_deep=record.stretch)
    height, width = image.shape[:2]
    left, top, right, bottom = record.box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ImageError(
            f"{record.path}: {record.image_id} is outside its {width}x{height} pixels; download it again"
        )
    return image, (left, top, right, bottom)


def given_record(image: Any, name: str) -> ImageRecord:
    """Return the record of an array, or of a picture of Pillow, that a caller gives; see `decode_given`."""
    header, pixels = decode_given(image, name)
    if header.deep:
        text = _few_bits(int(np.asarray(image).max()))
        remarks: list[Remark] = [("warning", text)] if text else []
        header = replace(header, remarks=tuple(remarks))
    return ImageRecord(name, Path(name), None, source="given", header=header, pixels=pixels)


def resize_image(image: RgbImage, scale: float) -> RgbImage:
    """Resize an image by cubic interpolation.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    scale : float
        Factor for both sides, which are rounded. With 1, the image itself is returned.

    Returns
    -------
    ndarray of uint8, shape (scaled_side(height, scale), scaled_side(width, scale), 3)

    References
    ----------
    Rakhlin et al. 2018, sec. 2.3 (scale 0.5), cubic as in the published code.
    """
    if scale == 1.0:
        return image
    import cv2

    height, width = image.shape[:2]
    size = (scaled_side(width, scale), scaled_side(height, scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def shrink_image(image: RgbImage, side: int) -> RgbImage:
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
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_side(pixels: int, scale: float) -> int:
    """Return the length in pixels of a side after `resize_image`."""
    return max(1, round(pixels * scale))


_FEW_BITS = 14
"""A 16-bit image whose values fit in so many bits looks far too dark: its white is a quarter of the full scale."""


def with_headers(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return records with the headers of their files, except of files whose header cannot be read."""
    extended_records = []
    for record, header in zip(records, headers_of(records), strict=True):
        if isinstance(header, ImageError):
            extended_records.append(record)
        else:
            extended_records.append(record.scaled_by(header))
    return extended_records


def other_sizes(records: Sequence[ImageRecord], size: tuple[int, int]) -> set[str]:
    """Return the IDs of images of another width or height; unreadable ones, reported elsewhere, are left out."""
    return {
        record.image_id
        for record in with_headers(records)
        if record.header and record.header.size != size
    }


def headers_of(
    records: Sequence[ImageRecord], read: Callable[[Path], ImageHeader] = read_header
) -> Iterator[ImageHeader | ImageError]:
    """Return an iterator over the header of each image, or the error if it is unreadable; files are read in parallel.

    A header that a record has is not read again.
    """

    def header(record: ImageRecord) -> ImageHeader | ImageError:
        try:
            return record.header or read(record.path)
        except ImageError as error:
            return error

    return in_threads(header, records)


def header_findings(records: Iterable[ImageRecord], *, most: int | None = None) -> list[Finding]:
    """Return findings on files: remarks of their headers, and 16-bit images whose values use at most 14 bits.

    Cameras of 12 bits write such images, which look nearly black.

    Parameters
    ----------
    records : iterable of ImageRecord
        Images with an unknown header are ignored. Pixels are not looked at if grey levels are stretched, or if they
        cannot be decoded.
    most : int, optional
        Largest number of images whose pixels are read, evenly sampled; by default all.
    """
    findings = []
    deep = []
    for record in records:
        header = record.header
        if header is None:
            continue
        findings += [Finding(level, record.image_id, text) for level, text in header.remarks]
        if header.deep and not record.stretch and record.pixels is None:
            deep.append(record)
    if most and deep:
        deep = deep[:: -(-len(deep) // most)]
    return findings + _nearly_black(deep)


def _nearly_black(records: Sequence[ImageRecord]) -> list[Finding]:
    """Return a finding on each 16-bit image whose values use few bits; those of the largest value name the cure."""
    largest = 0
    images = []
    for record, value in zip(records, in_threads(_largest_sample, records), strict=True):
        if _few_bits(value):
            images.append(record.image_id)
            largest = max(largest, value)
    return [Finding("warning", image, _few_bits(largest)) for image in images]


def _largest_sample(record: ImageRecord) -> int:
    """Return the largest value of an image; 0 if it cannot be decoded."""
    try:
        return largest_sample(record.path)
    except ImageError:
        return 0


def _few_bits(largest: int) -> str:
    """Return the warning about 16-bit values of which this is the largest; empty if they fill the scale."""
    bits = largest.bit_length()
    if not 0 < bits <= _FEW_BITS:
        return ""
    return (
        f"its values use {bits} of 16 bits, so that it is read as nearly black; multiply them by {2 ** (16 - bits)}, "
        "or save it as 8-bit RGB, or move a mask elsewhere"
    )
