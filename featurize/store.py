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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..arguments import PathInput, as_path
from ..errors import StoreError
from ..jobs import atomic_output, claim_space, open_for_reading
from .stream import ImageDescriptors, StainInfo

__all__ = ["SCHEMA_VERSION", "Part", "Store", "merge_parts", "open_store", "read_part", "write_part"]

SCHEMA_VERSION = 1
_KIND = "bchisto descriptor store"
_TEXT = h5py.string_dtype("utf-8")
_LISTS = ("layers", "classes", "color_range")
_PIXELS = "pixels_sha256"
_LONGEST_ATTRIBUTE = 60_000
"""Characters of an attribute (ours; HDF5 ends at 64 KiB for the attribute and its name)."""
_PART_BYTES, _TEXT_BYTES = 16 * 1024, 48
"""What a part takes beside its values, and a text beside its letters (ours, from the size of parts)."""


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
class Part:
    """What is in a validated part: its path, its images, and those that failed with the reason."""

    path: Path
    image_ids: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    skipped_normalisation: tuple[str, ...]


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
    """
    augmentations = int(header["augmentations"])
    size = _part_size(described, augmentations, dim) + sum(len(message) for _, message in failures)
    with atomic_output(path) as temporary, _new(temporary, size) as file:
        _write_header(file, header)
        _write_failures(file, failures)
        _tables(file, rows=len(described) * augmentations, images=len(described), dim=dim)
        for place, image in enumerate(described):
            rows = np.s_[place * augmentations : (place + 1) * augmentations]
            file["features"][rows] = image.features[key]
            file["image_id"][rows] = image.record.image_id
            file["label"][rows] = image.record.label or ""
            file["group"][rows] = image.record.group or ""
            file["augmentation"][rows] = np.arange(augmentations, dtype=np.int32)
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
        texts = [image.record.image_id, image.record.label or "", image.record.group or ""]
        size += augmentations * (4 * dim + sum(_TEXT_BYTES + len(text.encode()) for text in texts))
    return size


def _write_stain(group: Any, place: int, stain: StainInfo) -> None:
    group["stains"][place] = np.full((3, 2), np.nan) if stain.vectors is None else stain.vectors
    group["tissue"][place] = stain.tissue
    group["residual"][place] = stain.residual
    group["normalisation_skipped"][place] = stain.skipped
    group[_PIXELS][place] = stain.pixels


def read_part(path: Path, *, header: Mapping[str, Any], image_ids: Sequence[str], dim: int) -> Part:
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
            if any(found.get(key) != _plain(value) for key, value in header.items()):
                raise StoreError(f"{path}: made with other settings")
            failures = tuple((str(i), str(m)) for i, m in json.loads(found["failures"]))
            expected = [image for image in image_ids if image not in dict(failures)]
            present = [text.decode() for text in file["images/image_id"][:]]
            shape = (len(expected) * int(header["augmentations"]), dim)
            if present != expected or file["features"].shape != shape:
                raise StoreError(f"{path}: holds other images or another shape than expected")
            if not np.isfinite(file["features"][:]).all():
                raise StoreError(f"{path}: holds values that are not finite")
            skipped = file["images/normalisation_skipped"][:]
        except (KeyError, OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{path}: damaged ({error})") from error
    unnormalised = tuple(i for i, skip in zip(present, skipped.tolist(), strict=True) if skip)
    return Part(path, tuple(present), failures, unnormalised)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _write_failures(file: Any, failures: Sequence[tuple[str, str]]) -> None:
    """Keep what failed as an attribute, which HDF5 limits to 64 KiB; as a dataset where it is longer."""
    text = json.dumps(list(failures))
    if len(text) > _LONGEST_ATTRIBUTE:
        file.create_dataset("failures", data=text, dtype=_TEXT)
        text = "[]"
    file.attrs["failures"] = text


def merge_parts(
    path: Path,
    parts: Sequence[Part],
    *,
    header: Mapping[str, Any],
    dim: int,
    refused: Sequence[tuple[str, str]] = (),
) -> None:
    """Copy validated parts into one store, atomically; block by block, so memory stays at one part.

    Parameters
    ----------
    path : Path
    parts : sequence of Part
    header : mapping
    dim : int
        Length of a descriptor.
    refused : sequence of (image_id, message)
        Images that were left out before any part was made; the store names them with those that failed.

    Raises
    ------
    StoreError
        A part vanished or does not read.
    """
    augmentations = int(header["augmentations"])
    images = sum(len(part.image_ids) for part in parts)
    failures = [*refused, *(failure for part in parts for failure in part.failures)]
    size = sum(part.path.stat().st_size for part in parts)  # what they have in common the store has once
    with atomic_output(path) as temporary, _new(temporary, size) as file:
        _write_header(file, header)
        _write_failures(file, failures)
        _tables(file, rows=images * augmentations, images=images, dim=dim)
        row = image = 0
        for part in parts:
            with _open(part.path)[0] as source:
                rows, count = len(part.image_ids) * augmentations, len(part.image_ids)
                for name in ("features", "image_id", "label", "group", "augmentation"):
                    if rows:
                        file[name][row : row + rows] = source[name][:]
                for name in source["images"]:
                    if count:
                        file["images"][name][image : image + count] = source["images"][name][:]
            row, image = row + rows, image + count
