"""Checks of what a user names (dataset, run, model file, scheduler), of Keras's backend and of weights."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core import DependencyError, Message
from ...core.jobs import ask_workers, prepare_backend, visible_gpus
from ...core.runs import read_run, versions_of
from ...data import read_dataset
from ...encoders import weights_folder
from ...predict import find_bundle, ready_model
from .check import Check, Status

_SECONDS = 20
"""How long a command of Slurm may take."""

_COMPARED = ("bchisto", "keras", "tensorflow", "lightgbm", "numpy", "scikit-learn")
"""Packages whose version can change results."""


def check_dataset(images: Path) -> Iterator[Check]:
    """Check the listing and the labels of a dataset; no image is decoded."""
    dataset = read_dataset(images)
    labels = Counter(record.label for record in dataset.records if record.label)
    text = f"{dataset.name}, {len(dataset.records)} images, {len(labels)} classes"
    more = "bchisto data check --images IMAGES lists all"
    levels: tuple[tuple[str, Status], ...] = (("error", "failure"), ("warning", "warning"))
    for level, status in levels:
        # only the message, since a file may be named after a patient
        messages = [finding.message for finding in dataset.findings if finding.level == level]
        if messages:
            counted = f"{len(messages)} {level}{'s' * (len(messages) != 1)}"
            yield Check("dataset", status, f"{text}; {counted}, first: {messages[0]}", more)
            return
    yield Check("dataset", "ok", text)


def check_run(run: Path) -> Iterator[Check]:
    """Check how each command of a run ended, and compare its package versions with the installed ones."""
    entries = {entry.command: entry for entry in read_run(run)}  # the last of each command
    for command, entry in entries.items():
        text = f"{command}: {entry.outcome}"
        if entry.status == "error":
            yield Check("run", "failure", f"{text}: {entry.error}", "correct this, and run the command again")
        elif entry.status == "interrupted":
            yield Check("run", "warning", text, f"run {command} again to continue")
        else:
            yield Check("run", "ok", text)
    last = list(entries.values())[-1].versions
    installed = versions_of([name for name in last if name in _COMPARED])
    other = [f"{name} {last[name]}, here {version}" for name, version in installed.items() if version != last[name]]
    if other:
        yield Check("run", "warning", f"made with other versions: {'; '.join(other)}",
                    "make a venv with the versions of run.json to continue with equal numbers")  # fmt: skip


def check_model(model: Path) -> Iterator[Check]:
    """Check that a model file can be read, and its networks can be built with their weights."""
    _, loaded = ready_model(find_bundle(model))
    yield Check("model", "ok", f"{len(loaded.bundle.classes)} classes; its networks have their weights")


def check_slurm() -> Iterator[Check]:
    """Check that the commands of Slurm exist, and that a partition is up."""
    missing = [name for name in ("sbatch", "squeue", "scancel", "sinfo") if shutil.which(name) is None]
    if missing:
        yield Check("Slurm", "failure", f"no {', '.join(missing)} on the path", "module load slurm, or a login node")
        return
    try:
        answer = subprocess.run(  # nosec B603 B607 - a constant command of the user's own path
            ["sinfo", "-h", "-o", "%P %a %D %T"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield Check("Slurm", "failure", f"sinfo gave no answer in {_SECONDS} s", "ask the administrator for slurmctld")
        return
    lines = answer.stdout.split("\n")
    if answer.returncode or not lines[0]:
        reason = (answer.stderr.strip().splitlines() or ["no partition"])[-1]
        yield Check("Slurm", "failure", reason, "ask the administrator for slurmctld and the partitions")
    elif not any(line.split()[1:2] == ["up"] for line in lines):
        yield Check("Slurm", "warning", "no partition is up", "sinfo shows why")
    else:
        yield Check("Slurm", "ok", f"{len(lines) - 1} lines of sinfo, first {' '.join(lines[0].split())}")


def check_dask(address: str, folder: Path) -> Iterator[Check]:
    """Check that the workers of a Dask scheduler see the folder, and compare their package versions with ours."""
    installed = versions_of(_COMPARED)
    different = {
        f"{name} {known.get(name, 'missing')}, here {version}"
        for known in ask_workers(address, folder=folder, packages=_COMPARED)
        for name, version in installed.items()
        if known.get(name) != version
    }
    if different:
        yield Check(
            "Dask", "warning", f"workers differ: {'; '.join(sorted(different))}", "install the same versions there"
        )
    else:
        yield Check("Dask", "ok", "its workers see the folder and have the same versions")


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
