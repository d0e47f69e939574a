"""The feature file: one HDF5 file per encoder and view.

Per row (image, then augmentation): ``features`` float32 (rows, d) with a checksum for each image, ``image_id``,
``label``, ``group`` UTF-8, ``augmentation`` int32. Per image, in the group ``images``: ``image_id``, ``key`` of its
rows, ``sha256`` of the file, ``mpp`` float64 (micrometres per pixel), ``stains`` float32 (3, 2), ``tissue`` share,
``residual``, ``normalisation_skipped``, ``whitened``, ``basis``, ``doubtful``, ``blank``, ``foreign`` of `StainInfo`
(NaN, false or 0 if unknown), and ``pixels_sha256`` of the decoded image. ``failures`` lists the images that are left
out, as JSON.
Attributes contain the settings and the origin, see `bchisto.featurize.stored`.

A feature file may be untrusted. So nothing outside the file is read, types and lengths are checked, and features must
be finite.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    Entries,
    InputError,
    Message,
    MissingInputError,
    PathInput,
    StoreError,
    converted,
    few,
    printable,
)
from ..core.formats import Array, checked_dataset, limits, open_for_reading, reading
from ..core.jobs import atomic_output, claim_space
from ..core.runs import read_entries
from ..data import ImageRecord
from .pooling import Features
from .prepare import StainInfo
from .stored import TEXT, read_header

SCHEMA_VERSION = 2
KIND = "bchisto descriptor store"
PIXELS = "pixels_sha256"

_AT_ONCE = 4096
"""Texts that are read at a time, and images whose texts are written at a time."""

_CHUNK = 2**23
"""Approximate largest number of features that share a checksum."""

_FILE_BYTES = 16 * 1024
"""Measured overhead of a file in bytes."""

_IMAGE_BYTES = 512
"""Measured overhead of an image in bytes, in addition to its rows."""

_TEXT_BYTES = 48
"""Measured overhead of a text in bytes."""

_AGAIN = str(Message("make it again with {featurize.overwrite}"))
"""Remedy for a damaged feature file."""

_NUMBER = ("float", ())
PER_IMAGE = {
    "stains": ("float", (3, 2)),
    "tissue": _NUMBER,
    "residual": _NUMBER,
    "normalisation_skipped": ("truth", ()),
    "whitened": _NUMBER,
    "basis": _NUMBER,
    "doubtful": ("truth", ()),
    "blank": ("truth", ()),
    "foreign": _NUMBER,
}
"""Columns of numbers, with their type and the shape of a value."""

_OTHER_NAMES = {"stains": "vectors", "normalisation_skipped": "skipped"}
"""Columns whose attribute of `StainInfo` has another name."""

_DTYPES = {"truth": np.bool_, "float": np.float32}
"""Types in which the kinds of columns are written."""

Columns = Mapping[str, Array]
"""Columns of images by name, each with a value per image."""

Rows = tuple[Features, Columns]
"""Rows of images, float32 of shape (images, augmentations, d), and the columns of `PER_IMAGE` with `PIXELS`."""


class StainOutcome(NamedTuple):
    """Result of the stain normalisation of a feature file's images.

    Attributes
    ----------
    images : int
        Number of images.
    skipped : tuple of str
        Ids of images with too little tissue, which were not normalised.
    doubtful : tuple of str
        Ids of images whose normalised stains are doubtful, see `bchisto.stains.check_stains`.
    blank : tuple of str
        Ids of images that show nothing, see `bchisto.data.is_blank`.
    foreign : mapping of str to float
        Ids of images with pixels that are not tissue, and their share of the pixels, 0 to 1.
    pixels : dict of str to str
        See `Store.pixels`.
    """

    images: int
    skipped: tuple[str, ...]
    doubtful: tuple[str, ...]
    blank: tuple[str, ...]
    foreign: Mapping[str, float]
    pixels: dict[str, str]


class Store(contextlib.AbstractContextManager["Store"]):
    """An open feature file. Use it as a context manager.

    Attributes
    ----------
    path : Path
    settings : dict
        All settings that determine the rows.
    header : dict
        The settings and the origin of the file.
    image_ids, labels, groups : list of str
        Per image, in the order of the file; an empty label or group means unknown.
    augmentations : int
        Rows per image.
    dim : int
        Number of features.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self.settings, origin = read_header(file, path)
        self.header = {**origin, **self.settings}
        self.augmentations = int(self.header["augmentations"])
        self.image_ids = read_texts(file, "images/image_id")
        rows = len(self.image_ids) * self.augmentations
        self._features = checked_dataset(file, "features", holds="float", shape=(None, None))
        if self._features.shape[0] != rows:
            raise StoreError(
                f"{self._features.shape[0]} rows do not fit {len(self.image_ids)} images"
            )
        if len(set(self.image_ids)) < len(self.image_ids) or "" in self.image_ids:
            raise StoreError("an image is in it twice, or without a name")
        self.labels = read_texts(file, "label", count=rows, step=self.augmentations)
        self.groups = read_texts(file, "group", count=rows, step=self.augmentations)
        if any(self.labels) and not self.header["classes"]:
            raise StoreError("the attribute classes names no class, and images have labels")
        self.dim = int(self._features.shape[1])
        if self.header.get("dim", self.dim) != self.dim:
            raise StoreError(
                f"its features have {self.dim} numbers, and its settings {self.header['dim']}"
            )

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def name(self) -> str:
        """The file name without its suffix, which also names the models of this feature file."""
        return self.path.stem

    def features(self, images: Sequence[int] | None = None) -> Features:
        """Return features, float32 of shape (images, augmentations, dim).

        Parameters
        ----------
        images : sequence of int, optional
            Positions in `image_ids`; all by default.

        Raises
        ------
        StoreError
            The file is damaged, or a feature is not finite.
        """
        positions = range(len(self.image_ids)) if images is None else images
        result = np.empty((len(positions), self.augmentations, self.dim), np.float32)
        try:
            if isinstance(positions, range) and positions.step == 1 and positions:
                # consecutive: one read is enough
                first = positions.start * self.augmentations
                last = positions.stop * self.augmentations
                self._features.read_direct(result.reshape(-1, self.dim), np.s_[first:last])
            else:
                for index, image in enumerate(positions):
                    self._features.read_direct(
                        result,
                        np.s_[image * self.augmentations : (image + 1) * self.augmentations],
                        np.s_[index],
                    )
        except OSError as error:  # only reading; a position out of range raises another error
            raise StoreError(f"{self.path}: damaged, {error}; {_AGAIN}") from error
        if not np.isfinite(result).all():
            broken = positions[int(np.flatnonzero(~np.isfinite(result).all(axis=(1, 2)))[0])]
            raise StoreError(
                f"{self.path}: a feature of {self.image_ids[broken]} is not finite; {_AGAIN}"
            )
        return result

    def images(self, name: str) -> Array:
        """Return a per-image column: ``sha256``, ``pixels_sha256``, ``look`` or one of `PER_IMAGE`.

        Raises
        ------
        StoreError
            The column cannot be read, or does not have one value per image.
        """
        with reading(self.path, f"damaged, {{}}; {_AGAIN}", kind=StoreError):
            if name in ("sha256", PIXELS):
                texts = read_texts(self._file, f"images/{name}", count=len(self.image_ids))
                return np.array([text.encode() for text in texts], dtype=object)
            holds, shape = {"look": ("float", (4,)), **PER_IMAGE}[name]
            size = (len(self.image_ids), *shape)
            column = checked_dataset(self._file, f"images/{name}", holds=holds, shape=size)
            return np.asarray(column[:])

    def stain_outcome(self) -> StainOutcome:
        """Return which images were not normalised, are doubtful, blank or have foreign pixels, and all `pixels`."""
        ids = np.array(self.image_ids, dtype=object)
        shares = self.images("foreign")
        return StainOutcome(
            images=len(ids),
            skipped=tuple(ids[self.images("normalisation_skipped")]),
            doubtful=tuple(ids[self.images("doubtful")]),
            blank=tuple(ids[self.images("blank")]),
            foreign=dict(zip(ids[shares > 0], map(float, shares[shares > 0]), strict=True)),
            pixels=self.pixels,
        )

    @property
    def keys(self) -> dict[str, str]:
        """Image id to the key of its rows, which depends on settings, augmentations, id and content."""
        keys = read_texts(self._file, "images/key", count=len(self.image_ids))
        return dict(zip(self.image_ids, keys, strict=True))

    @property
    def pixels(self) -> dict[str, str]:
        """Image id to the SHA-256 of its decoded pixels; without images of embeddings, for which it is unknown."""
        hashes = zip(self.image_ids, self.images(PIXELS), strict=True)
        return {image: value.decode() for image, value in hashes if value}


