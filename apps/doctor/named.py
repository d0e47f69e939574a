"""All checks in one call, and those of Keras and of what a user names (dataset, run, model file, scheduler).

What needs a package is imported within its check, so that others still run if the package is broken.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core import BchistoError, Content, Message, StoreError, Write, counted, message_of
from ...core.jobs import prepare_backend, visible_gpus
from . import machine
from .check import Check, Status, private_texts, run_checks

if TYPE_CHECKING:
    from ...core.runs import RunEntry

_IMAGES = 1000
"""How many images of a feature file are read at once."""


def examine(
    folder: Path,
    *,
    images: Path | None,
    run: Path | None,
    model: Path | None,
    write: Write,
) -> list[Check]:
    """Check this machine for what would make a command fail.

    Parameters
    ----------
    folder : Path
        Folder for results, which need not exist yet.
    images, run, model : Path or None
        A dataset, a run folder and a model file to check as well.
    write : callable
        Writes names of parameters in findings: as in Python, or with flags. It must be a function of a module, which
        another process can import.

    Returns
    -------
    list of Check
        Failures first. Private paths are hidden, so that the list can be shared.
    """
    arguments = {"DIR": folder, "IMAGES": images, "RUN": run, "MODEL": model}
    paths = {word: path.absolute() for word, path in arguments.items() if path is not None}
    checks: Content = {
        "Python": machine.check_python,
        "memory": machine.check_memory,
        "folder": partial(machine.check_folder, paths["DIR"]),
        "packages": machine.check_packages,
        "OpenCV": machine.check_opencv,
        "networks": check_backend,
        "weights": check_weights,
        "kept networks": check_kept,
        "dataset": images and partial(check_dataset, paths["IMAGES"]),
        "run": run and partial(check_run, paths["RUN"]),
        "model": model and partial(check_model, paths["MODEL"]),
    }
    selection = {name: check for name, check in checks.items() if check}
    loaders = {*selection} - {"Python", "memory", "folder", "OpenCV"}
    return run_checks(selection, apart=loaders, hide=private_texts(paths), write=write)


def check_dataset(images: Path) -> Iterator[Check]:
    """Check the listing and the labels of a dataset; no image is decoded."""
    from ...data import read_dataset

    dataset = read_dataset(images)
    labels = Counter(record.label for record in dataset.records if record.label)
    text = (
        f"{dataset.name}, {counted(len(dataset.records), 'image')}, {counted(len(labels), 'class')}"
    )
    outcomes: dict[str, Status] = {"error": "failure", "warning": "warning"}
    for level, status in outcomes.items():
        # only the message, since a file may be named after a patient
        messages = [
            finding.kind or finding.message
            for finding in dataset.findings
            if finding.level == level
        ]
        if messages:
            line = Message("{}; {}, first: {}", text, counted(len(messages), level), messages[0])
            yield Check("dataset", status, line, Message("{data check.images:IMAGES} lists all"))
            return
    yield Check("dataset", "ok", f"{text}; `bchisto data check` decodes its images")


def check_run(run: Path) -> Iterator[Check]:
    """Check how each command of a run ended, and read its feature files and the weights that it names."""
    from ...core.runs import read_run

    entries = {entry.command: entry for entry in read_run(run)}  # the last of each command
    for entry in entries.values():
        yield _check_outcome(entry)
    weights = {
        Path(text.partition("=")[2] or text)
        for entry in entries.values()
        for text in entry.config.get("weights") or ()
    }
    for reason in _damage(path for path in sorted(weights) if path.suffix in (".h5", ".hdf5")):
        yield Check(
            "run", "failure", f"weights of this run: {reason}", "copy this file to its place again"
        )
    stores = set(run.glob("features/*.h5"))
    featurize = entries.get("featurize")
    if featurize is not None and not featurize.shard:
        stores.update(run / str(name) for name in featurize.notes.get("stores", ()))
    for path in sorted(stores):
        yield from _check_store(path)


def _check_outcome(entry: RunEntry) -> Check:
    """Return how a command of a run ended."""
    outcomes: dict[str, Status] = {"error": "failure", "interrupted": "warning"}
    status = outcomes.get(entry.status, "ok")
    remedy = ""
    if status != "ok":
        remedy = f"run {entry.command} again, after you have corrected what is named"
    text = f"{entry.command}: {entry.outcome}"
    return Check("run", status, ": ".join(filter(None, (text, entry.error))), remedy)


def _check_store(path: Path) -> Iterator[Check]:
    """Read a feature file whole; yield what is wrong with it."""
    from ...core.formats import refuse_deadly
    from ...featurize import open_store

    try:
        refuse_deadly([path])
        with open_store(path) as store:
            count = len(store.image_ids)
            for start in range(0, count, _IMAGES):
                store.features(range(start, min(start + _IMAGES, count)))
    except BchistoError as error:
        yield Check("run", "failure", message_of(error))


def check_model(model: Path) -> Iterator[Check]:
    """Check that a model file can be read, and its networks can be built with their weights."""
    from ...predict import find_bundle, ready_model

    _, loaded = ready_model(find_bundle(model))
    yield Check(
        "model", "ok", f"{len(loaded.bundle.classes)} classes; its networks have their weights"
    )


_OF_PRESETS = ("inceptionv3", "resnet50", "vgg16")
"""Encoders of the presets whose weights Keras fetches."""

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
    result = keras.ops.convert_to_numpy(keras.ops.conv(crops, kernel, padding="valid"))
    seconds = time.perf_counter() - start
    device = "the CPU"
    tolerance = _CLOSE
    if gpus:
        device = f"{counted(len(gpus), 'GPU')} ({', '.join(gpus)})"
        tolerance *= 100
    text = f"Keras {keras.__version__} with {backend} on {device}"
    if not np.allclose(result, crops @ kernel[0, 0], rtol=tolerance):
        yield Check(
            "networks",
            "failure",
            f"{text}: a convolution gives wrong numbers",
            "CUDA_VISIBLE_DEVICES=-1 to compute on the CPU, or another version of the driver",
        )
    else:
        yield Check("networks", "ok", f"{text}; a tiny network ran in {seconds:.2f} s")


def check_weights() -> Iterator[Check]:
    """Check that weights fetched from a hub are whole, and which published ones are in Keras's folder."""
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
    """Return whether no file of fetched weights is cut short; their content is compared only when they are used."""
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
    """Name the folders in which built networks and compiled functions are kept, their sizes, and what prevents use."""
    from ...encoders import compiled_folder, kept_folder, kept_in, kept_trouble

    kinds = {kept_folder(): ("network", "builds its network again, in 10 seconds and 1 GB")}
    if compiled_folder().exists():  # otherwise JAX compiled nothing for a GPU
        kinds[compiled_folder()] = ("compiled function", "compiles for the GPU again, in a minute")
    for folder, (kind, consequence) in kinds.items():
        entries = kept_in(folder)
        size = sum(size for _, _, size in entries) / 1e6
        text = f"{counted(len(entries), kind)}, {size:,.0f} MB in {folder}"
        trouble = kept_trouble(folder)
        if trouble:
            text += f", not used ({trouble}): each process {consequence}"
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
