"""Pretrained weights of networks, of Keras and of Caffe."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import DAMAGE, Content, WeightsError, printable
from ..core.formats import Array, Floats32
from ..core.models import unpack_arrays
from ..encoders import WeightArrays, read_weight_arrays, variables_of
from .networks import NETWORKS
from .networks.spec import CaffeLayers, NetworkSpec

_FIELDS = {
    "Network": {2: ("older", "Older"), 100: ("newer", "Newer")},
    "Older": {4: ("name", "bytes"), 6: ("arrays", "Array")},
    "Newer": {1: ("name", "bytes"), 7: ("arrays", "Array")},
    "Array": {
        1: ("side1", "int"),
        2: ("side2", "int"),
        3: ("side3", "int"),
        4: ("side4", "int"),
        5: ("floats", "bytes"),
        7: ("shape", "Shape"),
        8: ("doubles", "bytes"),
    },
    "Shape": {1: ("sides", "int")},
}
"""Messages of ``caffe.proto`` of BVLC Caffe 1.0: numbers, names and kinds of the fields that hold weights. A network
has its layers in the older or the newer form, and an array four sides, of which leading ones are no axes, or a shape.
Packed numbers are bytes. Every field counts as repeated; others are skipped."""

_KINDS = {"int": 3, "bytes": 12}
"""Kinds of fields, to their number in ``descriptor.proto``; that of messages is 11, and that of repeated fields 3."""

_PARTS = {0: "weight", 1: "bias"}
"""Arrays of a layer by their position."""


@functools.cache
def _caffe_network() -> Any:
    """Return the class of messages of protobuf, on which TensorFlow depends, that hold a Caffe network."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto")
    for message, fields in _FIELDS.items():
        message_type = file.message_type.add(name=message)
        for number, (name, kind) in fields.items():
            type_name = f".{kind}" if kind in _FIELDS else None
            message_type.field.add(
                name=name, number=number, label=3, type=_KINDS.get(kind, 11), type_name=type_name
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Network"))


def read_caffe(path: Path) -> WeightArrays:
    """Return the arrays of a Caffe model: ``<layer>.weight``, ``.bias``, and ``.2`` and so on.

    Raises
    ------
    WeightsError
        The file cannot be read, is damaged, or has no layer with weights.
    """
    from google.protobuf.message import DecodeError

    arrays = {}
    try:
        network = _caffe_network().FromString(path.read_bytes())
        for layer in (*network.older, *network.newer):
            name = b"".join(layer.name).decode()
            for position, array in enumerate(layer.arrays):
                key = f"{name}.{_PARTS.get(position, position)}"
                if not name or key in arrays:
                    raise ValueError(
                        f"two layers called {printable(name[:100])}, or one without a name"
                    )
                arrays[key] = _array(array)
    except (*DAMAGE, DecodeError) as error:
        raise WeightsError(
            f"{path}: not a Caffe model, or damaged ({error}); copy it again"
        ) from error
    if not arrays:
        raise WeightsError(
            f"{path}: not a Caffe model, or one without weights; give the .caffemodel"
        )
    return arrays


def _array(array: Any) -> Floats32:
    parts = [np.frombuffer(part, "<f4") for part in array.floats]
    parts += [np.frombuffer(part, "<f8") for part in array.doubles]
    values = np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32, copy=False)
    if array.shape:
        shape = [side for part in array.shape for side in part.sides]
    else:
        shape = [(getattr(array, f"side{side}") or [1])[-1] for side in (1, 2, 3, 4)]
        while len(shape) > 1 and shape[0] == 1:
            del shape[0]
    if math.prod(shape) != len(values):
        raise ValueError(f"{len(values):,} numbers do not fill the shape {tuple(shape)}")
    return values.reshape(shape)


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
    if path.suffix == _CAFFE or _is_caffe(read_weight_arrays(path, values=False)):
        return "caffe"
    return "signed"


def _is_caffe(names: Iterable[str]) -> bool:
    return any(name.endswith(".weight") for name in names)


def load_pretrained(model: Any, path: Path, *, network: NetworkSpec, fresh: Sequence[str]) -> None:
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
    targets = {
        name: variable
        for name, variable in network_variables(model).items()
        if not name.startswith(tuple(fresh))
    }
    shapes = {name: tuple(variable.shape) for name, variable in targets.items()}
    reader = read_caffe if path.suffix == _CAFFE else read_weight_arrays
    arrays = reader(path)
    if _is_caffe(arrays):
        if network.caffe is None:
            raise WeightsError(
                f"{path}: a Caffe model; only {', '.join(CAFFE_LAYERS)} are read from one"
            )
        arrays = _from_caffe(arrays, network.caffe, shapes)
    for name, variable in targets.items():
        array = arrays.get(name, np.empty(0))
        is_valid = name in arrays and array.shape == shapes[name]
        if name in arrays and not is_valid and name.startswith(f"{_LAST}/"):
            continue  # the file has another number of classes
        with np.errstate(over="ignore"):  # values beyond float32 become infinite
            values = array.astype(np.float32)
        if not is_valid or not np.isfinite(values).all():
            raise WeightsError(
                f"{path}: has no {name} of finite values and of the shape {shapes[name]}, so it is not of "
                f"{network.name}"
            )
        variable.assign(values)


def network_variables(model: Any) -> Content:
    """Return the weights of a network by ``layer/variable``; a nested encoder contributes its own layers."""
    variables: Content = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            variables |= network_variables(layer)
    nested_ids = {id(variable) for variable in variables.values()}
    for layer, name, variable in variables_of(model):
        if id(variable) not in nested_ids:
            key = f"{layer}/{name}"
            while key in variables:  # several parts of a layer, such as the kernels of attention
                key += "_"
            variables[key] = variable
    return variables


def network_arrays(model: Any) -> WeightArrays:
    """Return the weights of a network as arrays, with the names of `network_variables`."""
    from keras import ops

    return {
        name: ops.convert_to_numpy(variable.value)
        for name, variable in network_variables(model).items()
    }


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


def _from_caffe(
    arrays: WeightArrays, caffe: CaffeLayers, shapes: dict[str, tuple[int, ...]]
) -> WeightArrays:
    """Return the arrays of a Caffe model with bchisto's names and in Keras's order of axes."""
    converted = {}
    for key, shape in shapes.items():
        layer, _, name = key.rpartition("/")
        group_layer = re.sub("_[ab]$", "", layer)  # the layer itself, unless it is half of one
        part = "weight" if name == "kernel" else "bias"
        array = arrays.get(f"{caffe.names.get(group_layer)}.{part}")
        if array is None:
            continue
        middle = len(array) // 2
        if layer == f"{group_layer}_a":
            array = array[:middle]
        elif layer == f"{group_layer}_b":
            array = array[middle:]
        converted[key] = _as_keras(array, shape, channels=caffe.flattened.get(group_layer, 0))
    return converted


def _as_keras(array: Array, shape: tuple[int, ...], *, channels: int) -> Array:
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
