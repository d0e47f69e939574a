"""Readers of the CSV tables that bchisto writes.

They remove the apostrophe that protects cells from being run as formulas, see `bchisto.core.neutral`.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import unneutral
from . import limits


def read_cells(lines: Iterable[str]) -> Iterator[list[str]]:
    """Return the rows of a CSV file like `csv.reader`, without the protecting apostrophe of each cell."""
    return (list(map(unneutral, row)) for row in csv.reader(lines))


def read_records(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Return the rows below the header as a dict from column to cell, see `read_cells`; empty lines are skipped.

    Raises
    ------
    csv.Error
        A line is too long, or not of a CSV file.
    """
    rows = read_cells(map(_bounded, lines))
    header = next(rows, [])
    return (dict(itertools.zip_longest(header, row[: len(header)], fillvalue="")) for row in rows if row)


def _bounded(line: str) -> str:
    if len(line) > limits.LINE_CHARACTERS:
        raise csv.Error(f"a line of more than {limits.LINE_CHARACTERS:,} signs")
    return line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file that bchisto wrote, as a dict from column to cell; nothing if there is no file."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            yield from read_records(handle)
