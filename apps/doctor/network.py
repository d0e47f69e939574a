"""Checks of Keras's backend, with a single convolution, and of the published weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core import DependencyError, Message
from ...core.jobs import prepare_backend, visible_gpus
from ...encoders import weights_folder
from .check import Check

PUBLISHED = {
    "inceptionv3": "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "mobilenetv2": "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "resnet50": "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "vgg16": "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
"""Encoders of the presets to their weights files, relative to `ADDRESS`."""

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
"""The address from which Keras downloads published weights."""

_TIMEOUT = 10.0
"""Seconds in which an address must answer."""

_CLOSE = 1e-4
"""Relative difference from NumPy that rounding can explain; on GPUs, which may round float32, 100 times as much."""


def check_backend() -> Iterator[Check]:
    """Compute a convolution on the device that networks will use, and compare it with NumPy."""
    try:
        backend = prepare_backend()
        gpus = visible_gpus()
    except DependencyError as error:
        yield Check("networks", "failure", str(error), "unset KERAS_BACKEND, or pip install tensorflow")
        return
    import keras

    rng = np.random.default_rng(0)
    crops, kernel = rng.random((2, 8, 8, 3), np.float32), rng.random((1, 1, 3, 4), np.float32)
    start = time.perf_counter()
    computed = keras.ops.convert_to_numpy(keras.ops.conv(crops, kernel, padding="valid"))
    took = time.perf_counter() - start
    device = f"{len(gpus)} GPU{'s' * (len(gpus) != 1)} ({', '.join(gpus)})" if gpus else "the CPU"
    text = f"Keras {keras.__version__} with {backend} on {device}"
    if not np.allclose(computed, crops @ kernel[0, 0], rtol=_CLOSE * (100 if gpus else 1)):
        yield Check("networks", "failure", f"{text}: a convolution gives wrong numbers",
                    "CUDA_VISIBLE_DEVICES=-1 to compute on the CPU, or another version of the driver")  # fmt: skip
    else:
        yield Check("networks", "ok", f"{text}; a tiny network ran in {took:.2f} s")


def check_weights(*, online: bool) -> Iterator[Check]:
    """Check for the published weights in Keras's folder.

    Parameters
    ----------
    online : bool
        Whether to check that missing weights can be downloaded.
    """
    folder = weights_folder()
    if folder is None:
        yield Check("weights", "warning", "Keras's folder for weights cannot be written: each run fetches them again",
                    "export KERAS_HOME=DIR")  # fmt: skip
        return
    missing = {name: file for name, file in PUBLISHED.items() if not (folder / Path(file).name).is_file()}
    if not missing:
        yield Check("weights", "ok", f"{', '.join(PUBLISHED)} in {folder}")
        return
    text = f"{', '.join(missing)} not in {folder}"
    if not online:
        yield Check("weights", "note", f"{text}; fetched at first use", Message("{online} tries the address"))
        return
    for name, file in missing.items():
        reason = _unreachable(f"{ADDRESS}/{file}")
        if reason:
            yield Check("weights", "failure", f"{name}: {reason}",
                        f"on another machine fetch {ADDRESS}/{file}, and put it into {folder}")  # fmt: skip
        else:
            yield Check("weights", "ok", f"{name} can be fetched")


def _unreachable(address: str) -> str:
    """Return the reason why a file cannot be downloaded; empty if it can."""
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(address, method="HEAD"), timeout=_TIMEOUT):  # nosec B310 - a constant
            return ""
    except OSError as error:
        return f"{address} does not answer ({getattr(error, 'reason', error)})"
