"""All checks in one call, and those of Keras, of weights and of a model file.

What needs a package is imported within its check, so that others still run if the package is broken.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...core import StoreError, Write, counted
from ...core.jobs import prepare_backend, visible_gpus
from . import machine
from .check import Check, private_texts, run_checks


def examine(folder: Path, *, model: Path | None, write: Write) -> list[Check]:
    """Check this machine for what would make a command fail.

    Parameters
    ----------
    folder : Path
        Folder for results, which need not exist yet.
    model : Path or None
        A model file to check as well.
    write : callable
        Writes names of parameters in findings: as in Python, or with flags; a function of a module, which another
        process can find.

    Returns
    -------
    list of Check
        Failures first. Private paths are hidden, so that the list can be shared.
    """
    here: dict[str, Any] = {
        "Python": machine.check_python,
        "memory": machine.check_memory,
        "folder": partial(machine.check_folder, folder),
        "OpenCV": machine.check_opencv,
    }
    apart: dict[str, Any] = {
        "packages": machine.check_packages,
        "networks": check_backend,
        "weights": check_weights,
        "kept networks": check_kept,
    }
    if model is not None:
        apart["model"] = partial(check_model, model)
    hide = private_texts({"DIR": folder, "MODEL": model})
    return run_checks(here | apart, apart=apart, hide=hide, write=write)


def check_model(model: Path) -> Iterator[Check]:
    """Check that a model file can be read, and its networks can be built with their weights."""
    from ...predict import find_bundle, ready_model

    _, loaded = ready_model(find_bundle(model))
    yield Check(
        "model", "ok", f"{len(loaded.bundle.classes)} classes; its networks have their weights"
    )


_OF_PRESETS = ("inceptionv3", "mobilenetv2", "resnet50", "vgg16")
"""Encoders of the presets, whose weights Keras fetches."""

_CLOSE = 1e-4
"""Relative difference from NumPy that rounding can explain; on GPUs, which may round float32, 100 times as much."""


def check_backend() -> Iterator[Check]:
    """Compute a convolution on the device that networks will use, and compare it with NumPy."""
    backend = prepare_backend()
    gpus = visible_gpus()
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    crops = rng.random((2, 8, 8, 3), np.float32)
    kernel = rng.random((1, 1, 3, 4), np.float32)
    start = time.perf_counter()
    computed = keras.ops.convert_to_numpy(keras.ops.conv(crops, kernel, padding="valid"))
    took = time.perf_counter() - start
    device = "the CPU"
    close = _CLOSE
    if gpus:
        device = f"{counted(len(gpus), 'GPU')} ({', '.join(gpus)})"
        close *= 100
    text = f"Keras {keras.__version__} with {backend} on {device}"
    if not np.allclose(computed, crops @ kernel[0, 0], rtol=close):
        yield Check(
            "networks",
            "failure",
            f"{text}: a convolution gives wrong numbers",
            "CUDA_VISIBLE_DEVICES=-1 to compute on the CPU, or another version of the driver",
        )
    else:
        yield Check("networks", "ok", f"{text}; a tiny network ran in {took:.2f} s")


def check_weights() -> Iterator[Check]:
    """Check the weights that were fetched from a hub, and for the published ones in Keras's folder."""
    from ...encoders import (
        BUILT_IN,
        CATALOGUE,
        encoders_folder,
        fetched_folder,
        published_file,
        weights_folder,
    )

    for name in CATALOGUE:
        if (encoders_folder() / name).exists() and not _is_whole(fetched_folder(name)):
            yield Check(
                "weights",
                "failure",
                f"{name}: a file is missing or cut",
                f"bchisto encoder {name} --fetch",
            )
    folder = weights_folder()
    if folder is None:
        yield Check(
            "weights",
            "warning",
            "Keras's folder for weights cannot be written: each run fetches them again",
            "export KERAS_HOME=DIR",
        )
        return
    paths = {name: published_file(name) for name in sorted(BUILT_IN)}
    files = {name: path for name, path in paths.items() if path is not None}
    missing = [name for name in _OF_PRESETS if name not in files]
    damaged = list(_damage(dict.fromkeys(files.values())))
    for reason in damaged:
        yield Check("weights", "failure", reason, "remove this file, which is then fetched again")
    if not missing and not damaged:
        yield Check("weights", "ok", f"{', '.join(files)} in {folder}")
    if missing:
        yield Check(
            "weights", "note", f"{', '.join(missing)} not in {folder}; fetched at first use"
        )


def _is_whole(folder: Path | None) -> bool:
    """Return whether no file of fetched weights is cut; those who use them compare the content, which takes long."""
    from safetensors import SafetensorError, safe_open

    if folder is None:
        return False
    try:
        for file in folder.glob("*.safetensors"):
            safe_open(file, framework="numpy")
    except (OSError, SafetensorError):
        return False
    return True


def check_kept() -> Iterator[Check]:
    """Name the folders of networks and functions that were made on this machine, and their sizes."""
    from ...encoders import compiled_folder, kept_folder, kept_in, kept_trouble

    kinds = {kept_folder(): ("network", "builds its network again, in 10 seconds and 1 GB")}
    if compiled_folder().exists():  # otherwise JAX compiled nothing for a GPU
        kinds[compiled_folder()] = ("compiled function", "compiles for the GPU again, in a minute")
    for folder, (kind, again) in kinds.items():
        kept = kept_in(folder)
        size = sum(size for _, _, size in kept) / 1e6
        text = f"{counted(len(kept), kind)}, {size:,.0f} MB in {folder}"
        trouble = kept_trouble(folder)
        if trouble:
            text += f", not used ({trouble}): each process {again}"
            yield Check("kept networks", "warning", text, "export BCHISTO_CACHE=DIR")
        else:
            yield Check("kept networks", "ok", text)


def _damage(paths: Iterable[Path]) -> Iterator[str]:
    """Yield what is wrong with files of Keras weights."""
    from ...core.formats import check_tree

    for path in paths:
        try:
            check_tree(path)
        except StoreError as error:
            yield str(error)
