"""Packs of stage 1: the rows of a block of images for one feature file, each image's under a key.

The key of an image's rows depends on all settings of the feature file, the number of augmentations, and the id, the
content and the scale of the image. What packs and the earlier feature file hold under these keys is finished; a feature
file is written from them by key. The name of a pack is a key of the keys in it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import StoreError
from ..core.formats import parse_json
from ..core.jobs import key_of, read_pack, write_pack
from .prepare import ImageFailure
from .store import PER_IMAGE, PIXELS, Columns, open_store, stain_columns
from .stream import ImageDescriptors

_log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Images whose rows are in memory at a time while a feature file is written."""

Rows = tuple[npt.NDArray[np.float32], Columns]
"""Rows of images, float32 of shape (images, augmentations, d), and the columns of `PER_IMAGE` with `PIXELS`."""


def row_keys(
    settings: Mapping[str, Any], contents: Mapping[str, str], *, augmentations: int, mpp: Mapping[str, float | None]
) -> dict[str, str]:
    """Return a mapping from image id to the key of the image's rows.

    Parameters
    ----------
    settings : mapping
        Settings of the feature file, see `bchisto.featurize.stored.store_settings`.
    contents : mapping
        Image id to the SHA-256 of its content.
    augmentations : int
        Rows per image.
    mpp : mapping
        Image id to its micrometres per pixel. They affect only the rows of a view in micrometres.
    """
    settings_key = key_of("settings of rows 1", augmentations=augmentations, **settings)
    scales = {image: {"mpp": mpp[image]} if settings.get("unit") else {} for image in contents}
    return {
        image: key_of("rows 3", settings=settings_key, image_id=image, sha256=sha, **scales[image])
        for image, sha in contents.items()
    }


def pack_path(folder: Path, keys: Sequence[str]) -> Path:
    """Return the path of the pack with the rows of these keys."""
    return folder / f"{key_of('pack of rows 1', keys=sorted(keys))}.npz"


def keep(folder: Path, described: Mapping[str, ImageDescriptors | ImageFailure], *, store: str, dim: int) -> None:
    """Write the rows of some images of one feature file as a pack, atomically.

    Parameters
    ----------
    folder : Path
    described : mapping
        Key to the features of an image, or to the failure if it could not be used.
    store : str
        Name of the feature file, which selects among the features of an image.
    dim : int
        Number of features.
    """
    images = {key: image for key, image in described.items() if isinstance(image, ImageDescriptors)}
    failures = {key: image.message for key, image in described.items() if isinstance(image, ImageFailure)}
    rows = [image.features[store] for image in images.values()]
    features = np.stack(rows) if rows else np.empty((0, 0, dim), np.float32)
    columns = stain_columns([image.stain for image in images.values()])
    path = pack_path(folder, list(described))
    arrays = {"keys": np.array(list(images), "S64"), "failures": np.frombuffer(json.dumps(failures).encode(), np.uint8)}
    write_pack(path, path.stem, {**arrays, "features": features, **columns, PIXELS: columns[PIXELS].astype("S64")})


@dataclass(frozen=True)
class Pack:
    """The content of a pack.

    Attributes
    ----------
    keys : tuple of str
        Keys of the images, in the order of the rows.
    rows : Rows
    failures : dict of str to str
        Key to the reason why an image could not be used.
    """

    keys: tuple[str, ...]
    rows: Rows
    failures: dict[str, str]


def read_kept(path: Path, *, augmentations: int, dim: int) -> Pack | None:
    """Return the content of a pack; None if the file is gone, or (with a warning) if it is damaged."""
    shapes: dict[str, tuple[int | None, ...]] = {
        **dict.fromkeys(("keys", "failures", PIXELS), (None,)),
        **{name: (None, *shape) for name, (_, shape) in PER_IMAGE.items()},
        "features": (None, None, None),
    }
    arrays = read_pack(path, path.stem, shapes)
    if arrays is None:
        return None
    keys = tuple(key.decode() for key in arrays["keys"].tolist())
    failures = dict(parse_json(arrays["failures"].tobytes().decode()))
    features, columns = arrays["features"], {name: arrays[name] for name in (*PER_IMAGE, PIXELS)}
    fault = (
        "is of another shape" if keys and features.shape != (len(keys), augmentations, dim)
        else "holds values that are not finite" if not np.isfinite(features).all()
        else "its columns are of another length" if any(len(column) != len(keys) for column in columns.values())
        else ""
    )  # fmt: skip
    if fault:
        _log.warning("%s: %s; done again", path, fault)
        return None
    return Pack(keys, (features, columns), failures)


@dataclass(frozen=True)
class Finished:
    """Finished images of a feature file: key to the file with its rows, and key to the reason of a failure."""

    files: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add_pack(self, path: Path, *, augmentations: int, dim: int) -> bool:
        """Add the content of a pack; return False if it is damaged or gone."""
        pack = read_kept(path, augmentations=augmentations, dim=dim)
        if pack is not None:
            self.files.update(dict.fromkeys(pack.keys, path))
            self.failures.update(pack.failures)
        return pack is not None

    def rows(self, keys: Sequence[str], *, augmentations: int, dim: int) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of finished images by key, each time with the position of the first one.

        Raises
        ------
        StoreError
            A file is gone, cannot be read, or has no longer these rows.
        """
        with contextlib.ExitStack() as opened:
            readers: dict[Path, Callable[[Sequence[str]], Rows]] = {}
            for path, run in itertools.groupby(enumerate(keys), key=lambda item: self.files[item[1]]):
                places = list(run)
                if path not in readers:
                    for pack in [other for other in readers if other.suffix == ".npz"]:
                        del readers[pack]  # one pack in memory is enough: images are in the order of their blocks
                    if path.suffix == ".npz":
                        kept = read_kept(path, augmentations=augmentations, dim=dim)
                        if kept is None:
                            raise StoreError(f"{path}: changed meanwhile; run the same command again")
                        readers[path] = _reader(path, kept.keys, kept.rows[0].__getitem__, kept.rows[1])
                    else:
                        store = opened.enter_context(open_store(path))
                        columns = {name: store.images(name) for name in (*PER_IMAGE, PIXELS)}
                        readers[path] = _reader(path, store.keys.values(), store.features, columns)
                for start in range(0, len(places), _AT_ONCE):
                    piece = places[start : start + _AT_ONCE]
                    yield piece[0][0], readers[path]([key for _, key in piece])


def _reader(
    path: Path,
    keys: Iterable[str],
    features: Callable[[list[int]], npt.NDArray[np.float32]],
    columns: Columns,
) -> Callable[[Sequence[str]], Rows]:
    """Return a function that reads rows of a file by key; `features` reads them by position."""
    positions = {key: position for position, key in enumerate(keys)}

    def read(chosen: Sequence[str]) -> Rows:
        if not positions.keys() >= set(chosen):
            raise StoreError(f"{path}: changed meanwhile; run the same command again")
        places = [positions[key] for key in chosen]
        return features(places), {name: column[places] for name, column in columns.items()}

    return read
