"""``bchisto runs``: list, show, diff."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .ending import echo
from .options import PATH, Group


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
    from ..core.jobs import format_seconds
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
    from ..core.jobs import format_seconds
    from ..core.runs import read_run

    for entry in read_run(run):
        took = "" if entry.seconds is None else f", {format_seconds(entry.seconds)}"
        echo(f"{entry.command}: {entry.outcome}, {entry.started}{took}")
        for name, value in {**entry.config, **entry.notes}.items():
            if value not in (None, [], {}, ""):
                echo(f"  {name}: {_text(value)}")
        if entry.error:
            echo(f"  error: {entry.error}")


@runs.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.pass_context
def diff(context: click.Context, first: Path, second: Path) -> None:
    """Compare two runs: settings, versions, images, weights, accuracies; exit 1 when something differs.

    \b
    Example: bchisto runs diff run1 run2
    """
    from ..core.runs import diff_runs, read_run

    rows = list(diff_runs(first, second))
    mine, theirs = ({entry.command for entry in read_run(run)} for run in (first, second))
    lines = [f"{command}: only in {first}" for command in sorted(mine - theirs)]
    lines += [f"{command}: only in {second}" for command in sorted(theirs - mine)]
    both = [row for row in rows if row[0].partition(" ")[0] not in mine ^ theirs]
    both.sort(key=lambda row: None in row)  # values that only one run has come last
    lines += [f"{name}: {' -> '.join(_texts(old, new, name))}" for name, old, new in both]
    echo(*lines or ["no difference in settings, versions, images, weights and accuracies"])
    context.exit(1 if lines else 0)


def _texts(old: Any, new: Any, name: str) -> tuple[str, str]:
    """Return two different values as readable texts; if these are equal, as JSON."""
    texts = _text(old, name), _text(new, name)
    return texts if texts[0] != texts[1] else (json.dumps(old), json.dumps(new))


def _text(value: Any, name: str = "") -> str:
    """Return a recorded value as readable text."""
    if value is None:
        return "not set"
    if isinstance(value, float) and name.startswith("accuracy"):
        return f"{100 * value:.1f} %"
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
