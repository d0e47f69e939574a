"""The descriptor store: one HDF5 file per encoder and view.

Schema 1. Per row (image, then augmentation): ``features`` float32 (rows, d), ``image_id``, ``label``, ``group``
UTF-8, ``augmentation`` int32. Per image, in the group ``images``: ``image_id``, ``sha256`` of the file, ``stains``
float32 (3, 2) with NaN where none were estimated, ``tissue`` share, ``residual``, ``normalisation_skipped``, and
``pixels_sha256`` of the decoded image, which is empty or absent where 0.1 made the part or the store.
Everything else is an attribute.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..arguments import PathInput, as_path
from ..errors import StoreError
from ..jobs import open_for_reading

__all__ = [
    "KIND",
    "LISTS",
    "PIXELS",
    "SCHEMA_VERSION",
    "TEXT",
    "Store",
    "check_schema",
    "open_file",
    "open_store",
    "read_attributes",
    "read_header",
]

SCHEMA_VERSION = 1
KIND = "bchisto descriptor store"
TEXT = h5py.string_dtype("utf-8")
LISTS = ("layers", "classes", "color_range")
PIXELS = "pixels_sha256"


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
        self.header = read_header(file)
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
        if PIXELS not in self._file["images"]:
            return {}
        found = zip(self.image_ids, self.images(PIXELS), strict=True)
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
    file, busy = open_file(path)
    try:
        check_schema(path, file)
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
    with open_file(path)[0] as file:
        check_schema(path, file)
        return read_header(file)


def open_file(path: Path) -> tuple[Any, bool]:
    """Open a store or part; also whether another process has it open for writing."""
    if not os.path.lexists(path):
        raise StoreError(f"{path}: no such descriptor store; run bchisto featurize first")
    return open_for_reading(path)


def _mend(fault: str, *, busy: bool) -> str:
    """Say what to do about a fault; what another process is writing may be whole once it is closed there."""
    if busy:
        return "open for writing in another program; close it there and try again"
    return f"{fault}; make it again with bchisto featurize --overwrite"


def check_schema(path: Path, file: Any) -> None:
    """Refuse a file that is no store or part, or one of a newer schema; `StoreError` says which."""
    version = file.attrs.get("schema_version")
    if version is None or file.attrs.get("kind") != KIND:
        raise StoreError(f"{path}: an HDF5 file, but not a bchisto descriptor store; make one with bchisto featurize")
    if int(version) > SCHEMA_VERSION:
        writer = file.attrs.get("bchisto_version", "a newer version")
        raise StoreError(
            f"{path}: schema {version}, written by bchisto {writer}, is newer than schema {SCHEMA_VERSION} read here; "
            f"upgrade: pip install 'bchisto>={writer}'"
        )


def read_header(file: Any) -> dict[str, Any]:
    """Return the attributes of an open store or part, lists as lists."""
    header: dict[str, Any] = {}
    for key, value in file.attrs.items():
        if key in LISTS:
            header[key] = [v.item() if isinstance(v, np.generic) else v for v in value]
        else:
            header[key] = value.item() if isinstance(value, np.generic) else value
    if "failures" in file:
        header["failures"] = file["failures"][()].decode()
    return header
