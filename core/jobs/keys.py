"""Keys that identify results, and packs: files with the arrays of a finished result and its key."""

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

from .. import DAMAGE
from .parts import atomic_output

_log = logging.getLogger(__name__)

_KEY = "key"


def key_of(kind: str, **content: Any) -> str:
    """Return the key of a result: a SHA-256 checksum of everything that it depends on.

    Pass whole settings in their plain form, never a hand-picked list: a setting that is missing from a key leads to
    stale results. Pass weights, images and models by their checksums, so that the location of a file does not matter.

    Parameters
    ----------
    kind : str
        The kind of result, and the version of the code that computes it: ``"model 1"``. Code that computes other
        results needs another version.
    **content : JSON-ready values
        Everything that the result depends on.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError, ValueError
        A value cannot be written as JSON, or a number is not finite.

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
    """Return a value with whole floats as ints: a Python caller may pass 3, while the command line reads 3.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def save_arrays(handle: IO[bytes], arrays: Mapping[str, npt.ArrayLike], *, compressed: bool = False) -> None:
    """Write arrays as `numpy.savez` does, but refuse Python objects; equal arrays give equal bytes.

    `numpy.savez` itself cannot be used: before NumPy 2.2, it saves ``allow_pickle=False`` as another array.
    """
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                values: npt.NDArray[Any] = np.asanyarray(array)
                np.lib.format.write_array(member, values, allow_pickle=False)


def write_pack(path: Path, key: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write the arrays of a finished result to a file, atomically.

    Parameters
    ----------
    path : Path
    key : str
        See `bchisto.core.jobs.key_of`.
    arrays : mapping
        Name to array; texts and bytes are arrays of uint8.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, {_KEY: np.frombuffer(bytes.fromhex(key), np.uint8), **arrays})


def read_pack(path: Path, key: str, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of a finished result; None if the file does not exist, or (with a warning) if it is not valid.

    Parameters
    ----------
    path : Path
    key : str
        The expected key; a file with another key is not valid.
    shapes : mapping
        Name to shape of each required array; None stands for any length.
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
    """Return the reason why arrays do not have the expected key and shapes; None if they have."""
    if arrays[_KEY].tobytes().hex() != key:
        return "made under other settings"
    for name, shape in shapes.items():
        array = arrays[name]
        if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            return f"{name} has the shape {array.shape}"
    return None
