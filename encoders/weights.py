"""Weights of Keras networks: published, random by seed, or from a file, and their SHA-256; missing ones are detected.

Keras silently skips some weights that a file lacks. So every variable is set to NaN before a file is read: a variable
that is not finite afterwards was not in the file. Such a file is refused as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    DAMAGE,
    BchistoError,
    ImageError,
    Message,
    StoreError,
    WeightsError,
    few,
    is_out_of_memory,
)
from ..core.formats import Floats32, check_tree, content_sha256
from .loading import short_reason, unchanged
from .network import variables_of
from .registry import EMBEDDED, EncoderSpec, published_file, weights_folder


class Filled(NamedTuple):
    """The result of reading weights into a network.

    Attributes
    ----------
    reason : str
        Reason why the network does not have all its weights, in a few words; empty if it has them.
    missing : tuple of str
        Variables without finite values, as ``layer/variable``, in layer order; all if an error stopped the reading.
    """

    reason: str
    missing: tuple[str, ...]


def fill_weights(model: Any, read: Callable[[Any], None], *, needed: Any) -> Filled:
    """Read weights into a network, and find variables that are missing afterwards.

    Parameters
    ----------
    model : keras.Model
    read : callable
        Function that assigns the variables of a model.
    needed : keras.Model
        The part of `model` whose variables are required.

    Returns
    -------
    Filled
        If there is a reason, the variables of `model` must not be used.
    """
    for _, variable in _named(model):
        if "float" in str(variable.dtype):
            variable.assign(np.full(tuple(variable.shape), np.nan, np.float32))
    reason = ""
    try:
        read(model)
    except BchistoError:
        raise
    except DAMAGE as error:
        if is_out_of_memory(error):  # this does not mean that the file is bad
            raise
        reason = short_reason(error)
    missing = [
        name
        for name, variable in _named(needed)
        if reason or not np.isfinite(as_float32(variable)).all()
    ]
    if missing and not reason:
        reason = f"it lacks {few(missing, most=1)}"
    return Filled(reason, tuple(missing))


def _named(model: Any) -> list[tuple[str, Any]]:
    """Return all variables, each with its name as ``layer/variable``, in layer order."""
    return [(f"{layer}/{name}", variable) for layer, name, variable in variables_of(model)]


def as_float32(variable: Any) -> Floats32:
    """Return the value of a Keras variable as a float32 array."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value), dtype=np.float32)


def read_keras(path: Path, model: Any) -> None:
    """Load Keras's ``.weights.h5`` or published ``.h5`` into a model, within `fill_weights`."""
    with warnings.catch_warnings():
        # Keras warns about each missing container; `fill_weights` checks the result instead
        warnings.simplefilter("ignore", UserWarning)
        model.load_weights(str(path))


def keras_trouble(path: Path) -> str | None:
    """Return the reason why a file is unsafe for Keras; None if it is HDF5 that contains only numbers of its own."""
    try:
        check_tree(path)
    except StoreError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def content_key(path: Path | None) -> str:
    """Return the SHA-256 of a weights file; empty if it cannot be read, which loading then reports."""
    try:
        if path is not None and path.is_file():
            return content_sha256(path)
    except (ImageError, OSError):
        pass
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
            value = _he_normal(layer, name, shape, seed=seed)
        variable.assign(value)


def _he_normal(layer: str, name: str, shape: tuple[int, ...], *, seed: int) -> Floats32:
    # big-endian, so that every machine draws the same
    words = np.frombuffer(hashlib.sha256(f"{layer}/{name}".encode()).digest(), dtype=">u4").tolist()
    rng = np.random.default_rng([seed, *words])
    inputs = shape[:-1]
    if "depthwise" in name or "depthwise" in layer:
        inputs = shape[:2]
    deviation = np.float32(np.sqrt(2.0 / np.prod(inputs)))
    return rng.standard_normal(shape, dtype=np.float32) * deviation


