"""The ledger: a row for each figure of a result, with what measured it and what it rests on."""

from __future__ import annotations

import datetime
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..core import InputError
from ..core.formats import read_rows
from ..core.jobs import write_rows
from ..core.runs import science_of
from .intervals import Entry, Figure
from .panel import Panel


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
        What it rests on, see `bchisto.core.runs.science_of`.
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
    system : str
        What was reproduced, with which names begin; otherwise it is the dataset, if a run records it.

    Raises
    ------
    InputError
        The file has other columns.
    """
    rows = read_ledger(path)
    measured = {
        "command": shlex.join(["bchisto", *sys.argv[1:]]),
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


def _version() -> str:
    """Return the commit of a clone without changes, otherwise the version."""
    folder = Path(__file__).parents[1]
    program = shutil.which("git")
    if not (folder / ".git").exists() or program is None:
        return __version__
    texts = []
    # the ledger itself is no change
    status = ["status", "--porcelain", "--", ".", ":!docs/results"]
    for arguments in (status, ["rev-parse", "--short=8", "HEAD"]):
        git = subprocess.run(  # nosec B603 - the words are ours
            [program, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        texts.append(git.stdout.strip())
    changes, commit = texts
    if changes or not commit:
        return __version__
    return commit
