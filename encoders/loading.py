"""Load weights from files into networks, and detect files that lack some of them.

Keras silently skips some weights that a file lacks. So every variable is set to NaN before a file is read: a variable
that is not finite afterwards was not in the file. Such a file is refused as a whole.
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
from ..core.formats import check_tree, check_zip, hdf5_trouble, limits
from .network import variables_of

WeightArrays = dict[str, npt.NDArray[Any]]
"""Arrays of a weights file, by name."""


@dataclass(frozen=True)
class Filled:
    """The result of reading weights into a network.

    Attributes
    ----------
    error : Exception or None
        The exception that stopped the reading.
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
        """Reason why the network does not have all its weights, in a few words."""
        if self.error is not None:
            return first_line(self.error)
        more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
        return f"it lacks {self.missing[0]}{more}"


def fill_weights(model: Any, read: Callable[[Any], None], *, needed: Any = None, keep: Collection[str] = ()) -> Filled:
    """Read weights into a network, and find variables that are missing afterwards.

    Parameters
    ----------
    model : keras.Model
    read : callable
        Function that assigns the variables of a model.
    needed : keras.Model, optional
        The part of `model` whose variables are required; by default the whole model.
    keep : collection of str
        Variables, as ``layer/variable``, that keep their present values.

    Returns
    -------
    Filled
        If it is not whole, the variables of `model` must not be used.
    """
    preserved = [(variable, np.array(as_float32(variable))) for name, variable in _named(model) if name in keep]
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
    for variable, value in preserved:
        variable.assign(value)
    missing = [name for name, variable in _named(needed or model) if not np.isfinite(as_float32(variable)).all()]
    return Filled(error, tuple(missing))


def _named(model: Any) -> list[tuple[str, Any]]:
    return [(f"{layer}/{name}", variable) for layer, name, variable in variables_of(model)]


def as_float32(variable: Any) -> npt.NDArray[np.float32]:
    """Return the value of a Keras variable as a float32 array."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value), dtype=np.float32)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0][:200])


def read_keras(path: Path) -> Callable[[Any], None]:
    """Return a function, for `fill_weights`, that loads Keras's ``.weights.h5`` or published ``.h5`` into a model."""

    def read(model: Any) -> None:
        with warnings.catch_warnings():
            # Keras warns about each missing container; `fill_weights` checks the result instead
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(str(path))

    return read


def keras_trouble(path: Path) -> str | None:
    """Return the reason why a file is unsafe for Keras; None if it is HDF5 that contains only numbers of its own."""
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
        If false, return only the names, each with an empty array; this is fast.

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another format, or unpacks to more than a network can hold.
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
    """Return the content of a weights file, unchecked."""
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
    raise WeightsError(f"{path}: give weights as .npz or .safetensors")
