"""``run.json``: opened before the work, closed ok or error.

Every command writes a record of its own below ``RUN/records/`` and then rewrites ``RUN/run.json`` from all of
them. So shards that run at once on several hosts need no lock: the last writer sees every record.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import platform
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..core import BchistoError, InputError, MissingInputError, items_of
from ..formats import parse_yaml, read_json
from ..jobs import (
    default_jobs,
    ensure_folder,
    hold_interrupts,
    is_interrupt,
    is_running,
    named_files,
    reading,
    this_process,
    write_json,
)

_log = logging.getLogger(__name__)

_PATHS = ("out", "images", "features", "only", "test_list", "sources", "model", "html")
"""Options whose values are paths; those of `_MAYBE_PATHS` are where such a file or folder exists."""

_WRITTEN = ("out", "html")
"""Options that say where is written; whatever else they name is read."""

_MAYBE_PATHS = ("folds", "weights")

SCHEMA_VERSION = 1

_PACKAGES = (
    "bchisto", "tensorflow", "jax", "torch", "timm", "transformers", "openvino", "keras", "lightgbm",
    "scikit-learn", "scipy", "numpy", "h5py", "opencv-python-headless", "Pillow", "joblib",
)  # fmt: skip


class RunRecord:
    """What one command did; `note` adds to it while it runs."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    def note(self, **values: Any) -> None:
        """Add results worth keeping (weights hashes, unit size, outputs)."""
        self.content.setdefault("notes", {}).update(values)


@contextlib.contextmanager
def record_run(run: Path, *, command: str, config: Mapping[str, Any], shard: object = None) -> Iterator[RunRecord]:
    """Record a command in ``RUN/run.json``: opened first, closed with ``ok``, ``error`` or ``interrupted``.

    A command that was refused leaves no folder that was not there before.

    Parameters
    ----------
    run : Path
        The run folder, created where missing.
    command : str
        The verb, e.g. ``"featurize"``.
    config : mapping
        The resolved options, JSON-ready, under the names of the command-line options.
    shard : Shard, optional
        Which share of the work it does.

    Yields
    ------
    RunRecord
        To note results on.
    """
    new = not run.exists()
    ensure_folder(run)
    content = _opened(command, config) | ({} if shard is None else {"shard": str(shard)})
    record = RunRecord(
        run / "records" / f"{_next_stamp(run / 'records')}-{command}-{secrets.token_hex(2)}.json", content
    )
    _mark_interrupted(record.path.parent)
    try:
        with _closed(record, save=lambda: _save(run, record)):
            yield record
    except BchistoError as error:
        if new and error.exit_code == InputError.exit_code:
            _take_back(run, record)
        raise


def _next_stamp(folder: Path) -> str:
    """Return the time as text that sorts, and never before an earlier record: a clock may have been set back."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    latest = max((path.name.partition("-")[0] for path in folder.glob("*-*.json")), default="")
    return max(now, latest) + "1" * (latest >= now)


def _take_back(run: Path, record: RunRecord) -> None:
    """Remove a record, and the run folder where nothing else is in it."""
    with contextlib.suppress(OSError):
        record.path.unlink()
        record.path.parent.rmdir()  # not empty where another command records itself
        (run / "run.json").unlink()
        run.rmdir()


@contextlib.contextmanager
def record_table(
    table: Path, *, command: str, config: Mapping[str, Any], overwrite: bool = False
) -> Iterator[RunRecord]:
    """Record a command that writes one table, in ``<table>.run.json`` beside it, as `record_run` does a folder's.

    Parameters
    ----------
    table : Path
        What the command writes.
    command, config
        As in `record_run`. The file holds this command alone; ``--config`` takes it as any ``run.json``.
    overwrite : bool
        Whether the command replaces a table that lies there, which one that resumes it does too.

    Yields
    ------
    RunRecord
    """
    record = RunRecord(_beside(table), _opened(command, config))
    if overwrite:
        record.content["overwrite"] = True

    content = {"schema_version": SCHEMA_VERSION, "records": [record.content]}
    with _closed(record, save=lambda: write_json(record.path, content)):
        yield record


def unfinished_record(table: Path, *, command: str, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the record of the last command that wrote a table where it was this one and did not come to its end.

    A table is there from the moment that it is whole; a command that is killed after that has its record left to write.
    Who calls it again is not told that the table exists.

    Parameters
    ----------
    table, command, config
        Of `record_table`.
    """
    path = _beside(table)
    if not path.is_file():
        return None
    try:
        (record,) = read_json(path, record=True)["records"]
        same = (record["command"], record["config"]) == (command, json.loads(json.dumps(dict(config))))
        return record if same and record["status"] != "ok" else None
    except (InputError, KeyError, TypeError, ValueError):  # not a record of ours
        return None


def _beside(table: Path) -> Path:
    """Return where the record of a table lies."""
    return table.with_name(f"{table.name}.run.json")


