"""What a store is put together from: parts, written block by block, and the rows of an earlier store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data import ImageRecord
from ..errors import StoreError
from ..formats import checked_dataset
from ..jobs import atomic_output, claim_space
from .embeddings import COLUMNS, reading
from .header import LISTS, read_header
from .store import HASHES, KIND, PER_IMAGE, PIXELS, SCHEMA_VERSION, TEXT, check_schema, open_file, read_texts
from .stream import ImageDescriptors

_FIRST = "first_augmentation"
"""Attribute of parts that go on after the augmentations of a finished store."""

_LONGEST_ATTRIBUTE = 60_000
"""Characters of an attribute (ours; HDF5 ends at 64 KiB for the attribute and its name)."""
_PART_BYTES, _IMAGE_BYTES, _TEXT_BYTES = 16 * 1024, 512, 48
"""What a part takes beside its values, an image beside its rows, and a text beside its letters (ours, from the size of
parts)."""
_AT_ONCE, _OPEN = 64, 4
"""Images that are copied at once, and files that stay open while they are (ours)."""


def _write_header(file: Any, header: Mapping[str, Any]) -> None:
    for key, value in {"kind": KIND, "schema_version": SCHEMA_VERSION, **header}.items():
        if key in LISTS:
            numeric = bool(value) and not isinstance(value[0], str)
            file.attrs.create(key, list(value), dtype=np.float64 if numeric else TEXT, shape=(len(value),))
        else:
            file.attrs[key] = value


@dataclass(frozen=True)
class Rows:
    """Rows of one image in a store or part.

    Attributes
    ----------
    path : Path
    place : int
        Position of the image in the file.
    stride : int
        Rows of an image in the file.
    count : int
        How many of them are meant, from the first.
    """

    path: Path
    place: int
    stride: int
    count: int


@dataclass(frozen=True)
class Part:
    """What is in a validated part: its path, its images, the rows of each, and those that failed with the reason."""

    path: Path
    image_ids: tuple[str, ...]
    stride: int
    failures: tuple[tuple[str, str], ...]

    def rows(self) -> dict[str, Rows]:
        """Return the rows of each image."""
        return {image: Rows(self.path, at, self.stride, self.stride) for at, image in enumerate(self.image_ids)}


def _tables(file: Any, *, rows: int, images: int, dim: int) -> None:
    file.create_dataset("features", (rows, dim), np.float32)
    for name in COLUMNS:
        file.create_dataset(name, (rows,), TEXT)
    file.create_dataset("augmentation", (rows,), np.int32)
    group = file.create_group("images")
    for name in ("image_id", *HASHES):
        group.create_dataset(name, (images,), TEXT)
    for name, (holds, shape) in PER_IMAGE.items():
        empty: Any = (np.bool_, False) if holds == "truth" else (np.float32, np.nan)
        group.create_dataset(name, (images, *shape), empty[0], fillvalue=empty[1])


def write_part(
    path: Path,
    *,
    header: Mapping[str, Any],
    described: Sequence[ImageDescriptors],
    key: str,
    dim: int,
    sha256: Mapping[str, str],
    failures: Sequence[tuple[str, str]],
    first: int = 0,
) -> None:
    """Write the part of one store for one block, atomically.

    Parameters
    ----------
    path : Path
        The part.
    header : mapping
        Attributes of the store.
    described : sequence of ImageDescriptors
        The images of the block that did not fail.
    key : str
        Which of their descriptors this store holds.
    dim : int
        Length of a descriptor.
    sha256 : mapping
        Image id to hash of its file.
    failures : sequence of (image_id, message)
        Images of the block that failed.
    first : int
        The first augmentation that is described.
    """
    augmentations = int(header["augmentations"]) - first
    size = _part_size(described, augmentations, dim) + sum(len(message) for _, message in failures)
    with atomic_output(path) as temporary, _new(temporary, size) as file:
        _write_header(file, header)
        if first:
            file.attrs[_FIRST] = first
        _write_failures(file, failures)
        _tables(file, rows=len(described) * augmentations, images=len(described), dim=dim)
        for place, image in enumerate(described):
            rows = np.s_[place * augmentations : (place + 1) * augmentations]
            file["features"][rows] = image.features[key]
            for name, text in _texts(image.record).items():
                file[name][rows] = text
            file["augmentation"][rows] = np.arange(first, first + augmentations, dtype=np.int32)
            stain, group = image.stain, file["images"]
            group["stains"][place] = np.full((3, 2), np.nan) if stain.vectors is None else stain.vectors
            group["tissue"][place] = stain.tissue
            group["residual"][place] = stain.residual
            group["normalisation_skipped"][place] = stain.skipped
            for name in ("whitened", "basis", "doubtful"):
                group[name][place] = getattr(stain, name)
            group[PIXELS][place] = stain.pixels
            group["image_id"][place] = image.record.image_id
            group["sha256"][place] = sha256[image.record.image_id]


def _new(path: Path, size: int) -> Any:
    """Open a new file of about `size` bytes for writing; where there is no room for it, nothing is begun."""
    claim_space(path, size)
    return h5py.File(path, "w")


def _part_size(described: Sequence[ImageDescriptors], augmentations: int, dim: int) -> int:
    """Return about how many bytes a part takes, rather more."""
    return _PART_BYTES + augmentations * sum(4 * dim + _text_size(image.record) for image in described)


def _texts(record: ImageRecord) -> dict[str, str]:
    """Return the columns of text of the rows of an image; an empty one is unknown."""
    return {"image_id": record.image_id, "label": record.label or "", "group": record.group or ""}


def _text_size(record: ImageRecord) -> int:
    """Return about how many bytes the texts of a row take."""
    return sum(_TEXT_BYTES + len(text.encode()) for text in _texts(record).values())


def read_part(path: Path, *, header: Mapping[str, Any], image_ids: Sequence[str], dim: int, first: int = 0) -> Part:
    """Validate a part: settings, images, shape, every value finite.

    Raises
    ------
    StoreError
        What does not hold.
    """
    with open_file(path)[0] as file, reading(path, "damaged ({})", kind=StoreError):
        check_schema(path, file)
        found = {_FIRST: 0, **read_header(file)}
        if any(found.get(key) != value for key, value in {**header, _FIRST: first}.items()):
            raise StoreError(f"{path}: made with other settings")
        failures = tuple((str(i), str(m)) for i, m in json.loads(found["failures"]))
        expected = [image for image in image_ids if image not in dict(failures)]
        present = read_texts(file, "images/image_id")
        stride = int(header["augmentations"]) - first
        features = checked_dataset(file, "features", holds="float", shape=(None, None))
        if present != expected or features.shape != (len(expected) * stride, dim):
            raise StoreError(f"{path}: holds other images or another shape than expected")
        if not np.isfinite(features[:]).all():
            raise StoreError(f"{path}: holds values that are not finite")
    return Part(path, tuple(present), stride, failures)


def _write_failures(file: Any, failures: Sequence[tuple[str, str]]) -> None:
    """Keep what failed as an attribute, which HDF5 limits to 64 KiB; as a dataset where it is longer."""
    text = json.dumps(list(failures))
    if len(text) > _LONGEST_ATTRIBUTE:
        file.create_dataset("failures", data=text, dtype=TEXT)
        text = "[]"
    file.attrs["failures"] = text


def merge_rows(
    path: Path,
    images: Sequence[tuple[ImageRecord, Sequence[Rows]]],
    *,
    header: Mapping[str, Any],
    dim: int,
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Copy rows of validated parts, and of an earlier store, into one store, atomically.

    Memory stays at a few images. An earlier store at `path` is valid until the new one takes its place.

    Parameters
    ----------
    path : Path
    images : sequence of (ImageRecord, sequence of Rows)
        In the order of the store. The rows of an image follow each other in order of its augmentations; what is known
        of its stains is taken from the first.
    header : mapping
    dim : int
        Length of a descriptor.
    failures : sequence of (image_id, message)
        Images that are left out, which the store names.

    Raises
    ------
    StoreError
        A part vanished, does not read, or holds other images than it did.
    """
    augmentations = int(header["augmentations"])
    letters = sum(_text_size(record) for record, _ in images)
    size = _PART_BYTES + len(images) * _IMAGE_BYTES + augmentations * (4 * dim * len(images) + letters)
    place = Path(os.path.realpath(path))  # of a link the target, so that the link goes on holding
    with _Opened() as opened, atomic_output(place) as temporary, _new(temporary, size) as file:
        _write_header(file, header)
        _write_failures(file, failures)
        _tables(file, rows=len(images) * augmentations, images=len(images), dim=dim)
        at = 0
        for some in _stretches(images):
            rows = np.s_[at * augmentations : (at + len(some)) * augmentations]
            texts = [_texts(record) for record, _ in some]
            for name in COLUMNS:
                file[name][rows] = np.repeat(np.array([one[name] for one in texts], dtype=object), augmentations)
            file["augmentation"][rows] = np.tile(np.arange(augmentations, dtype=np.int32), len(some))
            row = rows.start
            for piece in some[0][1]:  # one for all images of the stretch, or those of its only image
                source = opened(piece.path)
                present = [text.decode() for text in source["images/image_id"][piece.place : piece.place + len(some)]]
                if present != [one["image_id"] for one in texts]:
                    raise StoreError(f"{piece.path}: changed meanwhile; run the same command again")
                begin, count = piece.place * piece.stride, len(some) * piece.count
                file["features"][row : row + count] = source["features"][begin : begin + count]
                row += count
            piece = some[0][1][0]
            group = opened(piece.path)["images"]
            for name, column in file["images"].items():
                if name in group:  # an older store knows no hashes of pixels, or did not check its stains
                    holds, shape = PER_IMAGE.get(name, ("text", ()))
                    from_there = checked_dataset(group, name, holds=holds, shape=(None, *shape))
                    column[at : at + len(some)] = from_there[piece.place : piece.place + len(some)]
            at += len(some)


def _stretches(
    images: Sequence[tuple[ImageRecord, Sequence[Rows]]],
) -> Iterator[list[tuple[ImageRecord, Sequence[Rows]]]]:
    """Yield images together that lie whole, one behind the other, in one file."""
    some: list[tuple[ImageRecord, Sequence[Rows]]] = []
    for image in images:
        last, new = (some[-1][1] if some else ()), image[1]
        follows = len(last) == len(new) == 1 and new[0] == replace(last[0], place=last[0].place + 1)
        if some and not (follows and new[0].count == new[0].stride and len(some) < _AT_ONCE):
            yield some
            some = []
        some.append(image)
    if some:
        yield some


class _Opened:
    """The files that rows are copied from, the last few of which stay open."""

    def __init__(self) -> None:
        self._files: dict[Path, Any] = {}

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def __call__(self, path: Path) -> Any:
        if path not in self._files and len(self._files) == _OPEN:
            self._files.pop(next(iter(self._files))).close()
        file = self._files.pop(path, None) or open_file(path)[0]
        self._files[path] = file  # the last that is closed
        return file
