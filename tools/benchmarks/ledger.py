"""The ledger: runs a command that measures, and appends a row for each of its figures to a table of `docs/results`.

A row says what measured the figure and what it rests on. The command is typed behind the table as always:

    python tools/benchmarks/ledger.py docs/results/measured.csv evaluate run --out evaluation
    python tools/benchmarks/ledger.py docs/results/measured.csv reproduce breakhis-encoder ... --out run
"""

from __future__ import annotations

import datetime
import functools
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import bchisto.apps.recipes
from bchisto import __version__
from bchisto.cli import main as run_command
from bchisto.core import InputError
from bchisto.core.formats import read_rows
from bchisto.core.jobs import write_rows
from bchisto.core.runs import read_run, science
from bchisto.core.runs.record import as_text
from bchisto.evaluate import Figure, Panel
from bchisto.evaluate.report import RecordedEvaluation

REPOSITORY = Path(__file__).resolve().parents[2]

Entry = dict[str, Any]


class LedgerRow(NamedTuple):
    """A figure; what is not known is empty.

    Attributes
    ----------
    name : str
        The table of predictions, or the two that are compared.
    figure : str
        What is measured, such as ``accuracy`` or ``difference``.
    value, low, high : float
        A share, and its 95 % interval.
    p : float
        Of a difference: Holm's p.
    images, units : int
        Predictions, and units of the interval.
    unit : str
        What these are, such as ``patient``.
    protocol : str
        The folds.
    seeds : int
        Of each fold.
    settings : str
        Those that decide.
    command, date, version : str
        What measured it, and when: the commit in a clean clone, otherwise the version.
    science : str
        What it rests on, see `science_of`.
    """

    name: str = ""
    figure: str = ""
    value: float | str = ""
    low: float | str = ""
    high: float | str = ""
    p: float | str = ""
    images: int | str = ""
    units: int | str = ""
    unit: str = ""
    protocol: str = ""
    seeds: int | str = ""
    settings: str = ""
    command: str = ""
    date: str = ""
    version: str = ""
    science: str = ""


_FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auc",
    "patient_recognition_rate",
    "two_class accuracy",
    "two_class auc",
)
"""Figures of a table that are recorded, by their names in `Panel.figures`."""


def append_figures(
    path: Path,
    panels: Iterable[Panel],
    comparisons: Iterable[Entry] = (),
    *,
    command: str,
    system: str = "",
) -> list[LedgerRow]:
    """Append the figures of tables and of their comparisons to a ledger, and return their rows.

    Parameters
    ----------
    path : Path
        A CSV file with the columns of `LedgerRow`; a new one is begun.
    panels : sequence of Panel
        Each with its folder.
    comparisons : sequence of dict
        As in ``metrics.json``.
    command : str
        What measured them.
    system : str
        What was reproduced, with which names begin; otherwise it is the dataset, if a run records it.

    Raises
    ------
    InputError
        The file has other columns.
    """
    rows = read_ledger(path)
    measured = {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": _version(),
    }
    added: list[LedgerRow] = []
    tables = {panel.table.name: panel for panel in panels}
    for panel in tables.values():
        rests_on = science_of(panel.folder)
        rows_of_table = _rows_of(panel, system)
        added += (row._replace(science=rests_on, **measured) for row in rows_of_table)
    for pair in comparisons:
        both = (tables[pair["second"]], tables[pair["first"]])
        rests_on = science_of(*(panel.folder for panel in both))
        rows_of_pair = _rows_of_pair(pair, *both, system)
        added += (row._replace(science=rests_on, **measured) for row in rows_of_pair)
    write_rows(path, LedgerRow._fields, [*rows, *added])
    return added


def read_ledger(path: Path) -> list[LedgerRow]:
    """Read the rows of a ledger; none if there is no file.

    Raises
    ------
    InputError
        It has other columns.
    """
    rows = list(read_rows(path))
    if any(row.keys() != set(LedgerRow._fields) for row in rows):
        columns = ",".join(LedgerRow._fields)
        raise InputError(f"{path}: not a ledger, whose columns are {columns}; give another file")
    return [LedgerRow(**row) for row in rows]


def _rows_of(panel: Panel, system: str) -> Iterator[LedgerRow]:
    """Yield a row for each figure of a table, and for what chance reaches."""
    metrics = panel.metrics
    settings = dict(panel.run.get("settings", {}))
    table = LedgerRow(
        name=_name(panel, system),
        images=metrics["n"],
        units=metrics["units"]["count"],
        unit=_unit(panel, metrics["units"]["kind"]),
        protocol=settings.pop("protocol", metrics["protocol"]),
        seeds=settings.pop("seeds", ""),
        settings="; ".join(f"{name} {value}" for name, value in settings.items()),
    )
    figures = panel.figures
    for name in _FIGURES:
        yield from _row(table, name.replace("_class ", "-class "), figures.get(name))
    two_class = metrics.get("two_class") or {}
    ranked_together = {"value": two_class.get("auc_pooled"), "interval": None}
    yield from _row(table, "two-class auc_pooled", ranked_together)
    for name in ("largest_class", "balanced", "by_group"):
        share = {"value": metrics["chance"].get(name), "interval": None}
        yield from _row(table, f"chance {name}", share)