def _opened(command: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of a command that begins."""
    return {
        "command": command,
        "status": "running",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "config": dict(config),
        "versions": {"python": platform.python_version(), **versions_of(_PACKAGES)},
        "hardware": _hardware(),
        "process": this_process(),
        "folder": str(Path.cwd()),
    }


@contextlib.contextmanager
def _closed(record: RunRecord, *, save: Callable[[], None]) -> Iterator[None]:
    """Save a record now, and again with how the work ended and how long it took; what its options name is kept."""
    save()
    clock = time.monotonic()
    named = (value for name, value in record.content["config"].items() if name not in _WRITTEN)
    try:
        with reading(named_files(*named)):
            yield
    except BaseException as error:
        record.content["status"] = "interrupted" if is_interrupt(error) else "error"
        record.content["refused"] = isinstance(error, BchistoError) and error.exit_code == InputError.exit_code
        record.content["error"] = f"{type(error).__name__}: {error}"
        raise
    else:
        record.content["status"] = "ok"
    finally:
        with hold_interrupts():
            record.content["seconds"] = round(time.monotonic() - clock, 3)
            save()


def _save(run: Path, record: RunRecord) -> None:
    write_json(record.path, record.content)
    records = [content for _, content in _read_records(record.path.parent)]
    write_json(run / "run.json", {"schema_version": SCHEMA_VERSION, "records": records})


def _read_records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the records that are whole; one that is not is named in a warning, and stops no command."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = read_json(path, record=True)
            json.dumps(content, allow_nan=False)
        except (InputError, ValueError, RecursionError) as error:
            if path.is_file():
                _log.warning("%s: left out of run.json, since it is not a readable record (%s)", path, error)
            continue
        if isinstance(content, dict):
            yield path, content
        else:
            _log.warning("%s: left out of run.json, since it is not a record", path)


def _mark_interrupted(folder: Path) -> None:
    """Close the records of commands whose process on this host is gone: it could not do so itself (``kill -9``)."""
    for path, content in _read_records(folder):
        if content.get("status") == "running" and process_runs(content.get("process")) is False:
            write_json(path, {**content, "status": "interrupted", "error": "its process is gone"})


def process_runs(process: Any) -> bool | None:
    """Tell whether the process that a record names is still there; None where that cannot be seen from here."""
    try:
        return is_running(process)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):  # not what bchisto writes
        return None


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those of these packages that are installed."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = __version__ if package == "bchisto" else metadata.version(package)
    return versions


def _hardware() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    if match := re.search(r"^model name[^:\n]*:(.*)", text, re.MULTILINE):
        model = match[1].strip()
    return {"system": platform.platform(), "processor": model, "cores": default_jobs()}


def load_config(config: Path, *, command: str) -> dict[str, Any]:
    """Read the options for `command` from a YAML file or from a previous ``run.json``.

    Parameters
    ----------
    config : Path
        A YAML mapping of option names to values (``color_range`` or ``color-range``), or a ``run.json``, of
        which the last record of `command` is taken that was not refused; its relative paths begin in the folder in
        which it ran.
    command : str
        The verb.

    Returns
    -------
    dict
        Option name (with underscores) to value: texts of YAML as they are written, and what JSON holds.

    Raises
    ------
    InputError
        The file is not a mapping, or holds no record of `command`.
    """
    if not config.is_file():
        raise MissingInputError("{config} {}: no such file", config)
    try:
        content = parse_yaml(config.read_text(encoding="utf-8"))
    except InputError as error:
        reason = "nested too deeply to be options" if "too deeply" in str(error) else error
        raise InputError("{config} {}: {}", config, reason) from error
    except (ValueError, OSError) as error:  # text that is not UTF-8
        raise InputError("{config} {}: neither YAML nor JSON ({})", config, error) from error
    if not isinstance(content, dict):
        raise InputError("{config} {}: expected a mapping of option names to values", config)
    if isinstance(content.get("records"), list):
        entries = [
            record for record in content["records"] if isinstance(record, dict) and record.get("command") == command
        ]
        if not entries or not isinstance(entries[-1].get("config"), dict):
            raise InputError("{config} {}: this run.json holds no `bchisto {}`", config, command)
        worked = [record for record in entries if not record.get("refused")]
        content = _recorded((worked or entries)[-1], command)
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _recorded(entry: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the options of a record, with paths that hold from the present folder."""
    config = dict(entry["config"])
    if command == "boost" and not config.get("features") and isinstance(config.get("out"), str):
        config["features"] = [str(Path(config["out"]) / "features")]  # what the default was then
    folder = entry.get("folder")
    if not isinstance(folder, str) or Path(folder) == Path.cwd():
        return config
    for name in config.keys() & {*_PATHS, *_MAYBE_PATHS}:
        placed = [_placed(item, folder, always=name in _PATHS) for item in items_of(config[name])]
        config[name] = placed if isinstance(config[name], list) else placed[0]
    return config


def _placed(value: Any, folder: str, *, always: bool) -> Any:
    """Return a relative path as one from anywhere; of ``ENCODER=PATH`` the path."""
    if not isinstance(value, str):
        return value
    key, equals, path = ("", "", value) if always else value.rpartition("=")
    placed = Path(folder) / path
    return f"{key}{equals}{placed}" if always or placed.exists() else value
