"""Weights of our own networks from ``.npz`` or ``.safetensors`` by the layer map, and of trained ones in bundles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import WeightsError
from ..crossval import unpack_arrays
from ..encoders import WeightArrays, fill_weights, read_weight_arrays, variables_of
from .networks.registry import NETWORKS
from .networks.spec import CaffeLayers, NetworkSpec

CAFFE_LAYERS: dict[str, dict[str, str]] = {
    name: dict(spec.caffe.names) for name, spec in NETWORKS.items() if spec.caffe is not None
}
"""Of each network that has one, our layer to the layer of the published Caffe model (bvlc_alexnet, bvlc_googlenet)."""

_LAST = "classes"
"""The layer that ends every network; a file of another number of classes leaves it at its random start."""


def input_convention(path: Path) -> str:
    """Return what the first layer of a file takes: ``caffe`` where names end in ``.weight``, else ``signed``.

    Raises
    ------
    WeightsError
        See `load_pretrained`.
    """
    return "caffe" if _is_caffe(read_weight_arrays(path, values=False)) else "signed"


def _is_caffe(names: Iterable[str]) -> bool:
    return any(name.endswith(".weight") for name in names)


def load_pretrained(model: Any, path: Path, *, network: NetworkSpec, fresh: Sequence[str] = ()) -> None:
    """Load weights into a model.

    Names are ``<our layer>/kernel`` and ``<our layer>/bias``, kernels (rows, columns, in, out) as in Keras; or
    ``<Caffe layer>.weight`` and ``.bias``, kernels (out, in, rows, columns). The last layer keeps its random start
    where its number of classes is another.

    Parameters
    ----------
    model : keras.Model
    path : Path
        ``.npz``, also of ``bchisto finetune``, or ``.safetensors``.
    network : NetworkSpec
        What it is, for the layer map.
    fresh : sequence of str
        Layers whose name begins so keep their random start.

    Raises
    ------
    WeightsError
        A file that is missing or damaged, lacks a layer, or holds another architecture.
    """
    variables = network_variables(model)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    keep = {name for name in shapes if name.startswith(tuple(fresh))}
    arrays = read_weight_arrays(path)
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
                with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as that
                    variable.assign(array.astype(np.float32))

    filled = fill_weights(model, read, keep=keep)
    if not filled.whole:
        why = _why(filled.missing[0], shapes, arrays, network.name) if filled.missing else filled.reason
        raise WeightsError(f"{path}: {why}") from filled.error


def _why(name: str, shapes: dict[str, tuple[int, ...]], arrays: WeightArrays, network: str) -> str:
    """Say why a variable could not be had from the arrays of a file."""
    if name not in arrays:
        return f"has no {name}, so it is not of {network}; see the layer map"
    shape, needed = arrays[name].shape, shapes[name]
    if shape != needed:
        return f"{name} has the shape {shape}, {network} needs {needed}; these are weights of another architecture"
    return f"{name} holds NaN or infinite values; the file is damaged, or its training failed"


def network_variables(model: Any) -> dict[str, Any]:
    """Return the weights of a network by ``layer/variable``; those of an encoder in it by the encoder's layers."""
    named: dict[str, Any] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            named |= network_variables(layer)
    inside = {id(variable) for variable in named.values()}
    for layer, name, variable in variables_of(model):
        if id(variable) not in inside:
            key = f"{layer}/{name}"
            while key in named:  # parts of one layer, such as the kernels of an attention
                key += "_"
            named[key] = variable
    return named


def network_arrays(model: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the values of `network_variables`."""
    from keras import ops

    return {name: ops.convert_to_numpy(variable.value) for name, variable in network_variables(model).items()}


def load_network(model: Any, data: bytes) -> None:
    """Give a network the weights that `bchisto.crossval.pack_arrays` made bytes of.

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
    """Return the arrays of a Caffe model under our names and as Keras has them."""
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
    """Return an array of Caffe in the order of axes that a variable of this shape has."""
    if not array.ndim or not array.size:
        return array
    if len(shape) == 1:
        return array.reshape(-1)
    if len(shape) == 4 and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if flattened is not None:
        # the feature map is flattened by channel there, by place here
        side = int(np.sqrt(array.size // (len(array) * flattened)))
        if array.size != len(array) * flattened * side * side:
            raise WeightsError(
                f"{path}: {layer} has the shape {tuple(array.shape)}; these are weights of another architecture"
            )
        return array.reshape(len(array), flattened, side, side).transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.reshape(len(array), -1).T
