"""``run.json``: the record of each command, written before the work and completed with its status at the end.

Every command writes its own record to ``RUN/records/``, and then rewrites ``RUN/run.json`` from all records. So shards
on several hosts need no lock: the last writer sees every record.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from ... import __version__
from .. import BchistoError, Content, InputError, MissingInputError
from ..formats import parse_yaml, read_json
from ..jobs import (
    UnderWayError,
    Work,
    default_jobs,
    ensure_folder,
    hold_interrupts,
    in_turn,
    is_interrupt,
    is_running,
    named_files,
    reading,
    this_process,
    write_json,
)
from .folder import Values

_log = logging.getLogger(__name__)

_WRITTEN = ("out", "html")
"""Options that are output paths; files that other options name are inputs."""

_PATHS = (
    *_WRITTEN,
    "images",
    "labels",
    "features",
    "only",
    "test_list",
    "sources",
    "model",
    "annotations",
    "tissue_from",
    "patients",
    "colours",
)
"""Options whose values are paths."""

SCHEMA_VERSION = 1

_PACKAGES = (
    "bchisto",
    "tensorflow",
    "jax",
    "torch",
    "timm",
    "transformers",
    "openvino",
    "keras",
    "lightgbm",
    "scikit-learn",
    "scipy",
    "numpy",
    "h5py",
    "opencv-python-headless",
    "Pillow",
    "joblib",
)


ENDING = "BCHISTO_ENDING"
"""Environment variable: the file into which a command that fails writes its error, for the process that started it."""


def write_ending(error: str) -> None:
    """Write the error of this process into the file that `ENDING` names, if there is one."""
    path = os.environ.get(ENDING)
    if path:
        write_json(Path(path), {"error": error})


def read_ending(path: Path) -> str:
    """Return the error that `write_ending` wrote into a file; empty if there is no such file."""
    if not path.is_file():
        return ""
    return str(read_json(path)["error"])


@dataclass
class RunRecord:
    """The record of one command; `note` adds results to it while the command runs, `save` writes it with them."""

    path: Path
    content: Content
    write: Callable[[Path, Content], None]

    def save(self) -> None:
        """Write the record as it is now."""
        self.write(self.path, self.content)

    def note(self, **values: Any) -> None:
        """Add results to the record, such as checksums of weights, sizes of units, or outputs."""
        self.content.setdefault("notes", {}).update(values)


@contextlib.contextmanager
def only_run(run: Path, work: Work) -> Iterator[None]:
    """Refuse a run folder in which another command works at this moment; shards, checks and Dask share a folder.

    The lock is beside the folder, since a folder that is refused is not created.

    Raises
    ------
    UnderWayError
    """
    if not work.is_whole:
        yield
        return
    with in_turn(Path(f"{run.resolve()}.running"), seconds=0) as has_turn:
        if not has_turn:
            text = (
                "{}: another command works in it at this moment; let it end, or give another {out}"
            )
            raise UnderWayError(text, run)
        yield


@contextlib.contextmanager
def record_run(
    run: Path, *, command: str, config: Values, work: Work | None = None
) -> Iterator[RunRecord]:
    """Record a command in ``RUN/run.json``, at its start and again at its end.

    The status at the end is ``ok``, ``error`` or ``interrupted``. If a command is refused, a run folder that did not
    exist before is removed again.

    Parameters
    ----------
    run : Path
        The run folder, created if it does not exist.
    command : str
        Name of the command, e.g. ``"featurize"``.
    config : mapping
        The resolved options, JSON-ready, under the names of the command-line options.
    work : Work, optional
        How the work is done: its shard is recorded, and a command that only checks is recorded as ``submit``.

    Yields
    ------
    RunRecord
        The record, to which results can be added.
    """
    is_new = not run.exists()
    ensure_folder(run)
    content = _opened(command, config, work)
    folder = run / "records"
    name = f"{_stamp(folder)}-{content['command']}-{secrets.token_hex(2)}.json"
    record = RunRecord(folder / name, content, _write_in_run)
    for path, previous in _read_records(folder):
        # its process ended without writing the record, as after kill -9
        if previous.get("status") == "running" and is_running(previous.get("process")) is False:
            write_json(path, {**previous, "status": "interrupted", "error": "its process is gone"})
    try:
        with _closed(record):
            yield record
    except BchistoError as error:
        if is_new and error.exit_code == InputError.exit_code:
            # the folders are removed only if nothing else is in them
            with contextlib.suppress(OSError):
                record.path.unlink()
                folder.rmdir()  # fails, and so ends the block, if another command has a record there
                (run / "run.json").unlink()
                run.rmdir()
        raise


def _stamp(folder: Path) -> str:
    """Return the time, as the name of a record begins with it: later than all others even if the clock was set back."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    latest = max((path.name.partition("-")[0] for path in folder.glob("*-*.json")), default="")
    if latest >= now:
        return f"{latest}1"
    return now


