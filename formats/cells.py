"""Cells of CSV tables: none that we write is run as a formula by a spreadsheet, and each reads back as it was.

A text that begins with a sign of a formula, and is no number, gets an apostrophe before it, with which spreadsheets
mark a text. So does one that begins with apostrophes and such a sign, so that reading, which takes one apostrophe away,
is never in doubt.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import limits

_MARK = "'"
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""Signs with which a formula begins; spreadsheets take the wide ones for the narrow."""


def neutral(cell: Any) -> Any:
    """Return a cell as it is written; numbers stay as they are, also as text.

    Examples
    --------
    >>> neutral("=1+1"), neutral("'=1+1"), neutral("-1.5"), neutral("benign"), neutral(-2)
    ("'=1+1", "''=1+1", '-1.5', 'benign', -2)
    """
    return _MARK + cell if isinstance(cell, str) and _is_formula(cell) else cell


def unneutral(cell: str) -> str:
    """Return what a cell of a table means, ours or another program's.

    Examples
    --------
    >>> unneutral("'=1+1"), unneutral("''=1+1"), unneutral("=1+1"), unneutral("'benign'")
    ('=1+1', "'=1+1", '=1+1', "'benign'")
    """
    return cell[1:] if cell[:1] == _MARK and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    """Whether a cell, less apostrophes before it, begins like a formula and is no number."""
    text = cell.lstrip(_MARK)
    if text[:1] not in _FORMULA:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


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
