"""Load weights of bchisto's networks from ``.npz``, ``.safetensors`` and Caffe's files, and from model files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import WeightsError
from ..core.models import unpack_arrays
from ..encoders import WeightArrays, fill_weights, read_weight_arrays, variables_of
from .caffe import read_caffe
from .networks.registry import NETWORKS
from .networks.spec import CaffeLayers, NetworkSpec

CAFFE_LAYERS: dict[str, dict[str, str]] = {
    name: dict(spec.caffe.names) for name, spec in NETWORKS.items() if spec.caffe is not None
}
"""For each network with a published Caffe model (bvlc_alexnet, bvlc_googlenet): bchisto's layer to the Caffe layer."""

_CAFFE = ".caffemodel"

_LAST = "classes"
"""The last layer of every network. It stays random if a weights file has another number of classes."""


def input_convention(path: Path) -> str:
    """Return the input convention of a weights file: ``caffe`` if names end in ``.weight``, else ``signed``.

    Raises
    ------
    WeightsError
        See `load_pretrained`.
    """
    return "caffe" if path.suffix == _CAFFE or _is_caffe(read_weight_arrays(path, values=False)) else "signed"


def _is_caffe(names: Iterable[str]) -> bool:
    return any(name.endswith(".weight") for name in names)


def load_pretrained(model: Any, path: Path, *, network: NetworkSpec, fresh: Sequence[str] = ()) -> None:
    """Load weights from a file into a network.

    Arrays are named ``<layer>/kernel`` and ``<layer>/bias``, with kernels (rows, columns, in, out) as in Keras; or
    ``<Caffe layer>.weight`` and ``.bias``, with kernels (out, in, rows, columns). The last layer stays random if the
    file has another number of classes.

    Parameters
    ----------
    model : keras.Model
    path : Path
        ``.npz``, also of ``bchisto finetune``, ``.safetensors``, or ``.caffemodel``.
    network : NetworkSpec
        Specification of the network, with its layer map.
    fresh : sequence of str
        Prefixes of the names of layers that stay random.

    Raises
    ------
    WeightsError
        The file is missing or damaged, lacks a layer, or is of another architecture.
    """
    variables = network_variables(model)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    keep = {name for name in shapes if name.startswith(tuple(fresh))}
    arrays: WeightArrays = {**(read_caffe(path) if path.suffix == _CAFFE else read_weight_arrays(path))}
    if _is_caffe(arrays):
        if network.caffe is None:
            raise WeightsError(f"{path}: a Caffe model; only {', '.join(CAFFE_LAYERS)} are read from one")
        arrays = _from_caffe(arrays, network.caffe, {name: shapes[name] for name in shapes if name not in keep}, path)
    last = [name for name in shapes if name.startswith(f"{_LAST}/") and name in arrays]
    keep |= {name for name in last if arrays[name].shape != shapes[name]}

    def read(_model: Any) -> None:
        for name, variable in variables.items():
            array = arrays.get(name)
            if name not in keep and array is not None and array.shape == shapes[name]:
                with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused below
                    variable.assign(array.astype(np.float32))

    filled = fill_weights(model, read, keep=keep)
    if not filled.whole:
        why = _why(filled.missing[0], shapes, arrays, network.name) if filled.missing else filled.reason
        raise WeightsError(f"{path}: {why}") from filled.error


def _why(name: str, shapes: dict[str, tuple[int, ...]], arrays: WeightArrays, network: str) -> str:
    """Return the reason why a variable could not be loaded from the arrays of a file."""
    if name not in arrays:
        return f"has no {name}, so it is not of {network}; see the layer map"
    shape, needed = arrays[name].shape, shapes[name]
    if shape != needed:
        return f"{name} has the shape {shape}, {network} needs {needed}; these are weights of another architecture"
    return f"{name} holds NaN or infinite values; the file is damaged, or its training failed"


def network_variables(model: Any) -> dict[str, Any]:
    """Return the weights of a network by ``layer/variable``; a nested encoder contributes its own layers."""
    named: dict[str, Any] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            named |= network_variables(layer)
    inside = {id(variable) for variable in named.values()}
    for layer, name, variable in variables_of(model):
        if id(variable) not in inside:
            key = f"{layer}/{name}"
            while key in named:  # several parts of a layer, such as the kernels of attention
                key += "_"
            named[key] = variable
    return named


def network_arrays(model: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the weights of a network as arrays, with the names of `network_variables`."""
    from keras import ops

    return {name: ops.convert_to_numpy(variable.value) for name, variable in network_variables(model).items()}


def load_network(model: Any, data: bytes) -> None:
    """Load weights into a network from the bytes of `bchisto.crossval.pack_arrays`.

    Raises
    ------
    BundleError
        See `bchisto.crossval.unpack_arrays`.
    """
    variables = network_variables(model)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    for name, array in unpack_arrays(data, shapes, largest=float(np.finfo(np.float32).max)).items():
        variables[name].assign(array.astype(str(variables[name].dtype)))


def _from_caffe(
    arrays: WeightArrays, caffe: CaffeLayers, shapes: dict[str, tuple[int, ...]], path: Path
) -> WeightArrays:
    """Return the arrays of a Caffe model with bchisto's names and in Keras's order of axes."""
    converted: WeightArrays = {}
    for key, shape in shapes.items():
        layer, _, name = key.rpartition("/")
        whole = re.sub("_[ab]$", "", layer)
        theirs = arrays.get(f"{caffe.names.get(whole)}.{'weight' if name == 'kernel' else 'bias'}")
        if theirs is None:
            continue
        if layer != whole:
            middle = len(theirs) // 2
            theirs = theirs[:middle] if layer.endswith("_a") else theirs[middle:]
        converted[key] = _as_keras(theirs, shape, flattened=caffe.flattened.get(whole), layer=whole, path=path)
    return converted


def _as_keras(
    array: npt.NDArray[Any], shape: tuple[int, ...], *, flattened: int | None, layer: str, path: Path
) -> npt.NDArray[Any]:
    """Return a Caffe array in the order of axes of a Keras variable with this shape."""
    if not array.ndim or not array.size:
        return array
    if len(shape) == 1:
        return array.reshape(-1)
    if len(shape) == 4 and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if flattened is not None:
        # Caffe flattens the feature map channel by channel, Keras position by position
        side = int(np.sqrt(array.size // (len(array) * flattened)))
        if array.size != len(array) * flattened * side * side:
            raise WeightsError(
                f"{path}: {layer} has the shape {tuple(array.shape)}; these are weights of another architecture"
            )
        return array.reshape(len(array), flattened, side, side).transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.reshape(len(array), -1).T
