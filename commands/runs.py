"""``bchisto runs``, ``bchisto status`` and ``bchisto doctor``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..core import Writer
from ..core.jobs import format_seconds, json_text
from .ending import echo
from .options import PATH, Group, argument, command, flag
from .terminal import in_flags

_IN_PROGRESS = 3
"""The exit code while work is in progress."""
_WATCH_SECONDS = 10.0
"""The interval of ``--watch``."""


def _status_options() -> Iterator[click.Parameter]:
    yield argument("run", type=PATH)
    yield flag("--json", is_flag=True, help="Print all of it as JSON.")
    yield flag(
        "--watch", is_flag=True, help="Print it again every 10 seconds while work is in progress."
    )


@command(options=_status_options)
def status(run: Path, json: bool, watch: bool) -> int:
    """Show which part of RUN is done, who works on the rest, and the next command.

    Exit code 0: done; 1: failed or interrupted, so that somebody must act; 3: in progress; 4: nothing yet.

    \b
    Example: bchisto status run --watch
    """
    from ..apps.submit import read_status, status_lines

    while True:
        now = read_status(run)
        if json:
            lines = [json_text(asdict(now))]
        else:
            lines = status_lines(now)
            if watch:
                echo(time.strftime("%Y-%m-%d %H:%M:%S"))
        echo(*lines, lines=True)
        if not watch or now.exit_code != _IN_PROGRESS:
            return now.exit_code
        time.sleep(_WATCH_SECONDS)


def _doctor_options() -> Iterator[click.Parameter]:
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
def doctor(out: Any, as_json: bool, **named: Any) -> int:
    """Check this machine: what will fail, and what helps.

    Prints what needs attention, with -v everything. Exit code 1 if something will fail. Your user name and the folders
    that you name are hidden; read it before you share it, as it may quote other names.

    \b
    Example: bchisto doctor --out run --model model.bchisto
    """
    from ..apps.doctor import as_json as plain
    from ..apps.doctor import as_lines, examine

    every = logging.getLogger("bchisto").isEnabledFor(logging.DEBUG)  # what -v sets
    checks = examine(out, **named, write=_IN_FLAGS)
    summary = plain(checks)
    if as_json:
        echo(json.dumps(summary, indent=2), lines=True)
    else:
        echo(*as_lines(checks, every=every))
    return int(summary["failed"])


def _as_flag(name: str, value: str) -> str:
    """Write a parameter as an option of doctor or featurize; loads packages, which doctor's own process never does."""
    from .train import featurize

    return in_flags(doctor, featurize)(name, value)


def _has_no_flag(name: str) -> bool:
    """Return whether neither doctor nor featurize has an option."""
    return not _as_flag(name, "").startswith("-")


_IN_FLAGS = Writer(_as_flag, lacks=_has_no_flag)
"""How doctor writes parameters; its parts are functions of this module, so that another process can be sent them."""


@click.group(cls=Group)
def runs() -> None:
    """List runs, show what one did, compare two."""


@runs.command(name="list")
@click.argument("folder", type=PATH, default=".")
def list_(folder: Path) -> None:
    """List the run folders at or below FOLDER with their last command.

    \b
    Example: bchisto runs list experiments
    """
    from ..core.runs import list_runs

    for entry in list_runs(folder):
        took = "-" if entry.seconds is None else format_seconds(entry.seconds)
        echo(f"{entry.run}  {entry.command}  {entry.outcome}  {entry.started}  {took}")


@runs.command()
@click.argument("run", type=PATH)
def show(run: Path) -> None:
    """Show every command of a run: options, results, errors.

    \b
    Example: bchisto runs show run
    """
    from ..core.runs import read_run

    for entry in read_run(run):
        line = f"{entry.command}: {entry.outcome}, {entry.started}"
        if entry.seconds is not None:
            line += f", {format_seconds(entry.seconds)}"
        echo(line)
        for name, value in {**entry.config, **entry.notes}.items():
            if value not in (None, [], {}, ""):
                echo(f"  {name}: {_text(value)}")
        if entry.error:
            echo(f"  error: {entry.error}")


@runs.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
def diff(first: Path, second: Path) -> int:
    """Compare two runs: settings, versions, images, weights, accuracies; exit 1 when something differs.

    \b
    Example: bchisto runs diff run1 run2
    """
    from ..core.runs import diff_runs

    # values that only one run has come last
    rows = sorted(diff_runs(first, second), key=lambda row: None in row)
    if not rows:
        echo("no difference in settings, versions, images, weights and accuracies")
        return 0
    echo(*[f"{name}: {_text(old)} -> {_text(new)}" for name, old, new in rows])
    return 1


def _text(value: Any) -> str:
    """Return a recorded value as readable text."""
    if value is None:
        return "not set"
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
