"""Putting a store together: rows are copied from parts and from an earlier store, with a few images in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import StoreError
from ..data import ImageRecord
from ..formats import checked_dataset
from ..jobs import atomic_output
from .embeddings import COLUMNS
from .parts import Rows, new_file
from .store import KIND, PER_IMAGE, PIXELS, SCHEMA_VERSION, open_file, read_texts
from .stored import TEXT, write_failures, write_header

_TEXT_BYTES = 48
"""What a text takes beside its letters (from the size of stores)."""

_AT_ONCE, _OPEN = 64, 4
"""Images that are copied at once, and files that stay open while they are."""

Columns = Mapping[str, npt.NDArray[Any]]


def write_store(
    path: Path,
    records: Sequence[ImageRecord],
    rows: Iterable[tuple[npt.NDArray[np.float32], Columns]],
    *,
    keys: Mapping[str, str],
    contents: Mapping[str, str],
    settings: Mapping[str, Any],
    origin: Mapping[str, Any],
    dim: int,
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a store, atomically; an earlier one is valid until the new one takes its place.

    Parameters
    ----------
    path : Path
    records : sequence of ImageRecord
        The images in the order of the store.
    rows : iterable of (ndarray of float32, shape (images, augmentations, dim), mapping)
        The rows of some images after the other, with their columns of `PER_IMAGE` and the hash of their pixels.
    keys, contents : mapping
        Image id to the key of its rows, and to the hash of its content.
    settings, origin : mapping
        See `bchisto.featurize.stored`.
    dim : int
    failures : sequence of (image_id, message)
        Images that are left out, which the store names.
    """
    augmentations, images = int(origin["augmentations"]), len(records)
    texts = {
        "image_id": [record.image_id for record in records],
        "label": [record.label or "" for record in records],
        "group": [record.group or "" for record in records],
    }
    letters = sum(_TEXT_BYTES + len(text.encode()) for column in texts.values() for text in column)
    target = Path(os.path.realpath(path))  # of a link the target, so that the link goes on holding
    size = augmentations * (4 * dim * images + letters)
    with atomic_output(target) as temporary, new_file(temporary, size, images=images) as file:
        file.attrs.update({"kind": KIND, "schema_version": SCHEMA_VERSION})
        write_header(file, settings, origin)
        write_failures(file, list(failures))
        features = file.create_dataset("features", (images * augmentations, dim), np.float32)
        for name in COLUMNS:
            file.create_dataset(name, (images * augmentations,), TEXT)
        file["augmentation"] = np.tile(np.arange(augmentations, dtype=np.int32), images)
        group = file.create_group("images")
        own = {"image_id": texts["image_id"], "key": [keys[image] for image in texts["image_id"]],
               "sha256": [contents[image] for image in texts["image_id"]]}  # fmt: skip
        for name, column in own.items():
            group.create_dataset(name, data=column, dtype=TEXT, shape=(images,))
        group.create_dataset(PIXELS, (images,), TEXT)
        for name, (kind, shape) in PER_IMAGE.items():
            group.create_dataset(name, (images, *shape), np.bool_ if kind == "truth" else np.float32)
        at = 0
        for some, columns in rows:
            end = at + len(some)
            features[at * augmentations : end * augmentations] = some.reshape(-1, dim)
            for name, column in texts.items():
                repeated = np.repeat(np.array(column[at:end], dtype=object), augmentations)
                file[name][at * augmentations : end * augmentations] = repeated
            for name, values in columns.items():
                group[name][at:end] = values
            at = end


def copied_rows(
    images: Sequence[tuple[str, Sequence[Rows]]], *, augmentations: int, dim: int
) -> Iterator[tuple[npt.NDArray[np.float32], Columns]]:
    """Yield the rows of images, and what is known of each from the file with its first rows.

    Parameters
    ----------
    images : sequence of (str, sequence of Rows)
        The key of each, and rows that follow each other, of `augmentations` at least.
    augmentations, dim : int

    Raises
    ------
    StoreError
        A file vanished, does not read, or holds other images than it did; or numbers that are not finite.
    """
    sources: dict[Path, _Source] = {}
    try:
        for some in _together(images):
            keys, pieces = [key for key, _ in some], some[0][1]  # one for all of them, or those of a single image
            features = np.empty((len(some), augmentations, dim), np.float32)
            end = 0
            for piece in pieces:
                values = _opened(sources, piece.path, dim).rows(piece, keys)[:, end - piece.first :]
                more = min(values.shape[1], augmentations - end)
                features[:, end : end + more] = values[:, :more]
                end += more
            if not np.isfinite(features).all():
                raise StoreError(f"{pieces[0].path}: holds values that are not finite; remove it and run this again")
            yield features, _opened(sources, pieces[0].path, dim).columns(pieces[0].position, len(some))
    finally:
        for source in sources.values():
            source.file.close()


def _opened(sources: dict[Path, _Source], path: Path, dim: int) -> _Source:
    """Return an open file, of which the last few stay open."""
    if path not in sources and len(sources) == _OPEN:
        sources.pop(next(iter(sources))).file.close()
    sources[path] = sources.pop(path) if path in sources else _Source(path, dim)  # the last that is closed
    return sources[path]


def _together(
    images: Sequence[tuple[str, Sequence[Rows]]],
) -> Iterator[list[tuple[str, Sequence[Rows]]]]:
    """Yield images together whose rows lie one behind the other in one file."""
    some: list[tuple[str, Sequence[Rows]]] = []
    for image in images:
        last, new = (some[-1][1] if some else ()), image[1]
        follows = len(last) == len(new) == 1 and (last[0].path, last[0].position + 1) == (new[0].path, new[0].position)
        if some and not (follows and len(some) < _AT_ONCE):
            yield some
            some = []
        some.append(image)
    if some:
        yield some


class _Source:
    """An open file that rows are copied from."""

    def __init__(self, path: Path, dim: int) -> None:
        self.path, self.dim = path, dim
        self.file = open_file(path)[0]
        self._keys = read_texts(self.file, "images/key")
        self._features = checked_dataset(self.file, "features", holds="float", shape=(None, dim))
        kinds = {PIXELS: ("text", ()), **PER_IMAGE}
        self._columns = {
            name: checked_dataset(self.file, f"images/{name}", holds=kind, shape=(len(self._keys), *shape))
            for name, (kind, shape) in kinds.items()
        }

    def rows(self, piece: Rows, keys: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return all rows of images, of shape (images, augmentations in the file, dim)."""
        start, end = piece.position, piece.position + len(keys)
        if self._keys[start:end] != list(keys):
            raise StoreError(f"{self.path}: changed meanwhile; run the same command again")
        values: npt.NDArray[np.float32] = self._features[start * piece.count : end * piece.count]
        return values.reshape(len(keys), piece.count, self.dim)

    def columns(self, start: int, count: int) -> Columns:
        """Return what is known of images."""
        return {name: column[start : start + count] for name, column in self._columns.items()}
