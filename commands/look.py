"""``bchisto status`` and ``bchisto doctor``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core import InputError, Message
from ..core.jobs import format_seconds, json_text
from .ending import echo
from .options import PATH, Options, argument, command, flag
from .terminal import is_logged
from .train import write_flag

if TYPE_CHECKING:
    from ..core.runs import RunEntry

_IN_PROGRESS = 3
"""The exit code while work is in progress."""
_WATCH_SECONDS = 10.0
"""The interval of ``--watch``."""


class _View(NamedTuple):
    """What `status` prints: as JSON or as lines, and its exit code."""

    values: Any
    lines: Sequence[str]
    exit_code: int = 0


def _status_options() -> Options:
    yield argument("run", type=PATH, metavar="RUN|FOLDER")
    yield argument("other", type=PATH, required=False)
    yield flag("--history", is_flag=True, help="Every command of a run: options, results, errors.")
    yield flag("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
    yield flag(
        "--watch", is_flag=True, help="Print it again every 10 seconds while work is in progress."
    )


@command(options=_status_options)
def status(run: Path, other: Path | None, history: bool, as_json: bool, watch: bool) -> int:
    """Show which part of RUN is done, who works on the rest, and the next command.

    Exit code 0: done; 1: failed or interrupted, so that somebody must act; 3: in progress; 4: nothing yet.

    Of a FOLDER without work of its own it lists the runs below, with their last command. With OTHER it compares two
    runs: settings, versions, images, weights, accuracies; exit code 1 if something differs.

    \b
    Example: bchisto status run --watch
    """
    if history and other is not None:
        raise InputError(Message("{history} shows one run; leave it out to compare two"))
    while True:
        if other is not None:
            view = _comparison(run, other)
        elif history:
            view = _history(run)
        else:
            view = _progress(run)
        if as_json:
            echo(json_text(view.values, default=str), lines=True)
        else:
            if watch:
                echo(time.strftime("%Y-%m-%d %H:%M:%S"))
            echo(*view.lines)
        if not watch or view.exit_code != _IN_PROGRESS:
            return view.exit_code
        time.sleep(_WATCH_SECONDS)


def _progress(run: Path) -> _View:
    """Return how far a run is or, for a folder of runs, the list of them."""
    from ..apps.submit import read_status, status_lines
    from ..core.runs import list_runs

    state = read_status(run)
    if not state.stages and not (run / "run.json").is_file():
        entries = list_runs(run)
        if entries:
            lines = [
                f"{entry.run}  {entry.command}  {entry.outcome}  {entry.started}  {_took(entry)}"
                for entry in entries
            ]
            return _View([entry._asdict() for entry in entries], lines)
    return _View(asdict(state), status_lines(state), state.exit_code)


def _took(entry: RunEntry) -> str:
    """Return the duration of a command; "-" if it is not known."""
    return "-" if entry.seconds is None else format_seconds(entry.seconds)


def _history(run: Path) -> _View:
    """Return the commands of a run."""
    from ..core.runs import read_run

    entries = read_run(run)
    lines = []
    for entry in entries:
        lines.append(f"{entry.command}: {entry.outcome}, {entry.started}, {_took(entry)}")
        for name, value in {**entry.config, **entry.notes}.items():
            if value not in (None, [], {}, ""):
                lines.append(f"  {name}: {_text(value)}")
        if entry.error:
            lines.append(f"  error: {entry.error}")
    return _View([entry._asdict() for entry in entries], lines)


def _comparison(first: Path, second: Path) -> _View:
    """Return what differs between two runs; values that only one of them has come last."""
    from ..core.runs import diff_runs

    rows = sorted(diff_runs(first, second), key=lambda row: None in row)
    if not rows:
        return _View(rows, ["no difference in settings, versions, images, weights and accuracies"])
    lines = [f"{name}: {_text(old)} -> {_text(new)}" for name, old, new in rows]
    return _View(rows, lines, exit_code=1)


def _text(value: Any) -> str:
    """Return a recorded value as readable text."""
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _doctor_options() -> Options:
    yield flag(
        "--out",
        group="Output",
        type=PATH,
        default=".",
        help="Where results will go: is there room?",
    )
    yield flag("--images", group="Input", type=PATH, help="A dataset: can it be listed?")
    yield flag("--run", group="Input", type=PATH, help="A run folder: how did its commands end?")
    yield flag(
        "--model", group="Input", type=PATH, help="A model file: does it load with its weights?"
    )
    yield flag("--json", "as_json", group="Output", is_flag=True, help="Print JSON.")


@command(options=_doctor_options)
def doctor(out: Any, as_json: bool, **options: Any) -> int:
    """Check this machine: what will fail, and what helps.

    Prints what needs attention, with -v everything. Exit code 1 if something will fail. Your user name and the folders
    that you name are hidden; read it before you share it, as it may quote other names.

    \b
    Example: bchisto doctor --out run --model model.bchisto
    """
    from ..apps.doctor import as_json as plain
    from ..apps.doctor import as_lines, examine

    checks = examine(out, **options, write=write_flag)
    summary = plain(checks)
    if as_json:
        echo(json.dumps(summary, indent=2), lines=True)
    else:
        echo(*as_lines(checks, every=is_logged(logging.DEBUG)))
    return int(summary["failed"])
