"""All checks of a machine, and of a user's dataset, run, model and cluster, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ...core import Write, in_python
from . import machine, named
from .check import Check, private_texts, run_checks


def examine(
    folder: Path,
    *,
    images: Path | None = None,
    run: Path | None = None,
    model: Path | None = None,
    slurm: bool = False,
    dask: str | None = None,
    online: bool = False,
    write: Write = in_python,
) -> list[Check]:
    """Check this machine for what would make a command fail.

    Parameters
    ----------
    folder : Path
        Folder for results, which need not exist yet.
    images, run, model : Path, optional
        A dataset, a run folder and a model file to check as well.
    slurm : bool
        Whether to check Slurm.
    dask : str, optional
        Address of a Dask scheduler whose workers are checked.
    online : bool
        Whether to use the network, to check that missing weights can be downloaded.
    write : callable
        Writes names of parameters in findings: as in Python, or with flags.

    Returns
    -------
    list of Check
        Failures first. Private paths are hidden, so that the list can be shared.
    """
    checks: dict[str, Callable[[], Iterable[Check]]] = {
        "Python": machine.check_python,
        "packages": machine.check_packages,
        "OpenCV": machine.check_opencv,
        "networks": named.check_backend,
        "memory": machine.check_memory,
        "folder": partial(machine.check_folder, folder),
        "weights": partial(named.check_weights, online=online),
        "extras": machine.check_extras,
    }
    if images is not None:
        checks["dataset"] = partial(named.check_dataset, images)
    if run is not None:
        checks["run"] = partial(named.check_run, run)
    if model is not None:
        checks["model"] = partial(named.check_model, model)
    if slurm:
        checks["Slurm"] = named.check_slurm
    if dask is not None:
        checks["Dask"] = partial(named.check_dask, dask, folder)
    return run_checks(
        checks, hide=private_texts({"IMAGES": images, "RUN": run, "MODEL": model, "DIR": folder}), write=write
    )
