"""Checksums of images: find equal images under different names, and compute the identity of a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import DAMAGE, ImageError, InputError, Message, Pairs
from ...core.formats import ImageHeader, file_identity, file_sha256, read_header, read_rows
from ...core.jobs import in_threads, write_rows
from ..dataset import Dataset, ImageRecord
from ..findings import LEAVE_OUT, Finding, Findings, Level, report_findings
from .decode import RgbImage

_NEAR = 8
_APART = 0.001
"""An image without content has all but this fraction of its pixels within `_NEAR` grey levels of its mean colour. Noise
of JPEG and of cameras is smaller. Of the palest of 2,500 real images and patches, 23 % of the pixels are farther."""

_FLAT = 0.75
_OTHER = 0.01
"""In a drawing, more than `_FLAT` of the pixels are flat, that is equal to those below and right of them. The flat
pixels of another than the most frequent brightness outnumber the pixels that are not flat, and are more than `_OTHER`
of all. Of the pixels of BreakHis, at most 11 % are flat; of patches of IDC 45 %, nearly all white glass."""

_CACHE_COLUMNS = ("path", "bytes", "modified_ns", "changed_ns", "inode", "sha256", "header")

_BLANK = Message(
    "white, black or of another single colour, so that it shows nothing; leave it out, as a mask, or export it again"
)

_DRAWN = Message(
    "a few flat colours, as masks, label maps and charts have, and no tissue", remedies=LEAVE_OUT
)

CROP_SEEDS = ("id", "pixels")
"""Sources of the random seed of an image: its ID, as in training, or its decoded pixels, as for new images, so that
their predictions do not depend on file names."""


def pixels_sha256(image: RgbImage) -> str:
    """Return the SHA-256 of the shape and the pixels of a decoded image, hexadecimal.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        Before any scaling.

    Returns
    -------
    str
        Checksum of the text ``HEIGHTxWIDTHx3`` and a line feed, then the pixels row by row. It is the same for an image
        as PNG and as TIFF.

    Examples
    --------
    >>> pixels_sha256(np.zeros((2, 3, 3), np.uint8))[:16]
    '83f4458ef16426f6'
    """
    digest = hashlib.sha256("x".join(map(str, image.shape)).encode() + b"\n")
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def is_blank(image: RgbImage) -> bool:
    """Whether an image shows nothing: it is white, black or of any other single colour, but for noise.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)

    Examples
    --------
    >>> is_blank(np.full((64, 64, 3), 255, np.uint8))
    True
    """
    import cv2

    mean = np.array(cv2.mean(image)[:3])
    low = np.maximum(mean - _NEAR, 0)
    high = np.minimum(mean + _NEAR, 255)
    pixels = image.shape[0] * image.shape[1]
    for rows in (image[::32], image):  # a few rows of most images have enough other pixels
        mask = cv2.inRange(rows, low, high)
        if pixels - mask.size + cv2.countNonZero(mask) < (1 - _APART) * pixels:
            return False
    return True


def is_drawn(image: RgbImage) -> bool:
    """Whether an image has a few flat colours, as masks, label maps and charts have.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)

    Examples
    --------
    >>> is_drawn(np.repeat(np.eye(2, dtype=np.uint8) * 255, 32, axis=0).repeat(32, axis=1)[..., None].repeat(3, axis=2))
    True
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inner = grey[:-1, :-1]
    flat = inner[(inner == grey[1:, :-1]) & (inner == grey[:-1, 1:])] >> 4
    if flat.size <= _FLAT * inner.size:
        return False
    counts = np.bincount(flat)
    levels = inner >> 4
    # the axes of a chart: half of a row and of a column in one grey that is not the ground
    lines = [0.0, 0.0]
    for level in {*np.unique(levels)} - {counts.argmax()}:
        lines = [max(lines[axis], (levels == level).mean(axis=axis).max()) for axis in (0, 1)]
    if min(lines) > 0.5:
        return True
    other = flat.size - counts.max()
    return bool(other > max(inner.size - flat.size, _OTHER * inner.size))


