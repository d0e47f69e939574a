"""The first sheet of an Excel workbook as rows of text."""

from __future__ import annotations

import datetime
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DependencyError, InputError
from .images.container import BROKEN

EXCEL_SUFFIXES = frozenset({".xlsx", ".xlsm"})

_MOST_BYTES = 128 * 1024**2
"""Bound on what a workbook says that it holds when unpacked (ours); no more than that is ever unpacked."""

_MOST_PARTS = 10_000
"""Bound on its parts (ours)."""

_MOST_ROWS, _MOST_CELLS = 1_048_576, 10_000_000
"""Rows of a sheet, as Excel has them, and cells (ours): a file may name a cell far away in a few bytes."""


def excel_rows(path: Path, notes: list[str]) -> list[tuple[int, list[str]]]:
    """Return number and cells of each row of the first sheet.

    Values are those that are stored: no formula is worked out. A whole number has no decimals, a day no time.

    Parameters
    ----------
    path : Path
    notes : list of str
        Gets which sheet is read.

    Raises
    ------
    InputError
        No workbook, one that is too large, or one without a sheet.
    DependencyError
        openpyxl is missing.
    """
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise DependencyError(
            f"{path}: openpyxl is missing: pip install 'bchisto[excel]', or save it as CSV"
        ) from error
    try:
        with warnings.catch_warnings(), path.open("rb") as handle:
            warnings.simplefilter("ignore")  # of styles and other things that are not read
            _check_size(path)
            book = openpyxl.load_workbook(handle, read_only=True, data_only=True, keep_links=False)
            if not book.worksheets:
                raise InputError(f"{path}: this workbook has no sheet of cells")
            sheet, others = book.worksheets[0], len(book.worksheets) - 1
            more = "" if not others else f"; {others} other{'s are' if others > 1 else ' is'} not"
            notes.append(f"the first sheet is read, {sheet.title}{more}")
            return list(_rows(path, sheet))
    except (zipfile.BadZipFile, InvalidFileException, *BROKEN) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an Excel workbook, damaged, or protected ({error}); save it as CSV") from error


def _check_size(path: Path) -> None:
    """Refuse a workbook by what it declares, before anything in it is unpacked."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)
    if size > _MOST_BYTES or len(parts) > _MOST_PARTS:
        raise InputError(
            f"{path}: {size / 1024**2:,.0f} MiB in {len(parts):,} parts when unpacked, too large for a table of "
            "images; save its first sheet as CSV"
        )


def _rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # those that the file declares may be wrong
    cells, begun = 0, False
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > _MOST_ROWS or cells > _MOST_CELLS:
            raise InputError(f"{path}: its first sheet is too large for a table of images; save the table as CSV")
        texts = [_text(value) for value in row]
        begun = begun or any(texts)  # a table may begin below empty rows
        if begun:
            yield number, texts


def _text(value: Any) -> str:
    """Return a cell as one would write it into a CSV file."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
