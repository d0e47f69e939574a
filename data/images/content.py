"""What files hold, by hash: equal images under different names, and the identity of a dataset."""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core import DAMAGE, ImageError, InputError, few
from ...formats import Cells, ImageHeader, file_identity, file_sha256, read_header
from ...jobs import default_jobs, write_rows
from ..dataset import Dataset, ImageRecord
from ..findings import Finding

_log = logging.getLogger(__name__)

_SAID = 3
"""Repeated images that are named before the rest is counted."""

_MOST_CONTRADICTIONS = 50
"""Images of two labels or groups that one message names."""

_CACHE_COLUMNS = ("path", "bytes", "modified_ns", "changed_ns", "inode", "sha256", "header")

CROP_SEEDS = ("id", "pixels")
"""What seeds everything random about an image: its id, as in training, or its decoded pixels, as for new images, whose
name and place say nothing about them."""


def pixels_sha256(image: npt.NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image as decoded, hexadecimal: of its shape, then its pixels.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        Before any scaling.

    Returns
    -------
    str
        Of the text ``HEIGHTxWIDTHx3`` and a line feed, then the pixels row by row. The same for one picture as PNG and
        as TIFF.

    Examples
    --------
    >>> pixels_sha256(np.zeros((2, 3, 3), np.uint8))[:16]
    '83f4458ef16426f6'
    """
    digest = hashlib.sha256("x".join(map(str, image.shape)).encode() + b"\n")
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def crop_key(record: ImageRecord, image: npt.NDArray[np.uint8], *, crop_seed: str) -> str:
    """Return what seeds the crops, colours and patches of an image, by a rule of `CROP_SEEDS`.

    Raises
    ------
    InputError
        No such rule.
    """
    if crop_seed not in CROP_SEEDS:
        raise InputError(f"crop_seed {crop_seed}: choose one of {', '.join(CROP_SEEDS)}")
    return pixels_sha256(image) if crop_seed == "pixels" else record.image_id


def record_sha256(record: ImageRecord, whole: str) -> str:
    """Return the SHA-256 of an image from that of its file: of that and the box, where the image is a part of it."""
    return whole if record.box is None else hashlib.sha256(f"{whole}:{record.box}".encode()).hexdigest()


def same_content(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes."""
    return first.stat().st_size == second.stat().st_size and filecmp.cmp(first, second, shallow=False)


@dataclass(frozen=True)
class UniqueImages:
    """A dataset in which every content stands once, with the hash of each image.

    Attributes
    ----------
    dataset : Dataset
        Without the repeated images.
    sha256 : dict of str to str
        Image id to the SHA-256 of the file, or of that and the box where the image is a part of it.
    digest : str
        SHA-256 over ids, contents, labels and groups: the identity of the dataset. Groups that are known apart from the
        images (`Dataset.patients_apart`) are left out of it: they may be named or corrected without describing anew.
    repeated : tuple of (str, str)
        Left-out image id and the id it repeats.
    """

    dataset: Dataset
    sha256: dict[str, str]
    digest: str
    repeated: tuple[tuple[str, str], ...]


class ImageFiles:
    """Hashes and headers of image files, read once; those of a cache where size, times and inode are unchanged.

    Parameters
    ----------
    cache : Path, optional
        A CSV that an earlier look left.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache, self._known = cache, _read_cache(cache)
        self._stamps: dict[Path, tuple[str, ...]] = {}
        self._headers: dict[Path, ImageHeader] = {}

    def know(self, records: Sequence[ImageRecord]) -> bool:
        """Tell whether no file need be opened."""
        try:
            return all(self._known.get(self._stamp(record.path), ("", ""))[1] for record in records)
        except ImageError:
            return False

    def header(self, path: Path) -> ImageHeader:
        """Return the header of a file.

        Raises
        ------
        ImageError
            See `bchisto.formats.read_header`.
        """
        try:
            cell = self._known[self._stamp(path)][1]
            header = ImageHeader(*json.loads(cell))
        except (ImageError, KeyError, TypeError, ValueError):
            header = read_header(path)
        self._headers[path] = header
        return header

    def hashes(self, records: Sequence[ImageRecord]) -> list[str]:
        """Return the SHA-256 of each file, and write the cache anew.

        Raises
        ------
        ImageError
            A file cannot be read.
        """
        paths = [record.path for record in records]
        stamps = [self._stamp(path) for path in paths]
        known = [self._known.get(stamp, ("", ""))[0] for stamp in stamps]
        with ThreadPoolExecutor(default_jobs()) as pool:
            hashes = list(pool.map(lambda sha256, path: sha256 or file_sha256(path), known, paths))
        if self._cache is not None:
            headers = [json.dumps(astuple(self._headers[path])) if path in self._headers else "" for path in paths]
            rows = [(*stamp, sha256, header) for stamp, sha256, header in zip(stamps, hashes, headers, strict=True)]
            write_rows(self._cache, _CACHE_COLUMNS, rows)
        return hashes

    def _stamp(self, path: Path) -> tuple[str, ...]:
        if path not in self._stamps:
            self._stamps[path] = (str(path.resolve()), *file_identity(path))
        return self._stamps[path]


def unique_images(dataset: Dataset, *, cache: Path | ImageFiles | None = None) -> UniqueImages:
    """Hash every image and leave out those whose content stands in the dataset already.

    Parameters
    ----------
    dataset : Dataset
        Any.
    cache : Path or ImageFiles, optional
        A CSV of earlier hashes, reused where size, times and inode of a file are unchanged, and written anew.

    Returns
    -------
    UniqueImages

    Raises
    ------
    InputError
        The same content under two labels or in two groups; the message names every pair.
    ImageError
        A file cannot be read.
    """
    unique, contradictions = compare_contents(dataset, cache=cache)
    if contradictions:
        raise InputError(few(map(str, contradictions), most=_MOST_CONTRADICTIONS))
    for image, first_id in unique.repeated[:_SAID]:
        _log.warning("%s: the same image as %s; used once", image, first_id)
    if len(unique.repeated) > _SAID:
        _log.warning("%d more images are in the dataset twice; each is used once", len(unique.repeated) - _SAID)
    return unique


def compare_contents(dataset: Dataset, *, cache: Path | ImageFiles | None = None) -> tuple[UniqueImages, list[Finding]]:
    """Return what `unique_images` does, and an error for each image of a content that has another label or group.

    Raises
    ------
    ImageError
        A file cannot be read.
    """
    hashes = (cache if isinstance(cache, ImageFiles) else ImageFiles(cache)).hashes(dataset.records)
    first: dict[str, ImageRecord] = {}
    kept: dict[str, str] = {}
    repeated = []
    contradictions: list[Finding] = []
    for record, whole in zip(dataset.records, hashes, strict=True):
        sha = record_sha256(record, whole)
        original = first.setdefault(sha, record)
        if original.image_id == record.image_id:
            kept[record.image_id] = sha
            continue
        # a copy without a label or a group has those that the other names
        pairs = (("labelled", record.label, original.label), ("of group", record.group, original.group))
        if differing := [
            f"{what} {here}, not {there}" for what, here, there in pairs if here and there and here != there
        ]:
            message = f"the same image as {original.image_id}, but {' and '.join(differing)}; remove one or correct it"
            contradictions.append(Finding("error", record.image_id, message))
            continue
        repeated.append((record.image_id, original.image_id))
        first[sha] = replace(original, label=original.label or record.label, group=original.group or record.group)
    records = tuple(first[kept[record.image_id]] for record in dataset.records if record.image_id in kept)
    identity = hashlib.sha256()
    for record in records:
        group = None if dataset.patients_apart else record.group
        fields = (record.image_id, kept[record.image_id], record.label or "", group or "")
        identity.update("\0".join(fields).encode() + b"\n")
    unique = UniqueImages(replace(dataset, records=records), kept, identity.hexdigest(), tuple(repeated))
    return unique, contradictions


def _read_cache(path: Path | None) -> dict[tuple[str, ...], tuple[str, str]]:
    if path is None or not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(Cells(handle))[1:]
    except DAMAGE:  # it saves time alone
        return {}
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in rows if len(row) == len(_CACHE_COLUMNS)}
