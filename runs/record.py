"""``run.json``: opened before the work, closed ok or error.

Every command writes a record of its own below ``RUN/records/`` and then rewrites ``RUN/run.json`` from all of
them. So shards that run at once on several hosts need no lock: the last writer sees every record.
"""

from __future__ import annotations

import datetime
import platform
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..errors import InputError, MissingInputError
from ..jobs import default_jobs, ensure_folder, hold_interrupts, is_interrupt, read_json, this_process, write_json

__all__ = ["RunRecord", "load_config", "record_run", "versions_of"]

SCHEMA_VERSION = 1

_PACKAGES = (
    "bchisto", "tensorflow", "jax", "torch", "openvino", "keras", "lightgbm", "scikit-learn", "scipy", "numpy", "h5py",
    "opencv-python-headless", "Pillow", "joblib",
)  # fmt: skip


class RunRecord:
    """What one command did; `note` adds to it while it runs."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    def note(self, **values: Any) -> None:
        """Add results worth keeping (weights hashes, unit size, outputs)."""
        self.content.setdefault("notes", {}).update(values)


@contextmanager
def record_run(run: Path, *, command: str, config: Mapping[str, Any]) -> Iterator[RunRecord]:
    """Record a command in ``RUN/run.json``: opened first, closed with ``ok``, ``error`` or ``interrupted``.

    Parameters
    ----------
    run : Path
        The run folder, created where missing.
    command : str
        The verb, e.g. ``"featurize"``.
    config : mapping
        The resolved options, JSON-ready, under the names of the command-line options.

    Yields
    ------
    RunRecord
        To note results on.
    """
    ensure_folder(run)
    started = datetime.datetime.now(datetime.UTC)
    name = f"{started:%Y%m%dT%H%M%S%f}-{command}-{secrets.token_hex(2)}.json"
    record = RunRecord(
        run / "records" / name,
        {
            "command": command,
            "status": "running",
            "started": started.isoformat(timespec="seconds"),
            "argv": sys.argv,
            "config": dict(config),
            "versions": {"python": platform.python_version(), **versions_of(_PACKAGES)},
            "hardware": _hardware(),
            "process": this_process(),
        },
    )
    _save(run, record)
    clock = time.monotonic()
    try:
        yield record
    except BaseException as error:
        record.content["status"] = "interrupted" if is_interrupt(error) else "error"
        record.content["error"] = f"{type(error).__name__}: {error}"
        raise
    else:
        record.content["status"] = "ok"
    finally:
        with hold_interrupts():
            record.content["seconds"] = round(time.monotonic() - clock, 3)
            _save(run, record)


def _save(run: Path, record: RunRecord) -> None:
    write_json(record.path, record.content)
    records = [read_json(path) for path in sorted(record.path.parent.glob("*.json"))]
    write_json(run / "run.json", {"schema_version": SCHEMA_VERSION, "records": records})


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those of these packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = __version__ if package == "bchisto" else metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"system": platform.platform(), "processor": model, "cores": default_jobs()}


def load_config(path: Path, *, command: str) -> dict[str, Any]:
    """Read the options for `command` from a YAML file or from a previous ``run.json``.

    Parameters
    ----------
    path : Path
        A YAML mapping of option names to values (``color_range`` or ``color-range``), or a ``run.json``, of
        which the last record of `command` is taken.
    command : str
        The verb.

    Returns
    -------
    dict
        Option name (with underscores) to value.

    Raises
    ------
    InputError
        The file is not a mapping, or holds no record of `command`.
    """
    if not path.is_file():
        raise MissingInputError(f"--config {path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: neither YAML nor JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: expected a mapping of option names to values")
    if isinstance(content.get("records"), list):
        configs = [entry["config"] for entry in content["records"] if entry.get("command") == command]
        if not configs:
            raise InputError(f"--config {path}: this run.json holds no `bchisto {command}`")
        content = configs[-1]
    return {str(key).replace("-", "_"): value for key, value in content.items()}
