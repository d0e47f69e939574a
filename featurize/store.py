"""The descriptor store: one HDF5 file per encoder and view, and the parts it is merged from.

Schema 1. Per row (image, then augmentation): ``features`` float32 (rows, d), ``image_id``, ``label``, ``group``
UTF-8, ``augmentation`` int32. Per image, in the group ``images``: ``image_id``, ``sha256`` of the file, ``stains``
float32 (3, 2) with NaN where none were estimated, ``tissue`` share, ``residual``, ``normalisation_skipped``, and
``pixels_sha256`` of the decoded image, which is empty or absent where 0.1 made the part or the store.
Everything else is an attribute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..arguments import PathInput, as_path
from ..data import ImageRecord
from ..errors import StoreError
from ..jobs import atomic_output, claim_space, open_for_reading
from .stream import ImageDescriptors, StainInfo

__all__ = [
    "SCHEMA_VERSION",
    "Part",
    "Rows",
    "Store",
    "merge_rows",
    "open_store",
    "read_attributes",
    "read_part",
    "write_part",
]

SCHEMA_VERSION = 1
_KIND = "bchisto descriptor store"
_TEXT = h5py.string_dtype("utf-8")
_LISTS = ("layers", "classes", "color_range")
_PIXELS = "pixels_sha256"
_FIRST = "first_augmentation"
"""Attribute of parts that go on after the augmentations of a finished store."""
_LONGEST_ATTRIBUTE = 60_000
"""Characters of an attribute (ours; HDF5 ends at 64 KiB for the attribute and its name)."""
_PART_BYTES, _IMAGE_BYTES, _TEXT_BYTES = 16 * 1024, 512, 48
"""What a part takes beside its values, an image beside its rows, and a text beside its letters (ours, from the size of
parts)."""
_AT_ONCE, _OPEN = 64, 4
"""Images that are copied at once, and files that stay open while they are (ours)."""


class Store:
    """An open, finished store. Use as a context manager.

    Attributes
    ----------
    path : Path
    header : dict
        The attributes, lists as lists.
    image_ids, labels, groups : list of str
        Per image, in store order; an empty label or group means unknown.
    augmentations : int
        Rows per image.
    dim : int
        Length of a descriptor.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self.header = _read_header(file)
        self.augmentations = int(self.header["augmentations"])
        self.image_ids = [text.decode() for text in file["images/image_id"][:]]
        self.labels = [text.decode() for text in file["label"][:: self.augmentations]]
        self.groups = [text.decode() for text in file["group"][:: self.augmentations]]
        self.dim = int(file["features"].shape[1])

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def name(self) -> str:
        """The file name without its suffix: what models of this store are called by."""
        return self.path.stem

    def features(self, images: Sequence[int] | None = None) -> npt.NDArray[np.float32]:
        """Return descriptors, float32 of shape (images, augmentations, dim).

        Parameters
        ----------
        images : sequence of int, optional
            Positions in `image_ids`; all by default.
        """
        chosen = range(len(self.image_ids)) if images is None else images
        result = np.empty((len(chosen), self.augmentations, self.dim), np.float32)
        dataset = self._file["features"]
        for place, image in enumerate(chosen):
            dataset.read_direct(
                result, np.s_[image * self.augmentations : (image + 1) * self.augmentations], np.s_[place]
            )
        return result

    def images(self, name: str) -> npt.NDArray[Any]:
        """Return a per-image column: ``sha256``, ``stains``, ``tissue``, ``residual``, ``normalisation_skipped``."""
        values: npt.NDArray[Any] = self._file["images"][name][:]
        return values

    @property
    def pixels(self) -> dict[str, str]:
        """Image id to the hash of its decoded pixels, for the images of which it is known."""
        if _PIXELS not in self._file["images"]:
            return {}
        found = zip(self.image_ids, self.images(_PIXELS), strict=True)
        return {image: value.decode() for image, value in found if value}


