"""Reads run folders: the commands that ran, their settings and results, and the differences between two runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import InputError, MissingInputError, PathInput
from ..formats import fits, read_json
from ..jobs import is_running
from .folder import Values, differences
from .record import Content

_log = logging.getLogger(__name__)

_COMPLETE = {"command": str, "status": str}
"""The entries that a complete record has at least, with their types."""


class RunEntry(NamedTuple):
    """One command of a run.

    Attributes
    ----------
    run : Path
        The folder of its record: the run folder, or that of the table beside which the record is.
    command, status, started : str
        The name of the command; its status; its start in UTC. The status is running, ok, error, interrupted, or
        ``not checked`` if a process on another host ran it and did not record its end.
    seconds : float or None
        Duration; None while it runs, or if it was killed.
    config : dict
        Options of the command.
    notes : dict
        Results of the command.
    versions : dict
        Package to version.
    error : str
        The error message; empty if there was no error.
    shard : str
        ``K/N``; empty without a shard.
    folder : Path
        The working folder, to which paths in options are relative.
    """

    run: Path
    command: str
    status: str
    started: str
    seconds: float | None
    config: Content
    notes: Content
    versions: dict[str, str]
    error: str
    shard: str
    folder: Path

    def __repr__(self) -> str:
        return f"RunEntry({self.command}, {self.outcome}, {self.started})"

    @property
    def outcome(self) -> str:
        """The status, with the shard if there is one."""
        if self.shard:
            return f"{self.status}, shard {self.shard}"
        return self.status


def read_run(run: PathInput) -> list[RunEntry]:
    """Read the commands of a run folder, oldest first.

    Raises
    ------
    MissingInputError
        The folder has no ``run.json``.
    InputError
        The file was not written by bchisto.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        missing = "run.json in this folder" if path.parent.is_dir() else "such folder"
        raise MissingInputError(f"{run}: no {missing}; give a folder that featurize or boost made")
    return read_entries(path)


def read_entries(path: Path) -> list[RunEntry]:
    """Read the commands of a ``run.json``, or of the record next to a table, oldest first.

    Raises
    ------
    InputError
        The file was not written by bchisto.
    """
    content = read_json(path, record=True)
    records = []
    if isinstance(content, dict) and isinstance(content.get("records"), list):
        records = content["records"]
    entries = [_entry(path.parent, record) for record in records if fits(record, _COMPLETE)]
    left_out = len(records) - len(entries)
    if left_out > 0:
        _log.warning(
            "%s: %d of its %d records are incomplete and left out", path, left_out, len(records)
        )
    if not entries:
        raise InputError(
            f"{path}: not a run.json of bchisto, or without a complete record; give the folder of a run"
        )
    return entries


def _entry(run: Path, record: Values) -> RunEntry:
    """Return a record as an entry, without invalid values."""

    def table(name: str) -> Content:
        value = record.get(name)
        return dict(value) if isinstance(value, Mapping) else {}

    status = record["status"]
    if status == "running":
        # it could not record its end if it was killed (``kill -9``)
        state = is_running(record.get("process"))
        status = {None: "not checked", True: "running", False: "interrupted"}[state]
    seconds = record.get("seconds")
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        seconds = None
    return RunEntry(
        run=run,
        command=record["command"],
        status=status,
        started=str(record.get("started", "")),
        seconds=seconds,
        config=table("config"),
        notes=table("notes"),
        versions=table("versions"),
        error=str(record.get("error", "")),
        shard=_shard(record.get("shard")),
        folder=Path(str(record.get("folder") or ".")),
    )


def _shard(value: Any) -> str:
    """Return a recorded shard as text; empty if it is not valid."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,6}/[1-9][0-9]{0,5}", value):
        return value
    return ""


def list_runs(folder: PathInput) -> list[RunEntry]:
    """Return the last command of every run in `folder` and below, sorted by path; an unreadable run is a warning."""
    root = Path(folder)
    if not root.is_dir():
        raise MissingInputError(f"{root}: no such folder; give one of runs")
    entries = []
    for path in sorted(root.rglob("run.json")):
        if (path.parent / "records").is_dir():
            try:
                entries.append(read_run(path.parent)[-1])
            except InputError as error:
                _log.warning("%s", error)
    return entries


def diff_runs(first: PathInput, second: PathInput) -> Iterator[tuple[str, Any, Any]]:
    """Compare two runs: settings and versions of the last run of each command, and accuracies.

    Yields
    ------
    tuple of (name, value of the first, value of the second)
        Only differences; None if a run does not have the value.
    """
    for name, sides in differences(_facts(read_run(first)), _facts(read_run(second))).items():
        yield name, *sides


def _facts(entries: list[RunEntry]) -> Content:
    """Return what can be compared; later entries of the same command replace earlier ones."""
    facts = {}
    for entry in entries:
        for name, value in entry.config.items():
            if name != "out":  # which differs in any two runs
                facts[f"{entry.command} {name}"] = value
        for package, version in entry.versions.items():
            facts[f"version of {package}"] = version
        facts.update(_results(entry.notes))
    return facts


def _results(notes: Values) -> Content:
    """Return the accuracies that a command notes, and what it noted of images and weights."""
    results = {}
    folders = notes.get("results")
    if isinstance(folders, Mapping):
        for name, result in folders.items():
            # boost records several results for a folder, finetune only the accuracy
            if isinstance(result, Mapping):
                result = result.get("accuracy")
            results[f"accuracy of {name}"] = result
    for name in ("images", "images_sha256", "weights_sha256"):
        if name in notes:
            results[name] = notes[name]
    return results
