"""Pretrained weights of networks, of Keras and of Caffe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE, WeightsError, printable
from ..core.models import unpack_arrays
from ..encoders import WeightArrays, fill_weights, read_weight_arrays, variables_of
from .networks import NETWORKS
from .networks.layers import CaffeLayers, NetworkSpec

_FORMS = {2: (4, 6), 100: (1, 7)}
"""Field of a network with its layers, in the older and the newer form, to the fields of a layer: name and arrays."""

_SIDES, _SHAPE = (1, 2, 3, 4), 7
"""Fields of an array: in the older form its four sides, 1 by default, of which leading ones are no axes; its shape."""

_NUMBERS = {5: "<f4", 8: "<f8"}
"""Fields of an array with its numbers, to their type."""


def read_caffe(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a Caffe model: ``<layer>.weight``, ``.bias``, and ``.2`` and so on.

    Raises
    ------
    WeightsError
        The file cannot be read, is damaged, or has no layer with weights.

    References
    ----------
    ``caffe.proto`` of BVLC Caffe 1.0; Protocol Buffers, "Encoding".
    """
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    try:
        for number, layer in _fields(memoryview(path.read_bytes())):
            if number not in _FORMS:
                continue
            name_field, array_field = _FORMS[number]
            fields = list(_fields(layer))
            name = next((bytes(value).decode() for field, value in fields if field == name_field), "")
            for position, blob in enumerate(value for field, value in fields if field == array_field):
                key = f"{name}.{('weight', 'bias')[position] if position < 2 else position}"
                if not name or key in arrays:
                    raise ValueError(f"two layers called {printable(name[:100])}, or one without a name")
                arrays[key] = _array(blob)
    except DAMAGE as error:
        raise WeightsError(f"{path}: not a Caffe model, or damaged ({error})") from error
    if not arrays:
        raise WeightsError(f"{path}: not a Caffe model, or one without weights")
    return arrays


def _array(blob: memoryview) -> npt.NDArray[np.float32]:
    fields = list(_fields(blob))
    values = np.concatenate(
        [np.empty(0, np.float32), *(np.frombuffer(part, _NUMBERS[n]) for n, part in fields if n in _NUMBERS)]
    ).astype(np.float32, copy=False)
    if (own := dict(fields)).get(_SHAPE) is not None:
        shape = [side for _, packed in _fields(own[_SHAPE]) for side in _integers(packed)]
    else:
        shape = [int(own.get(side, 1)) for side in _SIDES]
        while len(shape) > 1 and shape[0] == 1:
            del shape[0]
    if math.prod(shape) != len(values):
        raise ValueError(f"{len(values):,} numbers do not fill the shape {tuple(shape)}")
    return values.reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field of a message; an integer is an `int` although it is not typed so."""
    start = 0
    while start < len(message):
        key, start = _integer(message, start)
        kind = key & 7
        if kind == 0:
            value, start = _integer(message, start)
            yield key >> 3, value  # type: ignore[misc]
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"no field is of the kind {kind}")
        size, start = _integer(message, start) if kind == 2 else (8 if kind == 1 else 4, start)
        if start + size > len(message):
            raise ValueError("it ends too early")
        yield key >> 3, message[start : start + size]
        start += size


def _integers(packed: memoryview | int) -> Iterator[int]:
    """Yield the integers of a repeated field: one, or several in one piece."""
    if isinstance(packed, int):
        yield packed
        return
    start = 0
    while start < len(packed):
        value, start = _integer(packed, start)
        yield value


def _integer(message: memoryview, start: int) -> tuple[int, int]:
    """Return an integer of a message, seven bits a byte from the lowest on, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = message[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
    raise ValueError("an integer of more than ten bytes")


CAFFE_LAYERS = {name: spec.caffe.names for name, spec in NETWORKS.items() if spec.caffe is not None}
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
        arrays = _from_caffe(arrays, network.caffe, {name: shapes[name] for name in shapes if name not in keep})
    fitting = [name for name in shapes if name in arrays and arrays[name].shape == shapes[name]]
    keep |= {name for name in shapes if name.startswith(f"{_LAST}/") and name in arrays and name not in fitting}

    def read(_model: Any) -> None:
        for name in fitting:
            if name not in keep:
                with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused below
                    variables[name].assign(arrays[name].astype(np.float32))

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
    """Load weights into a network from the bytes of `bchisto.core.models.pack_arrays`.

    Raises
    ------
    BundleError
        See `bchisto.core.models.unpack_arrays`.
    """
    variables = network_variables(model)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    for name, array in unpack_arrays(data, shapes, largest=float(np.finfo(np.float32).max)).items():
        variables[name].assign(array.astype(str(variables[name].dtype)))


def _from_caffe(arrays: WeightArrays, caffe: CaffeLayers, shapes: dict[str, tuple[int, ...]]) -> WeightArrays:
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
        converted[key] = _as_keras(theirs, shape, channels=caffe.flattened.get(whole, 0))
    return converted


def _as_keras(array: npt.NDArray[Any], shape: tuple[int, ...], *, channels: int) -> npt.NDArray[Any]:
    """Return a Caffe array in the order of axes of a Keras variable; `channels` are those of a flattened feature map.

    An array that does not fit keeps another shape, and is refused.
    """
    if not array.ndim or not array.size:
        return array
    if len(shape) == 1:
        return array.reshape(-1)
    if len(shape) == 4 and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if channels and array.size == math.prod(shape):
        # Caffe flattens the feature map channel by channel, Keras position by position
        side = math.isqrt(shape[0] // channels)
        return array.reshape(shape[1], channels, side, side).transpose(2, 3, 1, 0).reshape(shape)
    return array.reshape(len(array), -1).T