def open_store(path: PathInput) -> Store:
    """Open a feature file for reading.

    Parameters
    ----------
    path : str or Path
        A ``.h5`` file written by ``bchisto featurize``.

    Returns
    -------
    Store

    Raises
    ------
    MissingInputError
        There is no such file.
    StoreError
        It is unreadable, truncated, locked by another program, not a feature file of bchisto, or of a newer schema (the
        message names the version that reads it).

    Notes
    -----
    The file may be open in ``h5py`` at the same time, in this process or in another.
    """
    path = converted(path, "path", Path)
    if not os.path.lexists(path):
        raise MissingInputError(f"{path}: no such feature file; run bchisto featurize first")
    file = open_for_reading(path)
    with (
        contextlib.ExitStack() as stack,
        reading(path, f"damaged, {{}}; {_AGAIN}", kind=StoreError),
    ):
        stack.enter_context(file)
        version = file.attrs.get("schema_version")
        kind = file.attrs.get("kind")
        if not isinstance(version, np.integer | int) or not isinstance(kind, str) or kind != KIND:
            raise StoreError(
                f"{path}: an HDF5 file, but not a bchisto feature file; it has {printable(few(file)) or 'nothing'}: "
                "name embeddings features, or save images as PNG files for bchisto featurize"
            )
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: {version} is not a schema number that this bchisto reads, which is {SCHEMA_VERSION}; {_AGAIN}"
            )
        store = Store(path, file)
        stack.pop_all()  # the caller closes the file
    return store


