"""Checks of what a user names: a dataset, a run, a model file, Slurm or a Dask scheduler."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...core.jobs import ask_workers
from ...core.runs import read_run, versions_of
from ...data import read_dataset
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
            ["sinfo", "-h", "-o", "%P %a %D %T"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
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
    different = set()
    workers = ask_workers(address, folder=folder, packages=_COMPARED)
    for known in workers:
        different |= {
            f"{name} {known.get(name, 'missing')}, here {version}"
            for name, version in installed.items()
            if known.get(name) != version
        }
    if different:
        yield Check(
            "Dask", "warning", f"workers differ: {'; '.join(sorted(different))}", "install the same versions there"
        )
    else:
        yield Check("Dask", "ok", "its workers see the folder and have the same versions")
