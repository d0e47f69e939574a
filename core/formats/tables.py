"""Rows of small tables: CSV, and the first sheet of a workbook (``.xlsx`` or ``.xlsm``).

Blanks around cells are removed, and also the apostrophe that protects a text from being run as a formula.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import DependencyError, InputError, how_to_install, system_reason, unneutral
from . import limits
from .files import mistaken, reading
from .texts import open_zip, visible

_log = logging.getLogger(__name__)

BOOKS = (".xlsx", ".xlsm")
"""Suffixes of workbooks."""

_MARKS = ",;\t"
"""Possible delimiters of columns."""

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^<>]*\bref="[A-Z]+(\d+):[A-Z]+(?!\1")')
"""Merged cells of several rows."""

_FORMULA = rb"<(?:\w+:)?f\b[^<>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*"
_NO_VALUE = re.compile(
    rb'<(?:\w+:)?c\b(?![^<>]*\bt="str")[^<>]*>\s*'
    + _FORMULA
    + rb"(?:<v\s*/>\s*|<v></v>\s*)?</(?:\w+:)?c>"
)
"""A cell with a formula whose value is not stored. A text may be empty."""

Rows = Iterator[tuple[int, list[str]]]
"""Line number and cells of each row."""


def table_rows(path: Path) -> Rows:
    """Yield line number and cells of each row, the header first; an empty line has no cells.

    CSV files are in UTF-8. Their delimiter is a comma, semicolon or tab, the most frequent one in the first line.
    Workbooks are read with the stored values; formulas are not computed. Whole numbers have no
    decimals. Characters that nobody sees are removed, see `visible`, unless the cell names a file beside the table.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is unreadable, too large, damaged, or in another encoding, or the workbook has no sheet, merged cells
        or formulas without a value.
    DependencyError
        The package that reads workbooks is missing.
    """
    rows = _excel_rows(path) if path.suffix.casefold() in BOOKS else _text_rows(path)
    for index, (number, cells) in enumerate(rows):
        if not index and len(cells) > limits.TABLE_COLUMNS:
            raise InputError(f"{path}: {len(cells):,} columns, too many for a table of images")
        yield number, [_seen(path.parent, unneutral(cell).strip()) for cell in cells]


def _seen(folder: Path, cell: str) -> str:
    """Return a cell without characters that nobody sees, unless it names a file in a folder."""
    text = visible(cell)
    with contextlib.suppress(OSError, ValueError):
        if text != cell and (folder / cell).exists():
            return cell
    return text


def _text_rows(path: Path) -> Rows:
    """Yield the rows of a CSV file."""
    try:
        if path.stat().st_size > limits.TABLE_BYTES:
            raise InputError(
                f"{path}: more than {limits.TABLE_BYTES // 1024**2} MiB, too large for a table of images"
            )
        text = path.read_bytes().decode("utf-8-sig")
        if "\0" in text.partition("\n")[0]:
            raise ValueError("null characters in its header")  # noqa: TRY301
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({system_reason(error)})") from error
    except ValueError as error:
        no_text = (
            f'{path}: not a UTF-8 CSV file ({error}); save it as "CSV UTF-8", its name in Excel'
        )
        raise InputError(mistaken(path, "a table") or no_text) from error
    rows = max(text.count("\n"), text.count("\r"))
    cells = max(map(text.count, _MARKS))
    if rows > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
        raise InputError(
            f"{path}: more than {limits.TABLE_ROWS:,} lines or {limits.TABLE_CELLS:,} cells, too large for a table of "
            "images"
        )
    mark = max(_MARKS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise InputError("{}: not a UTF-8 CSV file ({})", path, error) from error


def _excel_rows(path: Path) -> Rows:
    """Return the rows of the first sheet of a workbook that are not empty."""
    try:
        import openpyxl
    except ImportError as error:
        raise DependencyError(
            f"{path}: openpyxl is missing: {how_to_install('excel')}, or save it as CSV"
        ) from error
    trouble = "not an Excel workbook, damaged, or protected ({}); save it as CSV"
    with reading(path, trouble), warnings.catch_warnings(), path.open("rb") as handle:
        warnings.simplefilter("ignore")  # about styles and other content that is not read
        _check_parts(path)
        book = openpyxl.load_workbook(handle, read_only=True, data_only=True, keep_links=False)
        return iter([*_sheet_rows(path, book)])  # all of them, before the file is closed


def _check_parts(path: Path) -> None:
    """Refuse a workbook whose parts have more bytes, elements or attributes than a table of images can have.

    openpyxl creates objects for all elements of a row, of which a few bytes could name millions.
    """
    with open_zip(path, members=limits.ARCHIVE_MEMBERS) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        elements = 0
        if size <= limits.WORKBOOK_BYTES:
            for member in members:
                part = archive.read(member)
                elements += part.count(b"<") + part.count(b"=")
    if size > limits.WORKBOOK_BYTES or elements > limits.WORKBOOK_ELEMENTS:
        raise InputError(
            f"{path}: unpacks to {size / 1024**2:,.0f} MiB and {elements:,} elements, more than a table of images has; "
            "save its first sheet as CSV"
        )


def _cell_text(value: Any) -> str:
    """Return the value of a cell as text, as in a CSV file."""
    if value is None:
        return ""
    # beyond, digits were lost
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**16:
        return str(int(value))
    return str(value)


def _sheet_rows(path: Path, book: Any) -> Rows:
    if not book.worksheets:
        raise InputError(f"{path}: this workbook has no sheet of cells")
    sheet, *others = book.worksheets
    if others:
        _log.info(
            "%s: the first sheet is read, %s; %d more are not", path, sheet.title, len(others)
        )
    content = book._archive.read(sheet._worksheet_path)
    if _MERGED.search(content):
        raise InputError(
            f"{path}: has merged cells, of which the first alone has the value; fill in every row"
        )
    has_formula = re.search(_FORMULA, content) is not None
    if has_formula and (book.calculation.fullCalcOnLoad or _NO_VALUE.search(content)):
        raise InputError(
            f"{path}: has a formula without a stored value; save it in a spreadsheet program"
        )
    sheet.reset_dimensions()  # the dimensions in the file may be wrong
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
            raise InputError(
                f"{path}: its first sheet is too large for a table of images; save the table as CSV"
            )
        texts = [_cell_text(value) for value in row]
        if any(texts):
            yield number, texts