def pixel_findings(
    pixels: Mapping[str, str],
    blank: Collection[str],
    owners: Mapping[str, tuple[str | None, str | None]],
    *,
    drawn: Collection[str] = (),
) -> list[Finding]:
    """Warn of images without content, of drawings, and of images with the same pixels in different files.

    The same pixels are only a note if both images are of one patient and class.

    Parameters
    ----------
    pixels : mapping
        Image ID to the SHA-256 of the decoded pixels, see `pixels_sha256`.
    blank : collection of str
        IDs of images without content, see `is_blank`.
    owners : mapping
        Image ID to label and group.
    drawn : iterable of str
        IDs of masks, label maps and charts, see `is_drawn`.
    """
    findings = [Finding("warning", image, _BLANK) for image in sorted(blank)]
    # if most images seem drawn, such images are the data, perhaps enlarged
    if 2 * len(drawn) <= len(pixels):
        findings += [Finding("warning", image, _DRAWN) for image in sorted(drawn)]
    first: dict[str, str] = {}
    for image, sha in sorted(pixels.items()):
        original = first.setdefault(sha, image)
        if original == image:
            continue
        difference = _difference(owners[image], owners[original])
        level: Level = "warning"
        end = " in another file; remove one"
        if difference:
            end = f" in another file{difference}; remove one or correct it"
        elif owners[image][1] is not None and owners[image][1] == owners[original][1]:
            level = "note"
        kind = f"the same pixels as other images{end}"
        findings.append(Finding(level, image, f"the same pixels as {original}{end}", kind=kind))
    return findings


def _difference(owner: tuple[str | None, str | None], other: tuple[str | None, str | None]) -> str:
    """Return the differences in label and group of two images, as far as both are known, as a phrase, or empty."""
    differing = [
        f"{noun} {value}, not {other_value}"
        for noun, value, other_value in zip(("labelled", "of group"), owner, other, strict=True)
        if value and other_value and value != other_value
    ]
    return f", but {' and '.join(differing)}" if differing else ""


def crop_key(record: ImageRecord, image: RgbImage, *, crop_seed: str) -> str:
    """Return the text that seeds the crops, colours and patches of an image, by a rule of `CROP_SEEDS`.

    Raises
    ------
    InputError
        There is no such rule.
    """
    if crop_seed not in CROP_SEEDS:
        raise InputError(f"crop_seed {crop_seed}: choose one of {', '.join(CROP_SEEDS)}")
    return pixels_sha256(image) if crop_seed == "pixels" else record.image_id


def record_sha256(record: ImageRecord, whole: str) -> str:
    """Return the checksum of an image, given that of its file (`whole`); it includes the box of the image, if any."""
    if record.box is None:
        return whole
    return hashlib.sha256(f"{whole}:{record.box}".encode()).hexdigest()


class UniqueImages(NamedTuple):
    """A dataset without repeated images, with a checksum of each image.

    Attributes
    ----------
    dataset : Dataset
        The dataset without repeated images.
    sha256 : dict of str to str
        Image ID to the SHA-256 of the file, or of that and the box if the image is a part of its file.
    digest : str
        SHA-256 of all IDs, contents, labels and groups: the identity of the dataset. It excludes groups from another
        source (`Dataset.patients_apart`), so that these can be corrected without extracting features again.
    repeated : tuple of (str, str)
        ID of an image that is left out, and the ID of the image that it repeats.
    """

    dataset: Dataset
    sha256: dict[str, str]
    digest: str
    repeated: Pairs


