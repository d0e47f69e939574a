"""Read and write embeddings as NPZ, without pickle."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..core.formats import FEATURES, check_zip, choose_column, limits
from ..core.jobs import atomic_output, save_arrays
from .embeddings import Embeddings, choose_known, read_facts, reading


def read_npz(path: Path) -> Embeddings:
    """Read features, ids, labels and groups from an NPZ file; `bchisto.core.formats.columns` lists the names of arrays.

    Raises
    ------
    InputError
        The file is damaged, too large, without features or ids, or has arrays of Python objects; or see
        `Embeddings.of`.
    """
    with reading(path, "not an NPZ file, or damaged ({})"):
        check_zip(path, members=limits.EMBEDDING_ARRAYS)
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if sum(names.values()) > limits.EMBEDDING_BYTES:
            raise InputError(f"{path}: unpacks to more than {limits.EMBEDDING_BYTES // 1024**3} GiB; split it")
        with np.load(path, allow_pickle=False) as file:
            features = choose_column(file.files, FEATURES, where=path, values=lambda _: ())
            if features is None:
                raise InputError(
                    f"{path}: has no array features (or embeddings, X); it has {sorted(names)[:10]}; name embeddings "
                    "so, or save images in it as PNG files for bchisto featurize"
                )
            array = _array(path, file, features)
            columnar = [name for name in file.files if name not in (features, "bchisto")]
            columns, unread = choose_known(path, columnar, lambda name: _column(path, _array(path, file, name), name))
            about = str(_array(path, file, "bchisto")) if "bchisto" in file.files else ""
    return Embeddings.of(path, array, columns, read_facts(path, about) if about else None, unread=unread)


def _array(path: Path, file: Any, name: str) -> Any:
    """Return an array of the file; refuse one of Python objects."""
    try:
        return file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{path}: {name} holds Python objects, which only pickle reads; save it as plain numbers or text, "
            "for example np.array(ids, dtype=str)"
        ) from error


def _column(path: Path, values: npt.NDArray[Any], name: str) -> list[Any]:
    whole = values.dtype.kind == "f" and bool(np.all(np.isnan(values) | (values == np.round(values))))
    if values.ndim != 1 or not (values.dtype.kind in "USiub" or whole):
        raise InputError(f"{path}: {name} is {values.dtype} of shape {values.shape}; it must be one text per image")
    texts: list[Any] = values.tolist()
    return texts


def write_npz(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings as NPZ. Equal embeddings give equal bytes."""
    buffer = io.BytesIO()
    columns = {name: np.array(column, dtype=np.str_) for name, column in embeddings.columns.items()}
    save_arrays(buffer, {"features": embeddings.plain, **columns, "bchisto": np.array(embeddings.about)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