def open_store(path: PathInput) -> Store:
    """Open a finished store for reading.

    Parameters
    ----------
    path : str or Path
        A ``.h5`` file written by ``bchisto featurize``.

    Returns
    -------
    Store

    Raises
    ------
    StoreError
        Missing, not readable, truncated, open elsewhere in a way that cannot be shared, not a bchisto store, or of a
        newer schema (the message says which version reads it).

    Notes
    -----
    The file may be open in ``h5py`` at the same time, in this process or in another.
    """
    path = as_path(path, "path")
    path = Path(path)
    file, busy = _open(path)
    try:
        _check_schema(path, file)
        rows = file["features"].shape[0]
        images = file["images/image_id"].shape[0]
        if rows == images * int(file.attrs["augmentations"]):
            return Store(path, file)
    except (KeyError, OSError) as error:
        file.close()
        raise StoreError(f"{path}: {_mend(f'damaged, {error.args[0]}', busy=busy)}") from error
    except StoreError:
        file.close()
        raise
    file.close()
    raise StoreError(f"{path}: {_mend(f'{rows} rows do not fit {images} images', busy=busy)}")


def read_attributes(path: Path) -> dict[str, Any]:
    """Read the attributes of a finished store alone.

    Raises
    ------
    StoreError
        See `open_store`.
    """
    with _open(path)[0] as file:
        _check_schema(path, file)
        return _read_header(file)


def _open(path: Path) -> tuple[Any, bool]:
    """Open a store or part; also whether another process has it open for writing."""
    if not os.path.lexists(path):
        raise StoreError(f"{path}: no such descriptor store; run bchisto featurize first")
    return open_for_reading(path)


def _mend(fault: str, *, busy: bool) -> str:
    """Say what to do about a fault; what another process is writing may be whole once it is closed there."""
    if busy:
        return "open for writing in another program; close it there and try again"
    return f"{fault}; make it again with bchisto featurize --overwrite"


def _check_schema(path: Path, file: Any) -> None:
    version = file.attrs.get("schema_version")
    if version is None or file.attrs.get("kind") != _KIND:
        raise StoreError(f"{path}: an HDF5 file, but not a bchisto descriptor store; make one with bchisto featurize")
    if int(version) > SCHEMA_VERSION:
        writer = file.attrs.get("bchisto_version", "a newer version")
        raise StoreError(
            f"{path}: schema {version}, written by bchisto {writer}, is newer than schema {SCHEMA_VERSION} read here; "
            f"upgrade: pip install 'bchisto>={writer}'"
        )


def _read_header(file: Any) -> dict[str, Any]:
    header: dict[str, Any] = {}
    for key, value in file.attrs.items():
        if key in _LISTS:
            header[key] = [v.item() if isinstance(v, np.generic) else v for v in value]
        else:
            header[key] = value.item() if isinstance(value, np.generic) else value
    if "failures" in file:
        header["failures"] = file["failures"][()].decode()
    return header


def _write_header(file: Any, header: Mapping[str, Any]) -> None:
    for key, value in {"kind": _KIND, "schema_version": SCHEMA_VERSION, **header}.items():
        if key in _LISTS:
            numeric = bool(value) and not isinstance(value[0], str)
            file.attrs.create(key, list(value), dtype=np.float64 if numeric else _TEXT, shape=(len(value),))
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
    for name in ("image_id", "label", "group"):
        file.create_dataset(name, (rows,), _TEXT)
    file.create_dataset("augmentation", (rows,), np.int32)
    group = file.create_group("images")
    group.create_dataset("image_id", (images,), _TEXT)
    group.create_dataset("sha256", (images,), _TEXT)
    group.create_dataset(_PIXELS, (images,), _TEXT)
    group.create_dataset("stains", (images, 3, 2), np.float32)
    group.create_dataset("tissue", (images,), np.float32)
    group.create_dataset("residual", (images,), np.float32)
    group.create_dataset("normalisation_skipped", (images,), np.bool_)


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
            file["image_id"][rows] = image.record.image_id
            file["label"][rows] = image.record.label or ""
            file["group"][rows] = image.record.group or ""
            file["augmentation"][rows] = np.arange(first, first + augmentations, dtype=np.int32)
            _write_stain(file["images"], place, image.stain)
            file["images/image_id"][place] = image.record.image_id
            file["images/sha256"][place] = sha256[image.record.image_id]


def _new(path: Path, size: int) -> Any:
    """Open a new file of about `size` bytes for writing; where there is no room for it, nothing is begun."""
    claim_space(path, size)
    return h5py.File(path, "w")