def load_imagenet(spec: EncoderSpec) -> Any:
    """Build a network with its published ImageNet weights, which Keras downloads and caches.

    Raises
    ------
    WeightsError
        The weights are not cached and cannot be downloaded. The message names the file, its address and its folder.
    """
    path = published_file(spec.name)
    if path is not None and not path.is_file():  # Keras would read a device for ever
        raise WeightsError(
            f"{path}: not a file, but weights of this name are fetched there; remove it"
        )
    try:
        # Keras prints its progress bar to stdout, which is reserved for results. Its warning that weights of one input
        # size are used for another does not matter, because the features are global averages.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined", UserWarning)
            return spec.build(weights="imagenet")
    except Exception as error:
        # Keras raises a bare Exception for a failed download and a ValueError for a damaged file.
        match = re.search(r"URL fetch failure on (\S+?):? (?:None|\d+|\S+) -- (.*)", str(error))
        if match is not None:
            raise _not_fetched(spec.name, url=match[1], reason=match[2]) from error
        if not isinstance(error, (OSError, ValueError)):
            raise
        raise WeightsError(
            "the ImageNet weights of {} cannot be loaded ({})",
            spec.name,
            short_reason(error),
            remedies=[
                f"remove the cached file below {weights_folder() or 'the folder of KERAS_HOME'}",
                Message("give {weights:{}=PATH}", spec.name),
            ],
        ) from error


def _not_fetched(name: str, *, url: str, reason: str) -> WeightsError:
    folder = (
        weights_folder() or "DIR/models, set KERAS_HOME=DIR since the home folder cannot be written"
    )
    return WeightsError(
        "the ImageNet weights of {} cannot be fetched: no network ({})",
        name,
        reason,
        remedies=[
            f"put {url.rsplit('/')[-1]} from {url} into {folder}",
            Message("give {weights:{}=PATH}", name),
            Message("{weights:random} for a trial"),
        ],
    )


def load_embedded(encoder: str, model: Any) -> str:
    """Load the weights of a network that the package holds; kernels are integers and a float32 for each channel.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    WeightsError
        The package holds no weights of this network, or the file was altered.
    """
    if encoder not in EMBEDDED:
        raise WeightsError(
            "{weights:embedded}: the package holds weights of {}, not of {}; leave it out",
            ", ".join(EMBEDDED),
            encoder,
        )
    path = Path(__file__).parent / "published" / f"{encoder}.npz"
    if content_sha256(path) != EMBEDDED[encoder]:
        raise WeightsError(f"{path}: altered or damaged; install bchisto again")
    with np.load(path) as arrays:
        for layer, name, variable in variables_of(model):
            key = f"{layer}/{name}"
            variable.assign(arrays[key] * arrays.get(f"{key}/scale", 1))
    return EMBEDDED[encoder]


def load_encoder_file(path: Path, *, spec: EncoderSpec, base: Any, part: Any) -> str:
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

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    WeightsError
        The file is missing, is not HDF5, contains the weights of another network, or changes while it is read.
    """
    if not path.exists():
        raise WeightsError("{}: no such weights file; check {weights}", path)
    if not path.name.endswith((".h5", ".hdf5")):
        raise WeightsError(
            "{}: not Keras weights, a .weights.h5 or published .h5 file; give one, or {weights:imagenet}",
            path,
        )
    trouble = keras_trouble(path)
    if trouble is not None:
        raise WeightsError(
            "{}: {}, so no Keras weights could be read; check {weights}", path, trouble
        )
    with unchanged([path]) as sha256:
        reader = functools.partial(read_keras, path)
        filled = fill_weights(base, reader, needed=part)
        if not filled.reason or not fill_weights(part, reader, needed=part).reason:
            return sha256
        if _load_with_top(reader, spec=spec, part=part):
            return sha256
    text = "{}: these are not the weights of {} ({}); give its own file, or leave out {weights} to fetch it"
    raise WeightsError(text, path, spec.name, filled.reason)


def _load_with_top(read: Callable[[Any], None], *, spec: EncoderSpec, part: Any) -> bool:
    """Load a file that contains the classifier too, and copy the layers of `part`; return whether this worked."""
    try:
        with_top = spec.build(weights=None, include_top=True)
    except TypeError:  # encoders of other packages may lack a classifier
        return False
    filled = fill_weights(with_top, read, needed=with_top)
    source = dict(_named(with_top))
    for name, target in _named(part):
        variable = source.get(name)
        if variable is None or name in filled.missing:
            return False
        if tuple(variable.shape) != tuple(target.shape):
            return False
        target.assign(variable.value)
    return True