class ImageFiles:
    """Checksums and headers of image files, from a cache if size, times and inode of a file are unchanged.

    Parameters
    ----------
    cache : Path, optional
        A CSV that an earlier run wrote.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._entries: dict[tuple[str, ...], tuple[str, str]] = {}
        if cache is not None and cache.is_file():
            try:
                for row in read_rows(cache):
                    *stamp, sha256, header = (row[column] for column in _CACHE_COLUMNS)
                    self._entries[tuple(stamp)] = (sha256, header)
            except DAMAGE:  # the cache only saves time
                self._entries = {}
        self._stamps: dict[Path, tuple[str, ...]] = {}
        self._headers: dict[Path, ImageHeader] = {}

    def know(self, records: Sequence[ImageRecord]) -> bool:
        """Whether the cache has an up-to-date entry with a header for every image."""
        try:
            return all(self._cached(record.path)[1] for record in records)
        except ImageError:
            return False

    def header(self, path: Path) -> ImageHeader:
        """Return the header of a file.

        Raises
        ------
        ImageError
            See `bchisto.core.formats.read_header`.
        """
        if path in self._headers:
            return self._headers[path]
        try:
            names = [field.name for field in fields(ImageHeader)]
            values = dict(zip(names, json.loads(self._cached(path)[1]), strict=True))
            values["remarks"] = tuple((level, text) for level, text in values["remarks"])
            header = ImageHeader(**values)
        except (ImageError, KeyError, TypeError, ValueError):
            header = read_header(path)
        self._headers[path] = header
        return header

    def hashes(self, records: Sequence[ImageRecord]) -> list[str]:
        """Return the SHA-256 of each file, and rewrite the cache.

        Raises
        ------
        ImageError
            A file cannot be read.
        """
        paths = [record.path for record in records]
        for path in paths:
            # before its bytes are read, so that a change meanwhile is seen by the next run
            self._stamp(path)

        def checksum(path: Path) -> str:
            return self._cached(path)[0] or file_sha256(path)

        checksums = list(in_threads(checksum, paths))
        if self._cache is not None:
            rows = []
            for path, sha256 in zip(paths, checksums, strict=True):
                header = ""
                if path in self._headers:
                    header = json.dumps(astuple(self._headers[path]))
                rows.append((*self._stamp(path), sha256, header))
            write_rows(self._cache, _CACHE_COLUMNS, rows)
        return checksums

    def _cached(self, path: Path) -> tuple[str, str]:
        """Return checksum and header of a file from the cache; empty if it has changed."""
        return self._entries.get(self._stamp(path), ("", ""))

    def _stamp(self, path: Path) -> tuple[str, ...]:
        if path not in self._stamps:
            self._stamps[path] = (str(path.resolve()), *file_identity(path))
        return self._stamps[path]


def unique_images(dataset: Dataset, *, cache: Path | ImageFiles | None = None) -> UniqueImages:
    """Compute the checksum of every image, and leave out repeated images.

    Parameters
    ----------
    dataset : Dataset
    cache : Path or ImageFiles, optional
        A CSV of earlier checksums, which is rewritten. Checksums are reused if size, times and inode of a file are
        unchanged.

    Returns
    -------
    UniqueImages

    Raises
    ------
    InputError
        The same image has two labels or groups.
    ImageError
        A file cannot be read.
    """
    unique, findings = compare_contents(dataset, cache=cache)
    report_findings(findings)
    return unique


def compare_contents(
    dataset: Dataset, *, cache: Path | ImageFiles | None = None
) -> tuple[UniqueImages, list[Finding]]:
    """Return the result of `unique_images`, and a finding on each repeated image, an error if labels or groups differ.

    Raises
    ------
    ImageError
        A file cannot be read.
    """
    files = cache if isinstance(cache, ImageFiles) else ImageFiles(cache)
    checksums = files.hashes(dataset.records)
    first: dict[str, ImageRecord] = {}
    sha_of = {}
    repeated = []
    findings = Findings()
    for record, checksum in zip(dataset.records, checksums, strict=True):
        sha = record_sha256(record, checksum)
        original = first.setdefault(sha, record)
        if original.image_id == record.image_id:
            sha_of[record.image_id] = sha
            continue
        # an unknown label or group of one of the two is taken from the other one
        difference = _difference((record.label, record.group), (original.label, original.group))
        if difference:
            message = f"the same image as {original.image_id}{difference}; remove one or correct it"
            findings.error(record.image_id, message)
            continue
        text = f"the same image as {original.image_id}; used once"
        findings.warning(record.image_id, text, kind="the same as other images; used once")
        repeated.append((record.image_id, original.image_id))
        first[sha] = replace(
            original, label=original.label or record.label, group=original.group or record.group
        )
    records = tuple(
        first[sha_of[record.image_id]] for record in dataset.records if record.image_id in sha_of
    )
    identity = hashlib.sha256()
    for record in records:
        group = None if dataset.patients_apart else record.group
        texts = (record.image_id, sha_of[record.image_id], record.label_text, group or "")
        identity.update("\0".join(texts).encode() + b"\n")
    unique = UniqueImages(
        replace(dataset, records=records), sha_of, identity.hexdigest(), tuple(repeated)
    )
    return unique, findings