def _rows_of_pair(pair: Entry, panel: Panel, against: Panel, system: str) -> Iterator[LedgerRow]:
    """Yield the difference of two tables, and the least difference that most such studies would detect."""
    table = LedgerRow(
        name=f"{_name(panel, system)} against {_name(against, system)}",
        units=pair["units"],
        unit=_unit(panel, pair["unit"]),
    )
    yield from _row(
        table._replace(p=round(pair["p_holm"], 6)), "difference", pair["differences"]["accuracy"]
    )
    detectable = {"value": pair["detectable"], "interval": None}
    yield from _row(table, "detectable difference", detectable)


def _name(panel: Panel, system: str) -> str:
    """Return the name of a table, after that of the system or else of its dataset."""
    return " ".join(filter(None, (system or panel.run.get("dataset"), panel.table.name)))


def _unit(panel: Panel, kind: str) -> str:
    """Return what a unit of a table is called, such as ``patient``."""
    return str(panel.metrics["names"].get(kind, kind))


def _row(table: LedgerRow, figure: str, entry: Entry | Figure | None) -> Iterator[LedgerRow]:
    """Yield the row of a figure, unless it is not defined."""
    if entry is None or entry["value"] is None:
        return
    row = table._replace(figure=figure, value=round(entry["value"], 6))
    if entry["interval"]:
        low, high = entry["interval"]
        row = row._replace(low=round(low, 6), high=round(high, 6))
    yield row


_PARTS = {
    "featurize": ("stains", "features"),
    "boost": ("folds", "models"),
    "finetune": ("stains", "folds", "models"),
    "trial": ("stains", "features", "folds", "models"),
    "reproduce": ("stains", "features", "folds", "models"),
}
"""Parts that the result of a command rests on."""


def science_of(*folders: Path) -> str:
    """Return what the figures of tables rest on: metrics as they are now, and what the commands of their runs record.

    Parameters
    ----------
    *folders : Path
        The folder of each table, in a run folder or not.

    Returns
    -------
    str
        See `as_text`. If commands or runs differ, or one recorded nothing, all digests of a part stand side by side.
    """
    digests = {"metrics": {science()["metrics"]}}
    for folder in folders:
        above = (folder, *folder.absolute().parents)
        run = next((path for path in above if (path / "run.json").is_file()), None)
        for entry in read_run(run) if run else ():
            texts = str(entry.versions.get("science", "")).split()
            recorded = dict(text.partition(":")[::2] for text in texts)
            for part in _PARTS.get(entry.command, ()):
                digests.setdefault(part, set()).add(recorded.get(part, "unknown"))
    return as_text({part: "/".join(sorted(several)) for part, several in digests.items()})


def _version() -> str:
    """Return the commit of a clone without changes, otherwise the version."""
    program = shutil.which("git")
    if not (REPOSITORY / ".git").exists() or program is None:
        return __version__
    texts = []
    # the ledger itself is no change
    status = ["status", "--porcelain", "--", ".", ":!docs/results"]
    for arguments in (status, ["rev-parse", "--short=8", "HEAD"]):
        git = subprocess.run(
            [program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        texts.append(git.stdout.strip())
    changes, commit = texts
    if changes or not commit:
        return __version__
    return commit


def keeping(function: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    """Return a function that does the same, and keeps the options and the result of each call."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        calls.append((options, result))
        return result

    return call


def main(path: str, *words: str) -> None:
    """Run a command, then append its figures."""
    ledger = Path(path)
    read_ledger(ledger)  # another table is refused before the work
    evaluations: list[Any] = []
    systems: list[Any] = []
    recipes = bchisto.apps.recipes
    try:
        with (
            patch.object(RecordedEvaluation, "run", keeping(RecordedEvaluation.run, evaluations)),
            patch.object(recipes, "reproduce", keeping(recipes.reproduce, systems)),
        ):
            run_command([*words])
    finally:
        append = functools.partial(append_figures, ledger, command=shlex.join(["bchisto", *words]))
        rows = []
        for _, evaluation in evaluations:
            rows += append(evaluation.panels, evaluation.result["comparisons"])
        for options, result in systems:
            panels = [
                replace(run.panel, folder=run.folder) for run in result.protocols if run.panel
            ]
            if result.merged:
                system = " ".join([result.recipe.name, *options["scope"].encoders])
                rows += append(panels, system=f"{system}:")
        if rows:
            print(f"{len(rows)} figures of version {rows[0].version} added to {ledger}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
