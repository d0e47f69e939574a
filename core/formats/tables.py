"""Rows of small tables: CSV, and the first sheet of a workbook (``.xlsx`` or ``.xlsm``).

Blanks around cells are removed, and also the apostrophe that protects a text from being run as a formula.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import datetime
import io
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from .. import DependencyError, InputError, how_to_install, unneutral
from . import limits
from .files import BROKEN, mistaken
from .spreadsheets import DATE, NO_VALUE, Marks, TableFacts, check_parts
from .texts import visible

_MARKS = ",;\t"
"""Possible delimiters of columns, in the order in which they are tried."""

_DATES = (datetime.date, datetime.time, datetime.timedelta)

Rows = Iterator[tuple[int, list[str]]]
"""Line number and cells of each row."""


def table_rows(path: Path, *, fits: Callable[[Sequence[str]], bool], about: TableFacts) -> Rows:
    """Yield line number and cells of each row, the header first; an empty line has no cells.

    CSV files are in UTF-8, or in UTF-16 with a byte order mark. Their delimiter is a comma, semicolon or tab. It is the
    first one with which the header fits, otherwise the one that results in the most cells. Workbooks are read with the
    stored values; formulas are not computed. Whole numbers have no decimals, and dates have no time. Merged cells have
    the value of the first one below each other. Characters that nobody sees are removed, see `visible`, unless the cell
    names a file beside the table.

    Parameters
    ----------
    path : Path
    fits : callable
        Whether the cells of the first row are an expected header.
    about : TableFacts
        Filled while rows are read.

    Raises
    ------
    InputError
        The file is unreadable, too large, damaged, or in another encoding, or the workbook has no sheet.
    DependencyError
        The package that reads this kind of workbook is missing.
    """
    book = path.suffix.casefold() in (".xlsx", ".xlsm")
    rows = _excel_rows(path, about) if book else _text_rows(path, fits=fits)
    changed: list[int] = []
    for index, (number, cells) in enumerate(rows):
        if not index and len(cells) > limits.TABLE_COLUMNS:
            raise InputError(f"{path}: {len(cells):,} columns, too many for a table of images")
        written, seen = [unneutral(cell).strip() for cell in cells], _plain(cells)
        for place in (place for place, text in enumerate(written) if text != seen[place]):
            with contextlib.suppress(OSError, ValueError):
                if (path.parent / written[place]).exists():
                    seen[place] = written[place]
                    continue
            changed.append(number)
        yield number, seen
    if changed:
        about.notes.append(
            f"{len(changed)} cells hold characters that nobody sees, first in line {changed[0]}; removed"
        )


def _plain(cells: Iterable[str]) -> list[str]:
    return [visible(unneutral(cell)) for cell in cells]


def _text_rows(path: Path, *, fits: Callable[[Sequence[str]], bool]) -> Rows:
    """Yield the rows of a CSV file."""
    text = _decoded(path)
    rows, cells = max(text.count("\n"), text.count("\r")), max(map(text.count, _MARKS))
    if rows > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
        raise InputError(
            f"{path}: more than {limits.TABLE_ROWS:,} lines or {limits.TABLE_CELLS:,} cells, too large for a table of "
            "images"
        )

    def parsed(mark: str) -> Any:
        return csv.reader(io.StringIO(text, newline=""), delimiter=mark)

    mark = ","
    with contextlib.suppress(csv.Error):  # raised again below, when the rows are read
        headers = {mark: _plain(next(parsed(mark), [])) for mark in _MARKS}
        fitting = [mark for mark, header in headers.items() if fits(header)]
        mark = next(iter(fitting), max(headers, key=lambda mark: len(headers[mark])))
    reader = parsed(mark)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise InputError("{}: not a UTF-8 CSV file ({})", path, error) from error


def _decoded(path: Path) -> str:
    """Return the decoded text of a CSV file."""
    try:
        if path.stat().st_size > limits.TABLE_BYTES:
            raise InputError(f"{path}: more than {limits.TABLE_BYTES // 1024**2} MiB, too large for a table of images")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
        if "\0" in text.partition("\n")[0]:
            raise ValueError("null characters in its header")  # noqa: TRY301
    except ValueError as error:
        no_text = f'{path}: not a UTF-8 CSV file ({error}); save it as "CSV UTF-8", its name in Excel'
        raise InputError(mistaken(path, "a table") or no_text) from error
    return text


def _excel_rows(path: Path, about: TableFacts) -> Rows:
    """Return the rows of the first sheet of a workbook."""
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise DependencyError(f"{path}: openpyxl is missing: {how_to_install('excel')}, or save it as CSV") from error
    try:
        with warnings.catch_warnings(), path.open("rb") as handle:
            warnings.simplefilter("ignore")  # about styles and other content that is not read
            marks = check_parts(path)
            book = openpyxl.load_workbook(handle, read_only=True, data_only=True, keep_links=False)
            return iter([*_sheet_rows(path, book.worksheets, marks, about)])  # all of them, before the file is closed
    except InputError:
        raise
    except (*BROKEN, zipfile.BadZipFile, InvalidFileException) as error:
        raise InputError(
            "{}: not an Excel workbook, damaged, or protected ({}); save it as CSV", path, error
        ) from error


def _cell_text(value: Any) -> str:
    """Return the value of a cell as text, as in a CSV file."""
    if isinstance(value, float) and value.is_integer():
        return str(int(Decimal(repr(value))))  # as the spreadsheet shows it, with zeros after the digits that it keeps
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return "" if value is None else str(value)


def _sheet_rows(path: Path, sheets: Sequence[Any], marks: Marks, about: TableFacts) -> Rows:
    from openpyxl.utils.cell import coordinate_to_tuple, range_boundaries

    if not sheets:
        raise InputError(f"{path}: this workbook has no sheet of cells")
    sheet, others = sheets[0], len(sheets) - 1
    more = "" if not others else f"; {others} other{'s are' if others > 1 else ' is'} not"
    about.notes.append(f"the first sheet is read, {sheet.title}{more}")
    part = sheet._worksheet_path
    merged = {(top, left - 1): bottom for left, top, _, bottom in map(range_boundaries, marks.merged.get(part, []))}
    held: dict[int, tuple[int, str]] = {}
    for cell, stored in marks.formulas.get(part, {}).items():
        if cell and (marks.unsaved or not stored):
            row, column = coordinate_to_tuple(cell)
            about.spoiled[row, column - 1] = NO_VALUE
    sheet.reset_dimensions()  # the dimensions in the file may be wrong
    cells, begun, filled = 0, False, 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
            raise InputError(f"{path}: its first sheet is too large for a table of images; save the table as CSV")
        texts = [_cell_text(value) for value in row]
        about.spoiled |= {(number, place): DATE for place, value in enumerate(row) if isinstance(value, _DATES)}
        begun = begun or any(texts)  # a table may begin below empty rows
        if any(texts):
            texts += [""] * (max(held, default=0) + 1 - len(texts))
            for place, (last, text) in held.items():
                if number <= last and text and not texts[place]:
                    texts[place] = text
                    filled += 1
        held |= {place: (merged[number, place], text) for place, text in enumerate(texts) if (number, place) in merged}
        if begun:
            yield number, texts
    if filled:
        about.notes.append(f"{filled} cells that are merged with the one above have its value")
