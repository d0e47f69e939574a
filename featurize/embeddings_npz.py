"""Embeddings as NPZ, read without pickle."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import atomic_output, check_zip, save_arrays
from .embeddings import COLUMNS, MOST_BYTES, Embeddings, read_facts, reading

_NAMES = {
    "features": ("features", "embeddings", "X"),
    "image_id": ("image_id", "image_ids", "slide_id", "slide_ids", "ids", "filenames"),
    "label": ("label", "labels"),
    "group": ("group", "groups"),
    "bchisto": ("bchisto",),
}
"""Names that an array may have; the first that is there is taken."""


_MOST_ARRAYS = 1_000
"""Bound on the arrays of a file (ours)."""


def read_npz(path: Path) -> Embeddings:
    """Read ``features`` (or ``embeddings``, ``X``), ``image_id`` (or ``ids``, ``filenames``, ...), labels and groups.

    Raises
    ------
    InputError
        Damaged, too large, without features or ids, arrays of Python objects, or see `Embeddings.of`.
    """
    with reading(path, "not an NPZ file, or damaged ({})"):
        check_zip(path, members=_MOST_ARRAYS)
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if sum(names.values()) > MOST_BYTES:
            raise InputError(f"{path}: unpacks to more than {MOST_BYTES // 1024**3} GiB; split it")
        with np.load(path, allow_pickle=False) as file:
            found = {name: _array(path, file, wanted) for name, wanted in _NAMES.items()}
    arrays = {name: array for name, array in found.items() if array is not None}
    for name in ("features", "image_id"):
        if name not in arrays:
            others = ", ".join(_NAMES[name][1:])
            raise InputError(f"{path}: holds no array {name} (or {others}); it has {sorted(names)}")
    columns = {name: _column(path, arrays[name], name) for name in COLUMNS if name in arrays}
    facts = read_facts(path, str(arrays["bchisto"])) if "bchisto" in arrays else None
    return Embeddings.of(path, arrays["features"], columns, facts)


def _array(path: Path, file: Any, names: tuple[str, ...]) -> Any:
    """Return the first array of these names that is there."""
    for name in names:
        if name in file.files:
            try:
                return file[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise InputError(
                    f"{path}: {name} holds Python objects, which only pickle reads; save it as plain numbers or text, "
                    "for example np.array(ids, dtype=str)"
                ) from error
    return None


def _column(path: Path, values: npt.NDArray[Any], name: str) -> list[Any]:
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        raise InputError(f"{path}: {name} is {values.dtype} of shape {values.shape}; it must be one text per image")
    found: list[Any] = values.tolist()
    return found


def write_npz(path: Path, found: Embeddings) -> None:
    """Write embeddings; equal ones give equal bytes."""
    buffer = io.BytesIO()
    columns = {name: np.array(column, dtype=np.str_) for name, column in found.columns.items()}
    save_arrays(buffer, {"features": found.plain, **columns, "bchisto": np.array(found.about)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