def read_texts(file: Any, name: str, *, count: int | None = None, step: int = 1) -> list[str]:
    """Return every `step`-th text of a column.

    Raises
    ------
    StoreError
        See `checked_dataset`; or the column does not have `count` texts, or they are too long.
    """
    dataset = checked_dataset(file, name, holds="text", shape=(count,))
    texts = []
    letters = 0
    for start in range(0, dataset.shape[0], _AT_ONCE * step):
        block = [text.decode() for text in dataset[start : start + _AT_ONCE * step : step]]
        letters += sum(map(len, block))
        if max(map(len, block)) > limits.ID_LETTERS or letters > limits.COLUMN_LETTERS:
            raise StoreError(f"the texts of {name} are too long")
        texts += block
    return texts


def stain_columns(stains: Sequence[StainInfo]) -> dict[str, Array]:
    """Return the columns of `PER_IMAGE`, and the SHA-256 of the pixels."""
    unknown = np.full((3, 2), np.nan)
    columns = {PIXELS: np.array([stain.pixels for stain in stains], dtype=object)}
    for name, (kind, shape) in PER_IMAGE.items():
        values = [getattr(stain, _OTHER_NAMES.get(name, name)) for stain in stains]
        cells = [unknown if value is None else value for value in values]
        columns[name] = np.array(cells, _DTYPES[kind]).reshape(-1, *shape)
    return columns


