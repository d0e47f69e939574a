"""Weights of Keras networks: published, random by seed, or from a file, and their SHA-256. `loading` reads files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..core import ImageError, WeightsError, is_out_of_memory
from ..core.formats import content_sha256
from .loading import Filled, as_float32, fill_weights, first_line, keras_trouble, read_keras
from .network import variables_of
from .registry import EncoderSpec


def content_key(path: Path) -> str:
    """Return the SHA-256 of a weights file; empty if it cannot be read, which loading then reports."""
    try:
        return content_sha256(path)
    except ImageError:
        return ""


def weights_sha256(model: Any) -> str:
    """Return the SHA-256 over layer, variable, shape, dtype and bytes, in the order of the layers.

    It does not depend on the format of the weights file, on Keras's counters or on the precision of computation.
    """
    digest = hashlib.sha256()
    for layer, name, variable in variables_of(model):
        value = as_float32(variable)
        digest.update(f"{layer}\0{name}\0{value.shape}\0{value.dtype.str}\0".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def randomize(model: Any, *, seed: int) -> None:
    """Set random weights from a seed: He-normal kernels, identity normalisation, zero biases.

    NumPy draws them separately for each variable, so they are the same in every process and on every Keras backend.
    """
    for layer, name, variable in variables_of(model):
        shape = tuple(variable.shape)
        if name in ("gamma", "moving_variance"):
            value = np.ones(shape, np.float32)
        elif len(shape) < 2:
            value = np.zeros(shape, np.float32)
        else:
            words = np.frombuffer(hashlib.sha256(f"{layer}/{name}".encode()).digest(), dtype=">u4").tolist()
            rng = np.random.default_rng(np.random.SeedSequence([seed, *words]))
            depthwise = "depthwise" in name or "depthwise" in layer
            fan_in = np.prod(shape[:2]) if depthwise else np.prod(shape[:-1])
            value = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / fan_in))
        variable.assign(value)


def load_imagenet(spec: EncoderSpec) -> Any:
    """Build a network with its published ImageNet weights, which Keras downloads and caches.

    Raises
    ------
    WeightsError
        The weights are not cached and cannot be downloaded. The message names the file, its address and its folder.
    """
    try:
        # Keras prints its progress bar to stdout, which is reserved for results. Its warning that weights of one input
        # size are used for another does not matter, because the features are global averages.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined", UserWarning)
            return spec.build(weights="imagenet")
    except Exception as error:
        # Keras raises a bare Exception for a failed download and a ValueError for a damaged file.
        match = re.search(r"URL fetch failure on (\S+?):? (?:None|\d+|\S+) -- (.*)", str(error))
        if match is None and not isinstance(error, (OSError, ValueError)):
            raise
        if match is None:
            raise WeightsError(
                "the ImageNet weights of {} cannot be loaded ({}); remove the cached file below {}, "
                "or give {weights:{}=PATH}",
                spec.name, first_line(error), weights_folder() or "the folder of KERAS_HOME", spec.name,
            ) from error  # fmt: skip
        url, file = match[1], match[1].rsplit("/")[-1]
        folder = weights_folder() or "DIR/models, set KERAS_HOME=DIR since the home folder cannot be written"
        raise WeightsError(
            "the ImageNet weights of {} cannot be fetched: no network ({}). Put {} from {} into {}, "
            "or give {weights:{}=PATH} (or {weights:random} for a trial)",
            spec.name, match[2], file, url, folder, spec.name,
        ) from error  # fmt: skip


def weights_folder() -> Path | None:
    """Return the folder in which Keras caches weights; None if Keras would use a temporary one."""
    home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))  # noqa: PTH111 - as Keras
    return home / "models" if os.access(home, os.W_OK) else None


def load_encoder_file(path: Path, *, spec: EncoderSpec, base: Any, part: Any) -> None:
    """Load weights from a ``.weights.h5`` file or one of Keras's published ``.h5`` files.

    The file must contain the layers of `part`. It may contain the whole network without its classifier (`base`), or
    with it.

    Parameters
    ----------
    path : Path
        The weights file.
    spec : EncoderSpec
        Builds the network with its classifier, if the file contains one.
    base : keras.Model
        The network without its classifier.
    part : keras.Model
        The network up to the deepest layer used; shares its layers with `base`.

    Raises
    ------
    WeightsError
        The file is missing, is not HDF5, or contains the weights of another network.
    """
    if not path.exists():
        raise WeightsError("{}: no such weights file; check {weights}", path)
    if not path.name.endswith((".h5", ".hdf5")):
        raise WeightsError(
            "{}: not Keras weights, a .weights.h5 or published .h5 file; give one, or {weights:imagenet}", path
        )
    if (trouble := keras_trouble(path)) is not None:
        raise WeightsError("{}: {}, so no Keras weights could be read; check {weights}", path, trouble)
    first = _try(base, path, needed=part)
    if first.whole or _try(part, path, needed=part).whole or _load_with_top(path, spec=spec, part=part):
        return
    raise WeightsError(
        "{}: these are not the weights of {} ({}); give its own file, or leave out {weights} to fetch it",
        path, spec.name, first.reason,
    )  # fmt: skip


def _try(model: Any, path: Path, *, needed: Any) -> Filled:
    """Read a file into a network. A lack of memory is raised, because it does not mean that the file is bad."""
    filled = fill_weights(model, read_keras(path), needed=needed)
    if filled.error is not None and is_out_of_memory(filled.error):
        raise filled.error
    return filled


def _load_with_top(path: Path, *, spec: EncoderSpec, part: Any) -> bool:
    """Load a file that contains the classifier too, and copy the layers of `part`; return whether this worked."""
    try:
        whole = spec.build(weights=None, include_top=True)
    except TypeError:  # encoders of other packages may lack a classifier
        return False
    filled = _try(whole, path, needed=whole)
    if filled.error is not None:
        return False
    source = {f"{layer}/{name}": variable for layer, name, variable in variables_of(whole)}
    for layer, name, target in variables_of(part):
        variable = None if (key := f"{layer}/{name}") in filled.missing else source.get(key)
        if variable is None or tuple(variable.shape) != tuple(target.shape):
            return False
        target.assign(variable.value)
    return True