@contextlib.contextmanager
def record_table(
    table: Path, *, command: str, config: Values, work: Work, **kept: Any
) -> Iterator[RunRecord]:
    """Record a command that writes one table in ``<table>.run.json``, as `record_run` does for a folder.

    Parameters
    ----------
    table : Path
        The table that the command writes.
    command, config, work
        As in `record_run`, but a command that only checks writes nothing. The file records only this command;
        ``--config`` accepts it like any ``run.json``.
    **kept : JSON-ready values
        Further entries of the record, from its start on, also if the command fails: ``overwrite``, so that a command
        that resumes replaces the table too, and ``notes`` of earlier calls.

    Yields
    ------
    RunRecord
    """

    def write(path: Path, content: Content) -> None:
        if not work.checks:  # a check must not replace the record of the table
            write_json(path, {"schema_version": SCHEMA_VERSION, "records": [content]})

    record = RunRecord(_beside(table), {**_opened(command, config, work), **kept}, write)
    with _closed(record):
        yield record


def record_of_table(table: Path) -> Content:
    """Return the record next to a table; if bchisto wrote none, only empty notes."""
    path = _beside(table)
    no_notes: Content = {"written": {}, "empty": [], "engine": ""}
    if not path.is_file():
        return {"notes": no_notes}
    try:
        (record,) = read_json(path, record=True)["records"]
        # a record without an engine is of a version that computed as in training
        notes = no_notes | {"engine": "as trained"} | record.get("notes", {})
        written = {name: [str(key) for key in keys] for name, keys in notes["written"].items()}
        notes |= {
            "written": written,
            "empty": list(notes["empty"]),
            "engine": str(notes["engine"]),
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"notes": no_notes}
    return {**record, "notes": notes}


def _beside(table: Path) -> Path:
    """Return the path of the record of a table."""
    return table.with_name(f"{table.name}.run.json")


def _opened(command: str, config: Values, work: Work | None) -> Content:
    """Return the record of a command at its start."""
    work = Work.of(work)
    record = {
        "command": "submit" if work.checks else command,
        "status": "running",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "config": dict(config),
        "versions": {
            "python": platform.python_version(),
            **versions_of(_PACKAGES),
            "science": as_text(science()),
        },
        "hardware": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": default_jobs(),
        },
        "process": this_process(),
        "folder": str(Path.cwd()),
    }
    if work.shard is not None:
        record["shard"] = str(work.shard)
    return record


