"""Tables as CSV whose cells read back as they were meant, see `bchisto.core.neutral`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core import unneutral
from . import limits


class Cells(Iterator[list[str]]):
    """As `csv.reader`, with every cell as it is meant."""

    def __init__(self, lines: Iterable[str], **options: Any) -> None:
        self._reader = csv.reader(lines, **options)

    def __next__(self) -> list[str]:
        return list(map(unneutral, next(self._reader)))

    @property
    def line_num(self) -> int:
        """The number of lines that were read."""
        return self._reader.line_num


def read_records(lines: Iterable[str]) -> csv.DictReader[str]:
    """As `csv.DictReader`, with every cell as it is meant."""
    bounded = map(_bounded, lines)
    reader = csv.DictReader(bounded)
    made: Any = reader
    made.reader = Cells(bounded)
    return reader


def _bounded(line: str) -> str:
    if len(line) > limits.LINE_CHARACTERS:
        raise csv.Error(f"a line of more than {limits.LINE_CHARACTERS:,} signs")
    return line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the records of a CSV file that we wrote, column to cell; none where there is no such file."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            yield from read_records(handle)
