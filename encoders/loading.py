"""Weights from files into networks: the formats, and one rule for files that lack some of them.

A network takes its weights from a file whole or not at all. What a file lacks Keras passes over in silence, in part, so
every variable is NaN before the file is read; one that is not finite afterwards did not come from it.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE, BchistoError, StoreError, WeightsError, printable
from ..formats import check_tree, check_zip, hdf5_trouble, limits
from .network import variables_of

WeightArrays = dict[str, npt.NDArray[Any]]
"""Arrays of a file by name."""


@dataclass(frozen=True)
class Filled:
    """What came of reading weights into a network.

    Attributes
    ----------
    error : Exception or None
        What stopped the reading.
    missing : tuple of str
        Variables without finite values, as ``layer/variable``, in layer order.
    """

    error: Exception | None
    missing: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the network has all its weights."""
        return self.error is None and not self.missing

    @property
    def reason(self) -> str:
        """Why it has not, in a few words."""
        if self.error is not None:
            return first_line(self.error)
        more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
        return f"it lacks {self.missing[0]}{more}"


def fill_weights(model: Any, read: Callable[[Any], None], *, needed: Any = None, keep: Collection[str] = ()) -> Filled:
    """Read weights into a network, and find what is missing then.

    Parameters
    ----------
    model : keras.Model
    read : callable
        Assigns the variables of a model.
    needed : keras.Model, optional
        The part of `model` whose variables must be there; by default all of it.
    keep : collection of str
        Variables, as ``layer/variable``, that keep the values they have, whatever is read.

    Returns
    -------
    Filled
        Where it is not whole, the variables hold nothing of use.
    """
    kept = [(variable, np.array(as_float32(variable))) for name, variable in _named(model) if name in keep]
    for name, variable in _named(model):
        if name not in keep and "float" in str(variable.dtype):
            variable.assign(np.full(tuple(variable.shape), np.nan, np.float32))
    error = None
    try:
        read(model)
    except BchistoError:
        raise
    except DAMAGE as caught:
        error = caught
    for variable, value in kept:
        variable.assign(value)
    missing = [name for name, variable in _named(needed or model) if not np.isfinite(as_float32(variable)).all()]
    return Filled(error, tuple(missing))


def _named(model: Any) -> list[tuple[str, Any]]:
    return [(f"{layer}/{name}", variable) for layer, name, variable in variables_of(model)]


def as_float32(variable: Any) -> npt.NDArray[np.float32]:
    """Return the value of a variable of Keras."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value), dtype=np.float32)


def first_line(error: BaseException) -> str:
    """Return what an error says, cut to one line."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0][:200])


def read_keras(path: Path) -> Callable[[Any], None]:
    """Return what reads Keras's ``.weights.h5`` or published ``.h5`` into a model, see `fill_weights`."""

    def read(model: Any) -> None:
        with warnings.catch_warnings():
            # Keras warns of every container that a file of another network lacks; the outcome is checked instead.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(str(path))

    return read


def keras_trouble(path: Path) -> str | None:
    """Say why a file must not be given to Keras; None where it is HDF5 with numbers of its own and nothing else."""
    trouble = hdf5_trouble(path)
    if trouble is None:
        try:
            check_tree(path)
        except StoreError as error:
            trouble = str(error).removeprefix(f"{path}: ")
    return trouble


def read_weight_arrays(path: Path, *, values: bool = True) -> WeightArrays:
    """Return the arrays of a ``.npz`` or ``.safetensors`` file by name.

    Parameters
    ----------
    path : Path
    values : bool
        Off for the names alone, each with an empty array: they cost nothing to read.

    Raises
    ------
    WeightsError
        A file that is missing, damaged, of another format, or unpacks to more than a network can hold.
    """
    if not path.is_file():
        raise WeightsError("{}: no such weights file; give a .npz or .safetensors file, or {weights:random}", path)
    try:
        arrays = _read(path, values=values)
    except DAMAGE as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: not a weights file, or damaged ({first_line(error)})") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
            held = array.dtype if isinstance(array, np.ndarray) else "bytes"
            raise WeightsError(f"{path}: {printable(name[:100])} holds {held}, not numbers that are weights")
    return arrays


def _read(path: Path, *, values: bool) -> WeightArrays:
    """Return what a file holds, whatever that is."""
    size = path.stat().st_size
    if path.suffix == ".npz":
        check_zip(path, members=limits.WEIGHTS_ARRAYS)
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > min(limits.WEIGHTS_BYTES, max(limits.WEIGHTS_SMALL, limits.WEIGHTS_RATIO * size)):
                raise WeightsError(f"{path}: unpacks to more than a network can hold; it is not read")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] if values else np.empty(0) for name in file.files}
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                return {name: file.get_tensor(name) if values else np.empty(0) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise WeightsError(f"{path}: not a safetensors file, or damaged ({first_line(error)})") from error
    if path.suffix == ".caffemodel":
        raise WeightsError(
            f"{path}: convert it once: python tools/convert_caffe.py {path.name} {path.stem}.safetensors"
        )
    raise WeightsError(f"{path}: give weights as .npz or .safetensors")
