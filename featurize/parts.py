"""Finished rows of images: in feature files, and in the parts of a feature file that is not complete yet.

The rows of an image have a key that depends on the settings, the image id and the content of the image. Augmentations
are numbered under that key, so further ones only add rows. The name of a part depends on its keys and augmentations.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..core import StoreError
from ..core.formats import checked_dataset
from ..core.jobs import atomic_output, claim_space, key_of
from ..data import ImageRecord
from .embeddings import reading
from .prepare import ImageFailure, StainInfo
from .store import KIND, PER_IMAGE, PIXELS, SCHEMA_VERSION, Store, open_file, read_texts
from .stored import TEXT, read_failures, write_failures, write_header
from .stream import ImageDescriptors

_log = logging.getLogger(__name__)

_KIND = "bchisto descriptor part"

_FILE_BYTES, _IMAGE_BYTES, _TEXT_BYTES = 16 * 1024, 512, 48
"""Measured overhead in bytes: of a file, of an image in addition to its rows, and of a text."""

_AT_ONCE = 64
"""Images that are copied at a time."""

_OTHER_NAMES = {"stains": "vectors", "normalisation_skipped": "skipped"}
"""Columns whose attribute of `StainInfo` has another name."""

Columns = Mapping[str, npt.NDArray[Any]]


def row_keys(
    settings: Mapping[str, Any], contents: Mapping[str, str], *, mpp: Mapping[str, float | None]
) -> dict[str, str]:
    """Return a mapping from image id to the key of the image's rows.

    Parameters
    ----------
    settings : mapping
        Settings of the feature file, see `bchisto.featurize.stored.store_settings`.
    contents : mapping
        Image id to the SHA-256 of its content.
    mpp : mapping
        Image id to its micrometres per pixel. They affect only the rows of a view in micrometres.
    """
    settings_key = key_of("settings of rows 1", **settings)
    scales = {image: {"mpp": mpp[image]} if settings.get("unit") else {} for image in contents}
    return {
        image: key_of("rows 2", settings=settings_key, image_id=image, sha256=sha, **scales[image])
        for image, sha in contents.items()
    }


@dataclass(frozen=True)
class Rows:
    """Location of the rows of one image in a part or feature file.

    Attributes
    ----------
    path : Path
    position : int
        Position of the image in the file.
    first, count : int
        First augmentation, and number of augmentations of each image in the file.
    """

    path: Path
    position: int
    first: int
    count: int


@dataclass(frozen=True)
class Finished:
    """Finished images of a feature file: key to rows, and key to the reason why an image could not be used."""

    rows: dict[str, list[Rows]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, keys: Iterable[str], *, first: int, count: int) -> None:
        """Add the rows of a file."""
        for position, key in enumerate(keys):
            self.rows.setdefault(key, []).append(Rows(path, position, first, count))

    def add_store(self, store: Store) -> None:
        """Add the rows of a feature file."""
        self.add(store.path, store.keys.values(), first=0, count=store.augmentations)

    def add_part(self, path: Path, *, dim: int) -> bool:
        """Add the content of a part; if it is damaged, warn and return False."""
        try:
            keys, first, count, failures = _read_part(path, dim=dim)
        except StoreError as error:
            if path.exists():  # otherwise another process has just finished or overwritten the feature file
                _log.warning("%s; done again", error)
            return False
        self.add(path, keys, first=first, count=count)
        self.failures.update(failures)
        return True

    def of(self, key: str, augmentations: int) -> tuple[list[Rows], int]:
        """Return rows that cover augmentations from the first one without gaps, and how many they cover."""
        chosen: list[Rows] = []
        end = 0
        while end < augmentations:
            following = [rows for rows in self.rows.get(key, ()) if rows.first <= end < rows.first + rows.count]
            if not following:
                break
            chosen.append(max(following, key=lambda rows: rows.first + rows.count))
            end = chosen[-1].first + chosen[-1].count
        return chosen, min(end, augmentations)


def _read_part(path: Path, *, dim: int) -> tuple[list[str], int, int, dict[str, str]]:
    """Return keys, first augmentation, number of augmentations and failures; raise `StoreError` if damaged."""
    with open_file(path)[0] as file, reading(path, "damaged ({})", kind=StoreError):
        if file.attrs.get("kind") != _KIND:
            raise StoreError("not a part of a feature file")
        keys, failures = read_texts(file, "images/key"), dict(read_failures(file))
        first, count = int(file.attrs["first"]), int(file.attrs["count"])
        features = checked_dataset(file, "features", holds="float", shape=(len(keys) * count, dim))
        if not np.isfinite(features[:]).all():
            raise StoreError("holds values that are not finite")
        if path != part_path(path.parent, [*keys, *failures], first=first, count=count):
            raise StoreError("has the name of other rows")
        return keys, first, count, {str(key): str(message) for key, message in failures.items()}


def part_path(folder: Path, keys: Sequence[str], *, first: int, count: int) -> Path:
    """Return the path of the part with these augmentations of these images."""
    return folder / f"{key_of('part 2', keys=sorted(keys), first=first, count=count)}.h5"


def write_part(
    folder: Path,
    described: Mapping[str, ImageDescriptors | ImageFailure],
    *,
    store: str,
    dim: int,
    first: int,
    count: int,
) -> None:
    """Write the rows of some images of one feature file as a part, atomically.

    Parameters
    ----------
    folder : Path
    described : mapping
        Key to the features of an image, or to the failure if it could not be used.
    store : str
        Name of the feature file, which selects among the features of an image.
    dim : int
        Number of features.
    first, count : int
        First augmentation, and number of augmentations.
    """
    images = {key: image for key, image in described.items() if isinstance(image, ImageDescriptors)}
    failures = {key: image.message for key, image in described.items() if isinstance(image, ImageFailure)}
    features = np.array([image.features[store] for image in images.values()], np.float32).reshape(-1, dim)
    size = features.nbytes + sum(map(len, failures.values()))
    path = part_path(folder, list(described), first=first, count=count)
    with atomic_output(path) as temporary, _new_file(temporary, size, images=len(images)) as file:
        file.attrs.update({"kind": _KIND, "first": first, "count": count})
        file["features"] = features
        write_failures(file, failures)
        file.create_dataset("images/key", data=list(images), dtype=TEXT, shape=(len(images),))
        for name, column in stain_columns([image.stain for image in images.values()]).items():
            file.create_dataset(f"images/{name}", data=column, dtype=TEXT if column.dtype == object else None)


def _new_file(path: Path, size: int, *, images: int) -> Any:
    """Open a new file for values of `size` bytes; refuse to start if the disk has no room for them."""
    claim_space(path, _FILE_BYTES + _IMAGE_BYTES * images + size)
    return h5py.File(path, "w")


def stain_columns(stains: Sequence[StainInfo]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of `PER_IMAGE`, and the SHA-256 of the pixels."""
    unknown = np.full((3, 2), np.nan)
    columns: dict[str, npt.NDArray[Any]] = {PIXELS: np.array([stain.pixels for stain in stains], dtype=object)}
    for name, (kind, shape) in PER_IMAGE.items():
        values = [getattr(stain, _OTHER_NAMES.get(name, name)) for stain in stains]
        cells = [unknown if value is None else value for value in values]
        columns[name] = np.array(cells, np.bool_ if kind == "truth" else np.float32).reshape(-1, *shape)
    return columns


