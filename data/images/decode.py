"""The pixels of an image of a table, and what its header says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import (
    ImageError,
    Message,
    by_key,
    few,
    letters_of,
    reworded,
)
from ...core.formats import (
    ImageHeader,
    Integers,
    Remark,
    decode_given,
    decode_image,
    largest_sample,
    read_header,
)
from ...core.jobs import in_threads
from ..dataset import Dataset, ImageRecord, part_of
from ..findings import LEAVE_OUT, Finding
from ..names import SITES

RgbImage = npt.NDArray[np.uint8]
"""The pixels of an image, shape (height, width, 3)."""


def file_of(record: ImageRecord) -> AbstractContextManager[None]:
    """Return a context in which errors about the file of a record call it as the caller does."""
    return reworded(lambda text: text.replace(str(record.path), record.called))


def decode_record(record: ImageRecord) -> RgbImage:
    """Return the pixels of a record: those that it has, of its file, or only of the part in the box of the record.

    Raises
    ------
    ImageError
        As `decode_image`, or the box exceeds the image of the file.
    """
    if record.pixels is not None:
        return record.pixels.copy()  # those of the caller are not to change
    if record.box is None:
        with file_of(record):
            return np.ascontiguousarray(decode_image(record.path, stretch_deep=record.stretch))
    image, (left, top, right, bottom) = decode_whole(record)
    return np.ascontiguousarray(image[top:bottom, left:right])


def decode_whole(record: ImageRecord) -> tuple[RgbImage, tuple[int, int, int, int]]:
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


def shrink_image(image: RgbImage, side: int, *, enlarge: bool = False) -> RgbImage:
    """Return an image whose longest side is at most, or with `enlarge` exactly, `side` pixels, for display.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
    side : int
        In pixels.
    enlarge : bool
    """
    longest = max(image.shape[:2])
    if longest <= side and not enlarge:
        return np.ascontiguousarray(image)
    import cv2

    height, width = (max(1, round(length * side / longest)) for length in image.shape[:2])
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def scaled_side(pixels: int, scale: float) -> int:
    """Return the length in pixels of a side after `resize_image`."""
    return max(1, round(pixels * scale))


_FEW_BITS = 14
"""A 16-bit image whose values fit in so many bits looks far too dark: its white is a quarter of the full scale."""


def with_headers(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return records with the headers of their files, except of files whose header cannot be read."""
    read = []
    for record, header in zip(records, headers_of(records), strict=True):
        if isinstance(header, ImageError):
            read.append(record)
        else:
            read.append(record.scaled_by(header))
    return read


def other_sizes(records: Sequence[ImageRecord], size: tuple[int, int]) -> set[str]:
    """Return the IDs of images of another width or height; one that cannot be read is an error of its own."""
    return {
        record.image_id
        for record in with_headers(records)
        if record.header and (record.header.width, record.header.height) != size
    }


def headers_of(records: Sequence[ImageRecord]) -> Iterator[ImageHeader | ImageError]:
    """Return an iterator over the header of each image, or why it cannot be read; several files are read at a time.

    A header that a record has is not read again.
    """

    def read(record: ImageRecord) -> ImageHeader | ImageError:
        try:
            return record.header or read_header(record.path)
        except ImageError as error:
            return error

    return in_threads(read, records)


