"""Keys of what is made, and packs: files of arrays that are finished things, each with its key."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE
from .parts import atomic_output

_log = logging.getLogger(__name__)

_KEY = "key"


def key_of(kind: str, **content: Any) -> str:
    """Return the key of a thing.

    Settings go in as whole values in their plain form, never as a hand-picked list: what is left out of a key gives
    stale results. Weights, images and models go in by their hashes, so that where a file lies changes nothing.

    Parameters
    ----------
    kind : str
        What is made, and the version of the code that makes it: ``"model 1"``. A change of the code that changes
        results is another version.
    **content : JSON-ready values
        All that decides the thing.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError, ValueError
        Something is no JSON, or a number is not finite.

    Examples
    --------
    >>> key_of("row 1", pool=3, view=(0.5, 400)) == key_of("row 1", view=[0.5, 400.0], pool=3.0)
    True
    >>> key_of("row 1", pool=3) == key_of("row 2", pool=3)
    False
    """
    text = json.dumps([kind, _canonical(content)], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a value with its whole numbers as such: Python callers write 3 where the command line reads 3.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def save_arrays(handle: IO[bytes], arrays: Mapping[str, npt.ArrayLike], *, compressed: bool = False) -> None:
    """Write arrays as `numpy.savez` does, and refuse Python objects; equal arrays give equal bytes.

    NumPy before 2.2 takes ``allow_pickle=False`` for one more array.
    """
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                values: npt.NDArray[Any] = np.asanyarray(array)
                np.lib.format.write_array(member, values, allow_pickle=False)


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
    _log.warning("%s: incomplete (%s); made again", path, fault)
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