def _processor() -> str:
    """Return the model of the processor, or its kind if the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name[^:\n]*:(.*)", text, re.MULTILINE)
        if model is not None:
            return model[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def _closed(record: RunRecord) -> Iterator[None]:
    """Save a record at the start, and again at the end with status and duration; protect the inputs in between."""
    record.save()
    start = time.monotonic()
    content = record.content
    inputs = [value for name, value in content["config"].items() if name not in _WRITTEN]
    try:
        with reading(named_files(*inputs)):
            yield
    except BaseException as error:
        content["status"] = "interrupted" if is_interrupt(error) else "error"
        content["refused"] = (
            isinstance(error, BchistoError) and error.exit_code == InputError.exit_code
        )
        content["error"] = f"{type(error).__name__}: {error}"
        raise
    else:
        content["status"] = "ok"
    finally:
        with hold_interrupts():
            content["seconds"] = round(time.monotonic() - start, 3)
            record.save()


def _write_in_run(path: Path, content: Content) -> None:
    """Write a record of a run folder, and ``run.json`` with all of them."""
    write_json(path, content)
    records = [record for _, record in _read_records(path.parent)]
    run = path.parent.parent
    write_json(run / "run.json", {"schema_version": SCHEMA_VERSION, "records": records})


def _read_records(folder: Path) -> Iterator[tuple[Path, Content]]:
    """Yield the path and content of each readable record; for any other, log only a warning."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = read_json(path, record=True)
            json.dumps(content, allow_nan=False)
        except (ValueError, RecursionError) as error:
            if path.is_file():
                _log.warning(
                    "%s: left out of run.json, since it is not a readable record (%s)", path, error
                )
            continue
        if isinstance(content, dict):
            yield path, content
        else:
            _log.warning("%s: left out of run.json, since it is not a record", path)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages; those that are not installed are left out."""
    versions = {}
    for package in packages:
        if package == "bchisto":
            versions[package] = __version__
            continue
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def science() -> dict[str, str]:
    """Return a digest for each part of the code on which figures rest: stains, features, folds, models, metrics.

    It is the digest of values of fixed synthetic images. ``tools/benchmarks/science.py`` computes these values, and a
    test fails if the code gives other values than those kept here.
    """
    text = (resources.files(__package__) / "published" / "science.json").read_text(encoding="utf-8")
    return {
        part: hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]
        for part, values in json.loads(text).items()
    }


def as_text(digests: dict[str, str]) -> str:
    """Return digests as a cell of a table: ``features:01234567 stains:89abcdef``."""
    return " ".join(f"{part}:{digest}" for part, digest in sorted(digests.items()))


def load_config(config: Path, *, command: str) -> Content:
    """Read the options for `command` from a YAML file or from a previous ``run.json``.

    Parameters
    ----------
    config : Path
        A YAML mapping of option names to values (``color_range`` or ``color-range``), or a ``run.json``. Of the latter,
        the last record of `command` that was not refused is used; its paths are relative to the folder in which it ran.
    command : str
        Name of the command.

    Returns
    -------
    dict
        Option name (with underscores) to value: unconverted texts from YAML, or the values of JSON.

    Raises
    ------
    InputError
        The file is not a mapping, or has no record of `command`.
    """
    if not config.is_file():
        raise MissingInputError("{config} {}: no such file", config)
    try:
        content = parse_yaml(config.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:  # also text that is not UTF-8
        raise InputError("{config} {}: neither YAML nor JSON ({})", config, error) from error
    if not isinstance(content, dict):
        raise InputError("{config} {}: expected a mapping of option names to values", config)
    if isinstance(content.get("records"), list):
        records = [
            record
            for record in content["records"]
            if isinstance(record, dict) and record.get("command") == command
        ]
        records = [record for record in records if not record.get("refused")] or records
        if not records or not isinstance(records[-1].get("config"), dict):
            raise InputError("{config} {}: this run.json has no `bchisto {}`", config, command)
        content = _options_of(records[-1])
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _options_of(record: Values) -> Content:
    """Return the options of a record, with paths that are valid in the current folder."""
    options = dict(record["config"])
    out = options.get("out")
    if record["command"] == "boost" and not options.get("features") and isinstance(out, str):
        # the default depends on the folder
        options["features"] = [str(Path(out) / "features")]
    folder = record.get("folder")
    if not isinstance(folder, str) or Path(folder) == Path.cwd():
        return options
    for name in options.keys() & {*_PATHS}:
        options[name] = _placed(folder, options[name])
    return options


def _placed(folder: str, path: Any) -> Any:
    """Return recorded paths (one or a list), which were relative to a folder, so that they are valid in any folder."""
    if isinstance(path, list):
        return [_placed(folder, item) for item in path]
    if isinstance(path, str):
        return str(Path(folder) / path)
    return path
