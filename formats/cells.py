"""Readers of the CSV tables that bchisto writes.

They remove the apostrophe that protects cells from being run as formulas, see `bchisto.core.neutral`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core import unneutral
from . import limits


class Cells(Iterator[list[str]]):
    """Iterator over rows like `csv.reader` that removes the protecting apostrophe of each cell."""

    def __init__(self, lines: Iterable[str], **options: Any) -> None:
        self._reader = csv.reader(lines, **options)

    def __next__(self) -> list[str]:
        return list(map(unneutral, next(self._reader)))

    @property
    def line_num(self) -> int:
        """The number of lines that were read."""
        return self._reader.line_num


def read_records(lines: Iterable[str]) -> csv.DictReader[str]:
    """Return a `csv.DictReader` that removes the protecting apostrophe of each cell."""
    bounded = map(_bounded, lines)
    records = csv.DictReader(bounded)
    untyped: Any = records  # `reader` is typed as the class of `csv.reader`
    untyped.reader = Cells(bounded)
    return records


def _bounded(line: str) -> str:
    if len(line) > limits.LINE_CHARACTERS:
        raise csv.Error(f"a line of more than {limits.LINE_CHARACTERS:,} signs")
    return line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file that bchisto wrote, as a dict from column to cell; nothing if there is no file."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            yield from read_records(handle)
