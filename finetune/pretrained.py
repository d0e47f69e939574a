"""Weights of our own networks from ``.npz``, ``.safetensors`` or ``.weights.h5``, by the layer map of the docs."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import WeightsError
from ..jobs import DAMAGE, atomic_output, claim_space

__all__ = ["CAFFE_LAYERS", "input_convention", "is_whole_h5", "load_h5", "load_pretrained", "save_h5"]

Arrays = dict[str, npt.NDArray[Any]]

_MOST_BYTES = 4 * 1024**3
"""Bound on what a weights file unpacks to: AlexNet has 240 MB (ours)."""

_BRANCHES = {
    "1x1": "1x1", "3x3_reduce": "3x3_reduce", "3x3": "3x3", "5x5_reduce": "5x5_reduce", "5x5": "5x5",
    "project": "pool_proj",
}  # fmt: skip
_MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")

CAFFE_LAYERS: dict[str, dict[str, str]] = {
    "alexnet": {
        **{name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")},
        "classes": "fc8",
    },
    "googlenet": {
        "conv1": "conv1/7x7_s2",
        "conv2_reduce": "conv2/3x3_reduce",
        "conv2": "conv2/3x3",
        **{
            f"inception_{module}_{ours}": f"inception_{module}/{theirs}"
            for module in _MODULES
            for ours, theirs in _BRANCHES.items()
        },
        "classes": "loss3/classifier",
    },
}
"""Our layer to the layer of the published Caffe model (bvlc_alexnet, bvlc_googlenet)."""


def input_convention(path: Path) -> str:
    """Return what the first layer of a file takes: ``caffe`` where names end in ``.weight``, else ``signed``.

    Raises
    ------
    WeightsError
        See `load_pretrained`.
    """
    if path.name.endswith(".h5"):
        return "signed"
    return "caffe" if _is_caffe(_read(path, arrays=False)) else "signed"


def _is_caffe(names: Iterable[str]) -> bool:
    return any(name.endswith(".weight") for name in names)


def load_pretrained(model: Any, path: Path, *, network: str, fresh: Sequence[str] = ()) -> None:
    """Load weights into a model.

    Names are ``<our layer>/kernel`` and ``<our layer>/bias``, kernels (rows, columns, in, out) as in Keras; or
    ``<Caffe layer>.weight`` and ``.bias``, kernels (out, in, rows, columns). The last layer keeps its random start
    where its number of classes is another.

    Parameters
    ----------
    model : keras.Model
    path : Path
        ``.npz``, ``.safetensors``, or ``.weights.h5`` of ``bchisto finetune``.
    network : str
        Its name, for the layer map.
    fresh : sequence of str
        Layers whose name begins so keep their random start.

    Raises
    ------
    WeightsError
        A file that is missing or damaged, lacks a layer, or holds another architecture.
    """
    variables = {(layer.name, variable.name): variable for layer in model.layers for variable in layer.weights}
    kept = {key: np.array(variable) for key, variable in variables.items() if key[0].startswith(tuple(fresh))}
    if path.name.endswith(".h5"):
        load_h5(model, path, of=network)
    else:
        arrays = _read(path)
        caffe = _is_caffe(arrays)
        if caffe and network not in CAFFE_LAYERS:
            raise WeightsError(f"{path}: a Caffe model; only {', '.join(CAFFE_LAYERS)} are read from one")
        for (layer, name), variable in variables.items():
            if (layer, name) in kept:
                continue
            found = _from_caffe(arrays, network, layer, name, path) if caffe else arrays.get(f"{layer}/{name}")
            if found is None:
                raise WeightsError(f"{path}: has no {layer}/{name}, so it is not of {network}; see the layer map")
            if tuple(found.shape) == tuple(variable.shape):
                variable.assign(found.astype(np.float32))
            elif layer != "classes":
                raise WeightsError(
                    f"{path}: {layer}/{name} has the shape {tuple(found.shape)}, {network} needs "
                    f"{tuple(variable.shape)}; these are weights of another architecture"
                )
    for key, value in kept.items():
        variables[key].assign(value)


def _read(path: Path, *, arrays: bool = True) -> Arrays:
    """Return the arrays of a file by name; with `arrays` off empty ones, since names cost nothing to read."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; give a .npz or .safetensors file, or --weights random")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
                    raise WeightsError(f"{path}: unpacks to more than a network can hold; it is not read")
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] if arrays else np.empty(0) for name in file.files}
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(path, framework="numpy") as file:
                    return {name: file.get_tensor(name) if arrays else np.empty(0) for name in file.keys()}  # noqa: SIM118
            except SafetensorError as error:
                raise WeightsError(f"{path}: not a safetensors file, or damaged ({error})") from error
    except DAMAGE as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: not a weights file, or damaged ({error})") from error
    raise WeightsError(f"{path}: give weights as .npz, .safetensors or .weights.h5")


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


def is_whole_h5(path: Path) -> bool:
    """Whether a file is HDF5 from end to end and holds something; the arrays are not read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bool(file) and len(file) > 0 and file.visititems(lambda _name, item: None) is None
    except DAMAGE:
        return False


def load_h5(model: Any, path: Path, *, of: str) -> None:
    """Load a ``.weights.h5`` that `save_h5` wrote; `of` says what it must belong to.

    Raises
    ------
    WeightsError
        A file that is missing, damaged, or of another network; Keras only warns of the last and goes on untrained.
    """
    import keras

    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    unfit: tuple[type[Exception], ...] = (*DAMAGE, UserWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            keras.Model(model.inputs, model.outputs).load_weights(path)
    except unfit as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise WeightsError(f"{path}: not weights of {of} with this size and these classes ({reason})") from error


def _from_caffe(arrays: Arrays, network: str, layer: str, name: str, path: Path) -> npt.NDArray[Any] | None:
    """Return an array of a Caffe model as Keras has it; the halves of grouped layers are ``_a`` and ``_b``."""
    half = layer[-2:] if layer[-2:] in ("_a", "_b") else ""
    theirs = CAFFE_LAYERS[network].get(layer.removesuffix(half) if half else layer)
    if theirs is None:
        return None
    found = arrays.get(f"{theirs}.{'weight' if name == 'kernel' else 'bias'}")
    if found is None:
        return None
    if half:
        middle = len(found) // 2
        found = found[:middle] if half == "_a" else found[middle:]
    if name == "bias":
        return found.reshape(-1)
    if found.ndim == 4 and layer.startswith(("conv", "inception")):
        return found.transpose(2, 3, 1, 0)
    if layer == "fc6":
        # the feature map is flattened by channel there, by place here
        side = int(np.sqrt(found.size // (len(found) * 256)))
        if found.size != len(found) * 256 * side * side:
            raise WeightsError(
                f"{path}: fc6 has the shape {tuple(found.shape)}; these are weights of another architecture"
            )
        return found.reshape(len(found), 256, side, side).transpose(2, 3, 1, 0).reshape(-1, len(found))
    return found.reshape(len(found), -1).T
