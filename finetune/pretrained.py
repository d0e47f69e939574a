"""Weights of our own networks from ``.npz``, ``.safetensors`` or ``.weights.h5``, by the layer map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import WeightsError
from ..encoders import WeightArrays, fill_weights, load_keras_file, read_weight_arrays, variables_of
from ..jobs import atomic_output, claim_space
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
    if path.name.endswith(".h5"):
        return "signed"
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
        ``.npz``, ``.safetensors``, or ``.weights.h5`` of ``bchisto finetune``.
    network : NetworkSpec
        What it is, for the layer map.
    fresh : sequence of str
        Layers whose name begins so keep their random start.

    Raises
    ------
    WeightsError
        A file that is missing or damaged, lacks a layer, or holds another architecture.
    """
    variables = {f"{layer}/{name}": variable for layer, name, variable in variables_of(model)}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    keep = {name for name in shapes if name.startswith(tuple(fresh))}
    if path.name.endswith(".h5"):
        load_keras_file(model, path, of=network.name, keep=keep)
        return
    arrays = read_weight_arrays(path)
    if _is_caffe(arrays):
        if network.caffe is None:
            raise WeightsError(f"{path}: a Caffe model; only {', '.join(CAFFE_LAYERS)} are read from one")
        arrays = _from_caffe(arrays, network.caffe, {name: shapes[name] for name in shapes if name not in keep}, path)
    last = [name for name in shapes if name.startswith(f"{_LAST}/") and name in arrays]
    keep |= {name for name in last if arrays[name].shape != shapes[name]}

    def read(_model: Any) -> None:
        for name, variable in variables.items():
            found = arrays.get(name)
            if name not in keep and found is not None and found.shape == shapes[name]:
                with np.errstate(over="ignore"):  # what is past float32 is infinite, and refused as that
                    variable.assign(found.astype(np.float32))

    filled = fill_weights(model, read, keep=keep)
    if not filled.whole:
        why = _why(filled.missing[0], shapes, arrays, network.name) if filled.missing else filled.reason
        raise WeightsError(f"{path}: {why}") from filled.error


def _why(name: str, shapes: dict[str, tuple[int, ...]], arrays: WeightArrays, network: str) -> str:
    """Say why a variable could not be had from the arrays of a file."""
    if name not in arrays:
        return f"has no {name}, so it is not of {network}; see the layer map"
    found, needed = arrays[name].shape, shapes[name]
    if found != needed:
        return f"{name} has the shape {found}, {network} needs {needed}; these are weights of another architecture"
    return f"{name} holds values that are no finite numbers; the file is damaged, or its training failed"


def save_h5(model: Any, path: Path) -> None:
    """Write the weights of a model, without the state of its optimiser, which is twice as large.

    The file is Keras's ``.weights.h5`` but for names that Keras counts up in a process (``functional_1``), which stand
    as they would in a fresh one: equal weights give equal bytes.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import keras

    bare = keras.Model(model.inputs, model.outputs)
    size = sum(int(np.prod(variable.shape)) * 4 for variable in bare.variables)
    with atomic_output(path) as temporary:
        claim_space(temporary, 2 * size)
        # Keras wants the suffix, so it writes beside
        beside = temporary.with_name(f"{temporary.name}.weights.h5")
        try:
            bare.save_weights(beside)
            _rewrite(beside, temporary)
        finally:
            beside.unlink(missing_ok=True)


def _rewrite(source: Path, target: Path) -> None:
    """Copy an HDF5 file of Keras in the order of its names, without names that follow from a count in the process."""
    import h5py

    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:

        def copy(group: Any, into: Any, own: str) -> None:
            for key, value in sorted(group.attrs.items()):
                into.attrs[key] = own if key == "name" and _is_automatic(str(value), own) else value
            for key in sorted(group):
                if isinstance(group[key], h5py.Group):
                    copy(group[key], into.create_group(key), own if key == "vars" else key)
                else:
                    found = into.create_dataset(key, data=group[key][()])
                    for name, value in sorted(group[key].attrs.items()):
                        found.attrs[name] = value

        copy(old, new, "functional")


def _is_automatic(name: str, own: str) -> bool:
    """Whether a name is that of its group but for the number at its end; the group's own number is its place."""
    return re.sub(r"_\d+$", "", name) == re.sub(r"_\d+$", "", own)


def _from_caffe(
    arrays: WeightArrays, caffe: CaffeLayers, shapes: dict[str, tuple[int, ...]], path: Path
) -> WeightArrays:
    """Return the arrays of a Caffe model under our names and as Keras has them."""
    found: WeightArrays = {}
    for key, shape in shapes.items():
        layer, _, name = key.rpartition("/")
        whole = re.sub("_[ab]$", "", layer)
        theirs = arrays.get(f"{caffe.names.get(whole)}.{'weight' if name == 'kernel' else 'bias'}")
        if theirs is None:
            continue
        if layer != whole:
            middle = len(theirs) // 2
            theirs = theirs[:middle] if layer.endswith("_a") else theirs[middle:]
        found[key] = _as_keras(theirs, shape, flattened=caffe.flattened.get(whole), layer=whole, path=path)
    return found


def _as_keras(
    found: npt.NDArray[Any], shape: tuple[int, ...], *, flattened: int | None, layer: str, path: Path
) -> npt.NDArray[Any]:
    """Return an array of Caffe in the order of axes that a variable of this shape has."""
    if not found.ndim or not found.size:
        return found
    if len(shape) == 1:
        return found.reshape(-1)
    if len(shape) == 4 and found.ndim == 4:
        return found.transpose(2, 3, 1, 0)
    if flattened is not None:
        # the feature map is flattened by channel there, by place here
        side = int(np.sqrt(found.size // (len(found) * flattened)))
        if found.size != len(found) * flattened * side * side:
            raise WeightsError(
                f"{path}: {layer} has the shape {tuple(found.shape)}; these are weights of another architecture"
            )
        return found.reshape(len(found), flattened, side, side).transpose(2, 3, 1, 0).reshape(-1, len(found))
    return found.reshape(len(found), -1).T