def header_findings(records: Iterable[ImageRecord], *, most: int | None = None) -> list[Finding]:
    """Return what a person must know of files: remarks of their headers, and 16-bit values that use at most 14 bits.

    Cameras of 12 bits write such values, which look nearly black.

    Parameters
    ----------
    records : iterable of ImageRecord
        Images with an unknown header are ignored. Pixels are not looked at if grey levels are stretched, or if they
        cannot be decoded.
    most : int, optional
        Largest number of images whose pixels are read, evenly sampled; by default all.
    """
    remarks = []
    deep = []
    for record in records:
        header = record.header
        if header is None:
            continue
        remarks += [Finding(level, record.image_id, text) for level, text in header.remarks]
        if header.deep and not record.stretch and record.pixels is None:
            deep.append(record)
    if most and deep:
        deep = deep[:: -(-len(deep) // most)]
    values = {}

    def largest(record: ImageRecord) -> int:
        try:
            return largest_sample(record.path)
        except ImageError:
            return 0

    for record, value in zip(deep, in_threads(largest, deep), strict=True):
        if _few_bits(value):
            values[record.image_id] = value
    message = _few_bits(max(values.values(), default=0))
    return remarks + [Finding("warning", image, message) for image in values]


def _few_bits(largest: int) -> str:
    """Return the warning of 16-bit values up to this one; empty if they fill the scale."""
    bits = largest.bit_length()
    if not 0 < bits <= _FEW_BITS:
        return ""
    return (
        f"its values use {bits} of 16 bits, so that it is read as nearly black; multiply them by {2 ** (16 - bits)}, "
        "or save it as 8-bit RGB, or move a mask elsewhere"
    )


_LEAST = 3
"""Number of patients of each class from which a sign is a warning."""

_SURE = 0.01
"""Largest p of a sign, corrected for the number of signs (Holm), from which it is a warning."""

_SHUFFLES = 1999
"""Number of times that the labels are permuted."""

_ORIGIN = re.compile(
    r"set|.*(scan|mikroskop|microscop|camera|kamera|device|vendor|manufacturer|hersteller|digiti[sz]er|stainer|batch|charge|"
    r"tss|objective|magnification|resolution|acquired).*|"
    r"(scan\w*|acquisition|aufnahme|image|imaging|export|stain(ing)?|slide|study|content)?(date|day|datum|datetime|year|fecha)"
)
"""Names of columns of the scanner and the date of an image, which are none of the patient."""


def sign_findings(dataset: Dataset) -> list[Finding]:
    """Return what tells the classes apart and is not the tissue: sizes, kinds of files, scales, sites, scanners, dates.

    Each sign is judged by how well the class of a patient follows from the other patients with the same or the next
    value. It is a warning if that is unlikely by chance, and a note if there are too few patients. With unknown
    patients, each image counts as one, and a warning needs a class of one value that no other class has.

    Parameters
    ----------
    dataset : Dataset
        Images without a header are ignored, see `ImageRecord.scaled_by`.
    """
    sound = [record for record in dataset.records if record.header]
    images = Counter(record.label for record in sound)
    records = [record for record in sound if record.label and images[record.label] >= _LEAST]
    signs = _signs(records)
    # signs that divide the images in the same way are one
    alike = [*by_key(signs, lambda name: _division(signs[name])).values()]
    chances = {names[0]: _chance(records, signs[names[0]]) for names in alike}
    has_patients = all(record.group for record in records)
    findings = _thumbnails(sound)
    corrected = 0.0
    for rank, names in enumerate(sorted(alike, key=lambda names: chances[names[0]])):
        values = signs[names[0]]
        corrected = max(corrected, chances[names[0]] * (len(alike) - rank))
        is_complete = _is_complete(records, values)
        if corrected <= _SURE and (has_patients or is_complete):
            text = _telling("tells", names, records, values)
            findings.append(Finding("warning", str(dataset.root), text))
        elif corrected <= _SURE or is_complete:
            text = _telling("may tell", names, records, values)
            findings.append(Finding("note", str(dataset.root), text))
    return findings


def _thumbnails(records: Sequence[ImageRecord]) -> list[Finding]:
    """Warn of images much smaller than most, if most are of one size."""
    sizes = Counter(record.look.long for record in records)
    side, count = max(sizes.items(), key=lambda size: size[1], default=(0, 0))
    small = [record.image_id for record in records if 3 * record.look.long <= side]
    if not small or 2 * count < len(records):
        return []
    text = "at most a third as large as most images, as thumbnails are"
    return [Finding("warning", few(small), Message(text, remedies=LEAVE_OUT))]


def _division(values: Iterable[str]) -> tuple[int, ...]:
    """Return a number for each value, the same for the same value."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(value, len(numbers)) for value in values)


def _signs(records: Sequence[ImageRecord]) -> dict[str, list[str]]:
    """Return the values of the signs that are not the same in all images."""
    signs: dict[str, dict[str, str]] = {}
    for record in records:
        header = record.header
        assert header is not None
        values = {
            "format": header.format,
            "codec": header.codec,
            "kind of pixels": header.mode,
            "micrometres per pixel": "",
            "scanner": header.scanner,
            "date": header.date,
        }
        if record.mpp is not None:
            values["micrometres per pixel"] = f"{record.mpp:.3g}"
        if header.deep:
            values["kind of pixels"] += " of 16 bits"
        if record.box is None and record.frame is None:  # else the lesion has this size
            values["size"] = f"{header.width}x{header.height}"
            values["shape"] = f"{header.width / header.height:.2f}"
        for column, cell in record.columns:
            is_origin = SITES.fullmatch(column) or _ORIGIN.fullmatch(letters_of(column))
            if is_origin and part_of(cell) is None:
                values[f"column {column}"] = cell
        for name, value in values.items():
            signs.setdefault(name, {})[record.image_id] = value
    filled = {
        name: [values.get(record.image_id) or "unknown" for record in records]
        for name, values in signs.items()
    }
    return {name: values for name, values in filled.items() if len({*values}) > 1}


def _chance(records: Sequence[ImageRecord], values: Sequence[str]) -> float:
    """Return the share of permutations of the labels in which a sign tells the class as well; 1 if over `_SURE`."""
    owners = by_key(
        zip(records, values, strict=True),
        lambda pair: (pair[0].label, pair[0].group or pair[0].image_id),
    )
    patients = Counter(label for label, _ in owners)
    units = [
        (label, Counter(value for _, value in pairs).most_common(1)[0][0])
        for (label, _), pairs in owners.items()
        if patients[label] >= _LEAST
    ]
    if len({label for label, _ in units}) < 2:
        return 1.0
    places = _places([value for _, value in units])
    labels = np.unique([str(label) for label, _ in units], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    least = _score(places, labels) - 1e-9
    better = 1
    for _ in range(_SHUFFLES):
        better += _score(places, rng.permutation(labels)) >= least
        if better > _SURE * (_SHUFFLES + 1):
            return 1.0
    return better / (_SHUFFLES + 1)


def _places(values: Sequence[str]) -> Integers:
    """Return numbers of values; rare ones share one with the next, so that values of which each is another count."""
    counts = Counter(values)
    numbers: dict[str, int] = {}
    filled = 0
    number = 0
    for value in sorted(counts, key=_order):
        if filled >= _LEAST:
            number += 1
            filled = 0
        numbers[value] = number
        filled += counts[value]
    if filled < _LEAST:
        number -= 1
    return np.minimum([numbers[value] for value in values], max(number, 0))


def _order(value: str) -> tuple[int, str]:
    """Return a key that orders numbers, sizes and dates, of which the year may be last."""
    value = re.sub(r"(\d+)[./](\d+)[./](\d{4})", r"\3-\2-\1", value)
    return len(value), value


def _score(places: Integers, labels: Integers) -> float:
    """Return the mean share of a class and of all others that the places tell, for the class that is told best."""
    classes = int(labels.max()) + 1
    counts = np.bincount(places * classes + labels, minlength=(places.max() + 1) * classes)
    counts = counts.reshape(-1, classes)
    rest = counts.sum(axis=1, keepdims=True) - counts
    shares = np.maximum(counts / counts.sum(axis=0), rest / rest.sum(axis=0))
    return float(shares.sum(axis=0).max() / 2)


def _is_complete(records: Iterable[ImageRecord], values: Iterable[str]) -> bool:
    """Whether all images of a class have one value that no other class has."""
    pairs = {*zip((record.label for record in records), values, strict=True)}
    labels = Counter(label for label, _ in pairs)
    owners = Counter(value for _, value in pairs)
    return any(labels[label] == owners[value] == 1 for label, value in pairs)


def _telling(
    verb: str, names: Sequence[str], records: Iterable[ImageRecord], values: Iterable[str]
) -> str:
    """Return the message on signs of the same images, with the values of the first by class."""
    counts: dict[str | None, Counter[str]] = {}
    for record, value in zip(records, values, strict=True):
        counts.setdefault(record.label, Counter())[value] += 1
    parts = [
        f"{label} {few(f'{value} ({n})' for value, n in values.most_common())}"
        for label, values in counts.items()
    ]
    name, *others = names
    if others:
        name += f" (and the {' and the '.join(others)})"
    cure = "export the images of all classes in the same way"
    if name.startswith("column "):
        cure = "add images of each class with each of its values"
    return (
        f"the {name}, which is not the tissue, {verb} the classes apart: {'; '.join(parts)}; {cure}"
    )
