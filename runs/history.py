"""Reading run folders: what ran, with which settings and results, and how two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingInputError
from ..jobs import is_running, read_json
from .compare import differences

__all__ = ["RunEntry", "diff_runs", "list_runs", "read_run"]

_OWN_PLACE = frozenset({"out"})
"""Options that differ between any two runs and say nothing about them."""


@dataclass(frozen=True)
class RunEntry:
    """One command of a run.

    Attributes
    ----------
    run : Path
        The run folder.
    command, status, started : str
        The verb; running, ok, error, interrupted, or ``not checked here`` where a process of another host ran it and
        left no end; UTC time.
    seconds : float or None
        None while it runs, or after it was killed.
    config : dict
        Its options.
    notes : dict
        Its results.
    versions : dict
        Package to version.
    error : str
        What went wrong, empty if nothing did.
    """

    run: Path
    command: str
    status: str
    started: str
    seconds: float | None
    config: dict[str, Any]
    notes: dict[str, Any]
    versions: dict[str, str]
    error: str = ""


def read_run(run: str | Path) -> list[RunEntry]:
    """Read the commands of a run folder, oldest first.

    Raises
    ------
    MissingInputError
        No ``run.json`` there.
    InputError
        The file is not one that bchisto wrote.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise MissingInputError(
            f"{run}: no run.json in this folder; give a folder that was --out of featurize or boost"
        )
    content = read_json(path)
    try:
        return [
            RunEntry(
                run=Path(run),
                command=record["command"],
                status=_status(record),
                started=record["started"],
                seconds=record.get("seconds"),
                config=record["config"],
                notes=record.get("notes", {}),
                versions=record.get("versions", {}),
                error=record.get("error", ""),
            )
            for record in content["records"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a run.json of bchisto") from error


def _status(record: Mapping[str, Any]) -> str:
    """Return how a command ended; one that could not write its end (``kill -9``) was interrupted."""
    status = str(record["status"])
    if status != "running":
        return status
    return {True: "running", False: "interrupted", None: "not checked here"}[is_running(record.get("process", {}))]


def list_runs(folder: str | Path) -> list[RunEntry]:
    """Return the last command of every run at or below `folder`, by path."""
    root = Path(folder)
    if not root.is_dir():
        raise MissingInputError(f"{root}: no such folder")
    return [read_run(path.parent)[-1] for path in sorted(root.rglob("run.json")) if (path.parent / "records").is_dir()]


def diff_runs(first: str | Path, second: str | Path) -> Iterator[tuple[str, Any, Any]]:
    """Compare two runs: the settings and versions of the last of each command, and the accuracies.

    Yields
    ------
    tuple of (name, value of the first, value of the second)
        What differs only; None where one of them has no such value.
    """
    old, new = (_facts(read_run(run)) for run in (first, second))
    for name, (a, b) in differences(old, new).items():
        yield name, a, b


def _facts(entries: list[RunEntry]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for entry in entries:  # later ones of the same command win
        facts.update({f"{entry.command} {k}": v for k, v in entry.config.items() if k not in _OWN_PLACE})
        facts.update({f"version of {name}": version for name, version in entry.versions.items()})
        facts.update(_results(entry.notes))
    return facts


def _results(notes: Mapping[str, Any]) -> dict[str, Any]:
    results = {f"accuracy of {name}": found.get("accuracy") for name, found in notes.get("results", {}).items()}
    for name in ("images", "images_sha256", "weights_sha256"):
        if name in notes:
            results[name] = notes[name]
    return results