def write_store(
    path: Path,
    records: Sequence[ImageRecord],
    rows: Iterable[tuple[int, int, npt.NDArray[np.float32], Columns]],
    *,
    keys: Mapping[str, str],
    contents: Mapping[str, str],
    settings: Mapping[str, Any],
    origin: Mapping[str, Any],
    dim: int,
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a feature file, atomically. An earlier one stays valid until it is replaced.

    Parameters
    ----------
    path : Path
    records : sequence of ImageRecord
        The images, in the order of the file.
    rows : iterable of (int, int, ndarray of float32 of shape (images, augmentations, dim), mapping)
        For consecutive images: the position of the first image, their first augmentation, and their rows. With
        augmentation 0 also the columns of `PER_IMAGE` and the SHA-256 of their pixels.
    keys, contents : mapping
        Image id to the key of its rows, and to the SHA-256 of its content.
    settings, origin : mapping
        See `bchisto.featurize.stored`.
    dim : int
        Number of features.
    failures : sequence of (image_id, message)
        Images that are left out; the file lists them.
    """
    augmentations, images = int(origin["augmentations"]), len(records)
    ids = [record.image_id for record in records]
    labels, groups = [record.label or "" for record in records], [record.group or "" for record in records]
    texts = {"image_id": ids, "label": labels, "group": groups}
    letters = sum(_TEXT_BYTES + len(text.encode()) for column in texts.values() for text in column)
    target = Path(os.path.realpath(path))  # write the target of a link, so that the link stays valid
    size = augmentations * (4 * dim * images + letters)
    with atomic_output(target) as temporary, _new_file(temporary, size, images=images) as file:
        file.attrs.update({"kind": KIND, "schema_version": SCHEMA_VERSION})
        write_header(file, settings, origin)
        write_failures(file, list(failures))
        features = file.create_dataset("features", (images * augmentations, dim), np.float32)
        for name, column in texts.items():
            dataset = file.create_dataset(name, (images * augmentations,), TEXT)
            for start in range(0, images, _AT_ONCE):
                repeated = np.repeat(np.array(column[start : start + _AT_ONCE], dtype=object), augmentations)
                dataset[start * augmentations : start * augmentations + len(repeated)] = repeated
        file["augmentation"] = np.tile(np.arange(augmentations, dtype=np.int32), images)
        group = file.create_group("images")
        own = {"image_id": ids, "key": [keys[image] for image in ids], "sha256": [contents[image] for image in ids]}
        for name, column in own.items():
            group.create_dataset(name, data=column, dtype=TEXT, shape=(images,))
        group["mpp"] = np.array([record.mpp for record in records], np.float64)  # None becomes NaN
        group.create_dataset(PIXELS, (images,), TEXT)
        for name, (kind, shape) in PER_IMAGE.items():
            group.create_dataset(name, (images, *shape), np.bool_ if kind == "truth" else np.float32)
        for start, first, values, columns in rows:
            count = values.shape[1]
            pieces = [values.reshape(-1, dim)] if count == augmentations else values
            for number, piece in enumerate(pieces):
                begin = (start + number) * augmentations + first
                features[begin : begin + len(piece)] = piece
            for name, cells in columns.items() if first == 0 else ():
                group[name][start : start + len(cells)] = cells


def copied_rows(
    images: Sequence[tuple[str, Sequence[Rows]]], *, augmentations: int, dim: int
) -> Iterator[tuple[int, int, npt.NDArray[np.float32], Columns]]:
    """Yield the rows of images for `write_store`, file by file, with only a few images in memory.

    Parameters
    ----------
    images : sequence of (str, sequence of Rows)
        For each image its key, and rows that cover at least `augmentations` augmentations without gaps.
    augmentations, dim : int
        Augmentations per image, and number of features.

    Raises
    ------
    StoreError
        A file is gone, cannot be read, contains other images than before, or has values that are not finite.
    """
    by_file: dict[Path, list[tuple[int, int, str, Rows]]] = {}
    for number, (key, pieces) in enumerate(images):
        end = 0
        for rows in pieces:
            by_file.setdefault(rows.path, []).append((number, end, key, rows))
            end = rows.first + rows.count
    for path, places in by_file.items():
        with open_file(path)[0] as file, reading(path, kind=StoreError):
            keys = read_texts(file, "images/key")
            count = places[0][3].count
            features = checked_dataset(file, "features", holds="float", shape=(len(keys) * count, dim))
            kinds = {PIXELS: ("text", ()), **PER_IMAGE}
            columns = {name: checked_dataset(file, f"images/{name}", holds=kind, shape=(len(keys), *shape))
                       for name, (kind, shape) in kinds.items()}  # fmt: skip
            # images that are consecutive both in this file and in the new one
            for _, run in itertools.groupby(places, key=lambda item: (item[0] - item[3].position, item[1])):
                for piece in _in_pieces(list(run)):
                    number, end, _, rows = piece[0]
                    start, stop = rows.position, rows.position + len(piece)
                    if keys[start:stop] != [key for _, _, key, _ in piece]:
                        raise StoreError("changed meanwhile; run the same command again")
                    values = features[start * count : stop * count].reshape(len(piece), count, dim)
                    if not np.isfinite(values).all():
                        raise StoreError("holds values that are not finite; remove it and run the same command again")
                    cells = {name: column[start:stop] for name, column in columns.items()} if end == 0 else {}
                    yield number, end, values[:, end - rows.first : augmentations - rows.first], cells


def _in_pieces(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