def write_store(
    path: Path,
    records: Sequence[ImageRecord],
    rows: Iterable[tuple[int, Rows]],
    *,
    keys: Mapping[str, str],
    contents: Mapping[str, str],
    settings: Entries,
    origin: Entries,
    dim: int,
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a feature file, atomically. An earlier one stays valid until it is replaced.

    Parameters
    ----------
    path : Path
    records : sequence of ImageRecord
        The images, in the order of the file.
    rows : iterable of (int, (ndarray of float32 of shape (images, augmentations, dim), mapping))
        For consecutive images: the position of the first one, their rows, and the columns of `PER_IMAGE` and the
        SHA-256 of their pixels.
    keys, contents : mapping
        Image id to the key of its rows, and to the SHA-256 of its content.
    settings, origin : mapping
        See `bchisto.featurize.stored`.
    dim : int
        Number of features.
    failures : sequence of (image_id, message)
        Images that are left out; the file lists them.
    """
    import h5py

    augmentations = int(origin["augmentations"])
    images = len(records)
    texts = {
        "image_id": [record.image_id for record in records],
        "label": [record.label_text for record in records],
        "group": [record.group_text for record in records],
    }
    letters = sum(_TEXT_BYTES + len(text.encode()) for column in texts.values() for text in column)
    size = augmentations * (4 * dim * images + letters)
    target = Path(os.path.realpath(path))  # the target of a link, so that the link stays valid
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_output(target))
        claim_space(temporary, _FILE_BYTES + _IMAGE_BYTES * images + size)
        # without a cache of chunks, whose state would decide the order of chunks in the file
        file = stack.enter_context(h5py.File(temporary, "w", rdcc_nbytes=0))
        file.attrs.update({"kind": KIND, "schema_version": SCHEMA_VERSION})
        file.attrs["settings"] = json.dumps(settings, sort_keys=True)
        file.attrs["origin"] = json.dumps(origin, sort_keys=True)
        # a dataset, because HDF5 limits attributes to 64 KiB
        file.create_dataset("failures", data=json.dumps(list(failures)), dtype=TEXT)
        features = file.create_dataset(
            "features",
            (images * augmentations, dim),
            np.float32,
            chunks=(min(augmentations, _CHUNK // dim + 1), dim),
            fletcher32=True,
        )
        for name, column in texts.items():
            # the text of an image stands in each of its rows
            dataset = file.create_dataset(name, (images * augmentations,), TEXT)
            for start in range(0, images, _AT_ONCE):
                block = np.array(column[start : start + _AT_ONCE], dtype=object)
                end = start + len(block)
                dataset[start * augmentations : end * augmentations] = block.repeat(augmentations)
        file["augmentation"] = np.tile(np.arange(augmentations, dtype=np.int32), images)
        group = _create_image_columns(file, records, keys, contents)
        for start, (values, columns) in rows:
            end = start + len(values)
            features[start * augmentations : end * augmentations] = values.reshape(-1, dim)
            for name, cells in columns.items():
                if name == PIXELS:
                    cells = cells.astype(object)
                group[name][start:end] = cells


def _create_image_columns(
    file: Any,
    records: Sequence[ImageRecord],
    keys: Mapping[str, str],
    contents: Mapping[str, str],
) -> Any:
    """Write what is known of images before their rows, create the other columns, and return their group."""
    images = len(records)
    ids = [record.image_id for record in records]
    texts = {
        "image_id": ids,
        "key": [keys[image] for image in ids],
        "sha256": [contents[image] for image in ids],
    }
    group = file.create_group("images")
    for name, column in texts.items():
        group.create_dataset(name, data=column, dtype=TEXT, shape=(images,))
    group["look"] = np.array([record.look for record in records], np.float64)
    group.create_dataset(PIXELS, (images,), TEXT)
    for name, (kind, shape) in PER_IMAGE.items():
        group.create_dataset(name, (images, *shape), _DTYPES[kind])
    return group


def refuse_history(folder: Path, files: Sequence[Path], cure: str) -> None:
    """Refuse a folder that also has files that the last command did not make, since a new run would lack them.

    Parameters
    ----------
    folder : Path
    files : sequence of Path
    cure : str
        How to name the files to use, for the message.

    Raises
    ------
    InputError
        The last command made only some of the files.
    """
    if len(files) < 2:
        return
    maker = ""
    last_stores = []
    with contextlib.suppress(InputError):  # a folder outside of a run has no record
        for entry in read_entries(folder.resolve().parent / "run.json"):
            stores = entry.notes.get("stores")
            # a check, which is recorded as submit, makes nothing
            if isinstance(stores, list) and entry.status == "ok" and entry.command != "submit":
                maker = entry.command
                last_stores = stores
    last = [str(path) for path in files if f"features/{path.name}" in last_stores]
    others = [str(path) for path in files if str(path) not in last]
    if last and others:
        raise InputError(
            "the last bchisto {} made {}, and not {}; {}, or give {} another {out}",
            maker,
            few(last),
            few(others),
            cure,
            maker,
        )
