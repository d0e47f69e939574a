"""Finished rows of images, each under its key: in the parts of a store under way, and in stores.

The key of the rows of an image is that of the settings, its id and its content. Augmentations are positions under it,
so that further ones add rows and change none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..core import StoreError
from ..formats import checked_dataset
from ..jobs import atomic_output, claim_space, key_of
from .embeddings import reading
from .prepare import StainInfo
from .store import PER_IMAGE, PIXELS, Store, open_file, read_texts
from .stored import TEXT, read_failures, write_failures
from .stream import ImageDescriptors

_log = logging.getLogger(__name__)

_KIND = "bchisto descriptor part"

_FILE_BYTES, _IMAGE_BYTES = 16 * 1024, 512
"""What a file takes beside its values, and an image beside its rows (from the size of parts)."""


_CALLED = {"stains": "vectors", "normalisation_skipped": "skipped"}
"""Columns that are called otherwise in `StainInfo`."""


def row_keys(settings: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, str]:
    """Return image id to the key of its rows.

    Parameters
    ----------
    settings : mapping
        Of the store, see `bchisto.featurize.stored.store_settings`.
    contents : mapping
        Image id to the hash of its content.
    """
    whole = key_of("settings of rows 1", **settings)
    return {image: key_of("rows 1", settings=whole, image_id=image, sha256=sha) for image, sha in contents.items()}


@dataclass(frozen=True)
class Rows:
    """Rows of one image in a part or store.

    Attributes
    ----------
    path : Path
    position : int
        Of the image in the file.
    first, count : int
        The first augmentation, and how many of each image are there.
    """

    path: Path
    position: int
    first: int
    count: int


@dataclass(frozen=True)
class Finished:
    """What is finished: key to rows, and key to the reason why an image could not be used."""

    rows: dict[str, list[Rows]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, keys: Iterable[str], *, first: int, count: int) -> None:
        """Add the rows of a file."""
        for position, key in enumerate(keys):
            self.rows.setdefault(key, []).append(Rows(path, position, first, count))

    def add_store(self, store: Store) -> None:
        """Add the rows of a store."""
        self.add(store.path, store.keys.values(), first=0, count=store.augmentations)

    def of(self, key: str, augmentations: int) -> tuple[list[Rows], int]:
        """Return rows that follow each other from the first augmentation on, and how many of those wanted they are."""
        chosen: list[Rows] = []
        end = 0
        while end < augmentations:
            following = [rows for rows in self.rows.get(key, ()) if rows.first <= end < rows.first + rows.count]
            if not following:
                break
            chosen.append(max(following, key=lambda rows: rows.first + rows.count))
            end = chosen[-1].first + chosen[-1].count
        return chosen, min(end, augmentations)


def read_parts(folder: Path, *, dim: int, values: bool) -> Finished:
    """Read which rows the parts in a folder hold; a part that does not hold is a warning.

    Parameters
    ----------
    folder : Path
    dim : int
        Length of a descriptor.
    values : bool
        Whether to look at every number.
    """
    finished = Finished()
    for path in sorted(folder.glob("*.h5")):
        try:
            keys, first, count, failures = _read_part(path, dim=dim, values=values)
        except StoreError as error:
            if path.exists():  # else the store was finished, or overwritten, at this moment
                _log.warning("%s; done again", error)
            continue
        finished.add(path, keys, first=first, count=count)
        finished.failures.update(failures)
    return finished


def part_path(folder: Path, keys: Sequence[str], *, first: int, count: int) -> Path:
    """Return where the part with some augmentations of images lies."""
    return folder / f"{key_of('part 1', keys=list(keys), first=first, count=count)}.h5"


def holds(path: Path, keys: Sequence[str], *, dim: int) -> bool:
    """Whether a part is there and holds these images, also as failures."""
    try:
        there, _, _, failures = _read_part(path, dim=dim, values=True)
    except StoreError:
        return False
    return {*there, *failures} == {*keys}


def write_part(
    path: Path,
    described: Mapping[str, ImageDescriptors],
    *,
    store: str,
    dim: int,
    first: int,
    count: int,
    failures: Mapping[str, str],
) -> None:
    """Write the rows of some images of one store, atomically.

    Parameters
    ----------
    path : Path
    described : mapping
        Key to the image.
    store : str
        Which of their descriptors are meant.
    dim : int
        Length of a descriptor.
    first, count : int
        Which augmentations were described.
    failures : mapping
        Key to the reason why an image could not be used.
    """
    features = np.array([image.features[store] for image in described.values()], np.float32).reshape(-1, dim)
    size = features.nbytes + sum(map(len, failures.values()))
    with atomic_output(path) as temporary, new_file(temporary, size, images=len(described)) as file:
        file.attrs.update({"kind": _KIND, "first": first, "count": count})
        file["features"] = features
        write_failures(file, dict(failures))
        file.create_dataset("images/key", data=list(described), dtype=TEXT, shape=(len(described),))
        for name, column in stain_columns([image.stain for image in described.values()]).items():
            file.create_dataset(f"images/{name}", data=column, dtype=TEXT if column.dtype == object else None)


def new_file(path: Path, size: int, *, images: int) -> Any:
    """Open a new file for writing whose values take `size` bytes; where there is no room for it, nothing is begun."""
    claim_space(path, _FILE_BYTES + _IMAGE_BYTES * images + size)
    return h5py.File(path, "w")


def stain_columns(stains: Sequence[StainInfo]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of `PER_IMAGE`, and the hash of the pixels."""
    none = np.full((3, 2), np.nan)
    columns: dict[str, npt.NDArray[Any]] = {PIXELS: np.array([stain.pixels for stain in stains], dtype=object)}
    for name, (kind, shape) in PER_IMAGE.items():
        values = [getattr(stain, _CALLED.get(name, name)) for stain in stains]
        given = [none if value is None else value for value in values]
        columns[name] = np.array(given, np.bool_ if kind == "truth" else np.float32).reshape(-1, *shape)
    return columns


def _read_part(path: Path, *, dim: int, values: bool) -> tuple[list[str], int, int, dict[str, str]]:
    """Return keys, first augmentation, their number and failures.

    Raises
    ------
    StoreError
        What does not hold.
    """
    with open_file(path)[0] as file, reading(path, "damaged ({})", kind=StoreError):
        if file.attrs.get("kind") != _KIND:
            raise StoreError("no part of a store")
        keys = read_texts(file, "images/key")
        first, count = int(file.attrs["first"]), int(file.attrs["count"])
        features = checked_dataset(file, "features", holds="float", shape=(len(keys) * count, dim))
        if values and not np.isfinite(features[:]).all():
            raise StoreError("holds values that are not finite")
        failures = read_failures(file)
        return keys, first, count, {str(key): str(message) for key, message in failures.items()}
