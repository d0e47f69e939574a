"""Packs: files of arrays that are finished things, each with the key under which it was made."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..formats import DAMAGE
from .arrays import save_arrays
from .parts import atomic_output

_log = logging.getLogger(__name__)

_KEY = "key"


def write_pack(path: Path, key: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write the arrays of a finished thing, atomically.

    Parameters
    ----------
    path : Path
    key : str
        See `bchisto.jobs.key_of`.
    arrays : mapping
        Name to array; a text or bytes as an array of uint8.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, {_KEY: np.frombuffer(bytes.fromhex(key), np.uint8), **arrays})


def read_pack(path: Path, key: str, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of a finished thing; None if it is not there, or does not hold, which a warning says.

    Parameters
    ----------
    path : Path
    key : str
        Under which it is wanted. A file of another key is not it.
    shapes : mapping
        Name to the shape of each array that must be there, None for any length.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle), np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        fault = _fault(arrays, key, shapes)
    except DAMAGE as error:
        fault = str(error) or type(error).__name__
    if fault is None:
        return arrays
    _log.warning("%s: not whole (%s); made again", path, fault)
    return None


def _fault(arrays: Mapping[str, npt.NDArray[Any]], key: str, shapes: Mapping[str, Sequence[int | None]]) -> str | None:
    """Say why arrays are not the thing that is wanted; None if they are."""
    if arrays[_KEY].tobytes().hex() != key:
        return "made under other settings"
    for name, shape in shapes.items():
        array = arrays[name]
        if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            return f"{name} has the shape {array.shape}"
    return None
