"""The weights of an encoder from a file, which may hold the layers used, the whole network, or its classifier too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import WeightsError, is_out_of_memory
from ..jobs import hdf5_reason
from .loading import Filled, fill_weights, keras_trouble, read_keras
from .network import variables_of
from .registry import EncoderSpec


def load_encoder_file(path: Path, *, spec: EncoderSpec, base: Any, part: Any) -> None:
    """Load weights from a ``.weights.h5`` or one of Keras's published ``.h5`` files.

    The file must hold the layers of `part`; it may hold the whole headless network (`base`) or the network
    with its classifier.

    Parameters
    ----------
    path : Path
        The file.
    spec : EncoderSpec
        To build the network with its classifier, where the file holds one.
    base : keras.Model
        The network without its classifier.
    part : keras.Model
        The network up to the deepest layer used; shares its layers with `base`.

    Raises
    ------
    WeightsError
        Missing, not HDF5, or the weights of another network.
    """
    if not path.exists():
        raise WeightsError(f"{path}: no such weights file; check `weights`")
    if not path.name.endswith((".h5", ".hdf5")):
        raise WeightsError(f"{path}: expected Keras weights, a .weights.h5 or published .h5 file")
    if (trouble := keras_trouble(path)) is not None:
        raise WeightsError(f"{path}: {trouble}, so no Keras weights could be read; check `weights`")
    first = _try(base, path, needed=part)
    if first.whole or _try(part, path, needed=part).whole or _load_with_top(path, spec=spec, part=part):
        return
    if isinstance(first.error, OSError):  # HDF5 refused it before Keras saw any layer
        raise WeightsError(f"{path}: {hdf5_reason([str(first.error)])}") from first.error
    raise WeightsError(
        f'{path}: these are not the weights of {spec.name} ({first.reason}); check `weights="{spec.name}=PATH"`'
    )


def _try(model: Any, path: Path, *, needed: Any) -> Filled:
    """Read a file into a network; a lack of memory is none of the file's faults."""
    filled = fill_weights(model, read_keras(path), needed=needed)
    if filled.error is not None and is_out_of_memory(filled.error):
        raise filled.error
    return filled


def _load_with_top(path: Path, *, spec: EncoderSpec, part: Any) -> bool:
    """Load a file of the network with its classifier, and copy the layers of `part`."""
    try:
        whole = spec.build(weights=None, include_top=True)
    except TypeError:  # an encoder of another package need not have a classifier
        return False
    filled = _try(whole, path, needed=whole)
    if filled.error is not None:
        return False
    source = {f"{layer}/{name}": variable for layer, name, variable in variables_of(whole)}
    for layer, name, target in variables_of(part):
        found = None if (key := f"{layer}/{name}") in filled.missing else source.get(key)
        if found is None or tuple(found.shape) != tuple(target.shape):
            return False
        target.assign(found.value)
    return True