def _part_size(described: Sequence[ImageDescriptors], augmentations: int, dim: int) -> int:
    """Return about how many bytes a part takes, rather more."""
    size = _PART_BYTES
    for image in described:
        size += augmentations * (4 * dim + _text_size(image.record))
    return size


def _text_size(record: ImageRecord) -> int:
    """Return about how many bytes the texts of a row take."""
    return sum(_TEXT_BYTES + len(text.encode()) for text in (record.image_id, record.label or "", record.group or ""))


def _write_stain(group: Any, place: int, stain: StainInfo) -> None:
    group["stains"][place] = np.full((3, 2), np.nan) if stain.vectors is None else stain.vectors
    group["tissue"][place] = stain.tissue
    group["residual"][place] = stain.residual
    group["normalisation_skipped"][place] = stain.skipped
    group[_PIXELS][place] = stain.pixels


def read_part(path: Path, *, header: Mapping[str, Any], image_ids: Sequence[str], dim: int, first: int = 0) -> Part:
    """Validate a part: settings, images, shape, every value finite.

    Raises
    ------
    StoreError
        What does not hold.
    """
    with _open(path)[0] as file:
        try:
            _check_schema(path, file)
            found = _read_header(file)
            wanted = {**header, _FIRST: first}
            if any({_FIRST: 0, **found}.get(key) != _plain(value) for key, value in wanted.items()):
                raise StoreError(f"{path}: made with other settings")
            failures = tuple((str(i), str(m)) for i, m in json.loads(found["failures"]))
            expected = [image for image in image_ids if image not in dict(failures)]
            present = [text.decode() for text in file["images/image_id"][:]]
            stride = int(header["augmentations"]) - first
            shape = (len(expected) * stride, dim)
            if present != expected or file["features"].shape != shape:
                raise StoreError(f"{path}: holds other images or another shape than expected")
            if not np.isfinite(file["features"][:]).all():
                raise StoreError(f"{path}: holds values that are not finite")
        except (KeyError, OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{path}: damaged ({error})") from error
    return Part(path, tuple(present), stride, failures)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _write_failures(file: Any, failures: Sequence[tuple[str, str]]) -> None:
    """Keep what failed as an attribute, which HDF5 limits to 64 KiB; as a dataset where it is longer."""
    text = json.dumps(list(failures))
    if len(text) > _LONGEST_ATTRIBUTE:
        file.create_dataset("failures", data=text, dtype=_TEXT)
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
    texts = sum(_text_size(record) for record, _ in images)
    size = _PART_BYTES + len(images) * _IMAGE_BYTES + augmentations * (4 * dim * len(images) + texts)
    place = Path(os.path.realpath(path))  # of a link the target, so that the link goes on holding
    with _Opened() as opened, atomic_output(place) as temporary, _new(temporary, size) as file:
        _write_header(file, header)
        _write_failures(file, failures)
        _tables(file, rows=len(images) * augmentations, images=len(images), dim=dim)
        at = 0
        for some in _stretches(images):
            rows = np.s_[at * augmentations : (at + len(some)) * augmentations]
            records = [record for record, _ in some]
            for name, column in (
                ("image_id", [record.image_id for record in records]),
                ("label", [record.label or "" for record in records]),
                ("group", [record.group or "" for record in records]),
            ):
                file[name][rows] = np.repeat(np.array(column, dtype=object), augmentations)
            file["augmentation"][rows] = np.tile(np.arange(augmentations, dtype=np.int32), len(some))
            row = rows.start
            for piece in some[0][1]:  # one for all images of the stretch, or those of its only image
                source = opened(piece.path)
                present = [text.decode() for text in source["images/image_id"][piece.place : piece.place + len(some)]]
                if present != [record.image_id for record in records]:
                    raise StoreError(f"{piece.path}: changed meanwhile; run the same command again")
                begin, count = piece.place * piece.stride, len(some) * piece.count
                file["features"][row : row + count] = source["features"][begin : begin + count]
                row += count
            piece = some[0][1][0]
            group = opened(piece.path)["images"]
            for name in group:
                file["images"][name][at : at + len(some)] = group[name][piece.place : piece.place + len(some)]
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
        file = self._files.pop(path, None) or _open(path)[0]
        self._files[path] = file  # the last that is closed
        return file
