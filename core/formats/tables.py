"""Rows of small tables: CSV, and a sheet of a workbook (``.xlsx`` or ``.xlsm``).

Blanks around cells are removed, and also the apostrophe that protects a text from being run as a formula. People write
titles and comments above the header, or a header in two rows, which are looked for in the first rows.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .. import DependencyError, InputError, few, how_to_install, system_reason, unneutral
from . import limits
from .files import Remark, mistaken, reading
from .texts import open_zip, visible

BOOKS = (".xlsx", ".xlsm")
"""Suffixes of workbooks."""

_MARKS = ",;\t"
"""Possible delimiters of columns."""

_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""A first line that names the delimiter, as Excel writes it."""

_MOST_ABOVE = 20
"""Rows in which the header is looked for."""

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^<>]*\bref="[A-Z]+(\d+):[A-Z]+(?!\1")(\d+)')
"""Merged cells of several rows: the first and the last row."""

_HIDDEN = re.compile(rb'<(?:\w+:)?row\b(?=[^<>]*\bhidden="(?:1|true)")[^<>]*\br="(\d+)"')
"""A hidden row."""

_FORMULA = rb"<(?:\w+:)?f\b[^<>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*"
_NO_VALUE = re.compile(
    rb'<(?:\w+:)?c\b(?![^<>]*\bt="str")[^<>]*>\s*'
    + _FORMULA
    + rb"(?:<v\s*/>\s*|<v></v>\s*)?</(?:\w+:)?c>"
)
"""A cell with a formula whose value is not stored. A text may be empty."""

if TYPE_CHECKING:
    _SystemPath = Path
else:
    _SystemPath = type(Path())  # before Python 3.12, `Path` itself cannot be a base


class NamedPath(_SystemPath):
    """A path that messages call by a name.

    Paths that are made from it, such as its folder, have no name.
    """

    called = ""

    @classmethod
    def named(cls, path: str | Path, called: str) -> NamedPath:
        """Return a path with a name."""
        result = cls(path)
        result.called = called
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedPath.named, (str(self), self.called)

    def __format__(self, form: str) -> str:
        return format(self.called or str(self), form)


class FramePath(NamedPath):
    """A path by which messages and records call a data frame; readers of tables take its rows from memory.

    Paths that are made from it, such as its folder, are those of files.
    """

    frame: Any = None

    @classmethod
    def of(cls, frame: Any, path: str | Path = "data frame") -> FramePath:
        """Return the path of a copy of a `pandas.DataFrame`, or of what has a method ``to_pandas``."""
        if hasattr(frame, "to_pandas"):
            frame = frame.to_pandas()
        path_of_frame = cls(path)
        path_of_frame.frame = frame.copy()
        path_of_frame.called = path_of_frame.stem
        return path_of_frame

    def __reduce__(self) -> tuple[Any, ...]:
        return self.of, (self.frame, str(self))

    def is_file(self, **options: Any) -> bool:
        """Return whether there is a data frame, or a file."""
        return self.frame is not None or os.path.isfile(self)  # noqa: PTH113 - other options in each Python


def row_in(table: Path, line: int, *, full: bool = False) -> str:
    """Return how messages name a line: by the table's name or full path; in a data frame, by the index of the row."""
    if isinstance(table, FramePath):
        return f"{table.stem}, in row {table.frame.index[line - 2]}"
    return f"{table if full else table.name}:{line}"


Rows: TypeAlias = Iterator[tuple[int, list[str]]]
"""Line number and cells of each row."""

Score: TypeAlias = Callable[[Sequence[str]], int]
"""Returns how many columns of a known meaning the cells of a row name; 0 if the row cannot be a header."""


class TableRows(NamedTuple):
    """What is read of a table.

    Attributes
    ----------
    rows : iterator of (int, list of str)
        Line number and cells of each row, the header first; an empty row has no cells.
    score : int
        How many columns of a known meaning the header names; 0 if there is no header, and all rows are read.
    remarks : list of ({"note", "warning"}, str)
        Remarks on what is not read, or is used although it is hidden.
    """

    rows: Rows
    score: int
    remarks: list[Remark]


def table_rows(path: Path, score: Score = lambda cells: 0) -> TableRows:
    """Read a table from its header on: a file, or a data frame in its place.

    CSV files are in UTF-8. Their delimiter is a comma, semicolon or tab: the one with which there is a header, else the
    most frequent one in the first line. A first line ``sep=`` may name another one. Of a workbook, the sheet whose
    header names most columns is read, with the stored values; formulas are not computed. Whole numbers have no
    decimals. Characters that nobody sees are removed, see `visible`, unless the cell names a file beside the table.

    Parameters
    ----------
    path : Path
    score : callable, optional
        Returns how many columns of a known meaning the cells of a row name; the row with most is the header. By default
        there is no header.

    Raises
    ------
    InputError
        The file is unreadable, too large, damaged, or in another encoding, or the workbook has no sheet, merged cells
        or formulas without a value.
    DependencyError
        The package that reads workbooks is missing.
    """
    if isinstance(path, FramePath):
        # as CSV, so that cells are those of the same table in a file
        rows = _split(path, path.frame.to_csv(index=False), ",", skip=False)
        return _from_header(path, enumerate((cells for _, cells in rows), start=1), score)
    if path.suffix.casefold() in BOOKS:
        return _of_book(path, score)
    return _of_text(path, score)


def _from_header(path: Path, rows: Rows, score: Score) -> TableRows:
    """Return the rows of a table from its header on."""
    rows = (
        (number, [_seen(path.parent, unneutral(cell).strip()) for cell in cells])
        for number, cells in rows
    )
    top = [*itertools.islice(rows, _MOST_ABOVE)]
    columns = max((len(cells) for _, cells in top), default=0)
    if columns > limits.TABLE_COLUMNS:
        raise InputError(f"{path}: {columns:,} columns, too many for a table of images")
    header = _header_in([cells for _, cells in top], score)
    rows_above = top[: header.last]
    rows_below = top[len(rows_above) :]
    remarks: list[Remark] = []
    if any(any(cells) for _, cells in rows_above):
        number, _ = rows_below[0]
        rows_below[0] = (number, [*header.titles])
        remarks.append(("note", f"the header ends in line {number}; what is above is not read"))
    return TableRows(itertools.chain(rows_below, rows), header.score, remarks)


class _Header(NamedTuple):
    """The score of a header, the position of its last row, and its titles."""

    score: int
    last: int
    titles: Sequence[str]


def _header_in(top: Sequence[list[str]], score: Score) -> _Header:
    """Return the header that names most columns; of several, the first in one row, else the first in two rows."""
    headers = [_Header(score(cells), number, cells) for number, cells in enumerate(top)]
    for number, (above, below) in enumerate(itertools.pairwise(top), start=1):
        for form in ("{1}", "{0} {1}", "{0} [{1}]"):
            titles = _joined(above, below, form)
            headers.append(_Header(score(titles), number, titles))
    header = max(headers, key=lambda header: header.score, default=_Header(0, 0, []))
    if not header.score:
        return _Header(0, 0, [])
    rows = top[header.last + 1 :]
    # a row of units or the like belongs to the header; unlike a row of an image, it shares no cell with other rows
    if len(rows) > 1 and any(rows[0]) and not rows[0][0]:
        texts = {*filter(None, rows[0])}
        is_unlike = texts.isdisjoint(itertools.chain(*rows[1:]))
        if is_unlike and not re.search(r"[\d.]", "".join(texts)):
            titles = _joined(header.titles, rows[0], "{0} [{1}]")
            return _Header(header.score, header.last + 1, titles)
    return header


def _joined(above: Sequence[str], below: Sequence[str], form: str) -> list[str]:
    """Return titles of two rows, in this form if a column has both."""
    both = itertools.zip_longest(above, below, fillvalue="")
    return [form.format(high, low) if high and low else high or low for high, low in both]


def _seen(folder: Path, cell: str) -> str:
    """Return a cell without characters that nobody sees, unless it names a file in a folder."""
    text = visible(cell)
    with contextlib.suppress(OSError, ValueError):
        if text != cell and (folder / cell).exists():
            return cell
    return text


def _of_text(path: Path, score: Score) -> TableRows:
    """Read a CSV file."""
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
        refusal = (
            f'{path}: not a UTF-8 CSV file ({error}); save it as "CSV UTF-8", its name in Excel'
        )
        raise InputError(mistaken(path, "a table") or refusal) from error
    rows = max(text.count("\n"), text.count("\r"))
    cells = max(map(text.count, _MARKS))
    if rows > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
        raise InputError(
            f"{path}: more than {limits.TABLE_ROWS:,} lines or {limits.TABLE_CELLS:,} cells, too large for a table of "
            "images"
        )
    # a title has no marks
    marks = sorted(_MARKS, key=text.count, reverse=True)
    marks.sort(key=text.partition("\n")[0].count, reverse=True)
    # a mark that does not occur reads each line as one cell, as all such marks do
    marks = [mark for mark in marks if mark in text] or marks[:1]
    separator = _SEPARATOR.match(text)
    if separator:
        marks = [separator[1]]
    tables = [
        _from_header(path, _split(path, text, mark, skip=separator is not None), score)
        for mark in marks
    ]
    return max(tables, key=lambda table: table.score)


def _split(path: Path, text: str, mark: str, *, skip: bool) -> Rows:
    """Yield the rows of a CSV file, without the first one if it is to be skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        for row in itertools.islice(reader, int(skip), None):
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError("{}: not a UTF-8 CSV file ({})", path, error) from error


def _of_book(path: Path, score: Score) -> TableRows:
    """Read a workbook."""
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
        return _of_sheets(path, book, score)


def _check_parts(path: Path) -> None:
    """Refuse a workbook whose parts have more bytes, elements or attributes than a table of images can have.

    openpyxl creates objects for all elements of a row, of which a few bytes could name millions.
    """
    with open_zip(path, members=limits.ARCHIVE_MEMBERS, size=limits.WORKBOOK_BYTES) as archive:
        elements = 0
        for member in archive.infolist():
            part = archive.read(member)
            elements += part.count(b"<") + part.count(b"=")
    if elements > limits.WORKBOOK_ELEMENTS:
        raise InputError(
            f"{path}: has {elements:,} elements, more than a table of images has; save its first sheet as CSV"
        )


def _cell_text(value: Any) -> str:
    """Return the value of a cell as text, as in a CSV file."""
    if value is None:
        return ""
    # from there on, digits were lost
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**16:
        return str(int(value))
    return str(value)


def _of_sheets(path: Path, book: Any, score: Score) -> TableRows:
    """Read the sheet whose header names most columns, or else the first one; hidden sheets come last."""
    sheets = sorted(book.worksheets, key=lambda sheet: sheet.sheet_state != "visible")
    if not sheets:
        raise InputError(f"{path}: this workbook has no sheet of cells")
    tables = [_from_header(path, _sheet_rows(path, sheet), score) for sheet in sheets]
    table = max(tables, key=lambda table: table.score)
    sheet = sheets[tables.index(table)]
    rows = [*table.rows]  # all of them, before the file is closed
    content = book._archive.read(sheet._worksheet_path)
    _check_cells(path, book, content, header=next((number for number, _ in rows), 0))
    remarks = table.remarks
    hidden = {number for number, _ in rows[1:]}.intersection(map(int, _HIDDEN.findall(content)))
    if hidden:
        text = f"{len(hidden)} of {len(rows) - 1} rows are hidden, as by a filter, first row {min(hidden)}"
        cure = "all are used; to use only the visible ones, copy these to a new table"
        remarks.append(("warning", f"{text}; {cure}"))
    others = [
        other.title
        for other, other_table in zip(sheets, tables, strict=True)
        if other_table.score == table.score > 0
        and other.sheet_state == "visible"
        and len([*itertools.islice(other_table.rows, 2)]) > 1
    ]
    if others:
        text = (
            f"only the sheet {sheet.title} is read, though others have such a header: {few(others)}"
        )
        remarks.append(("warning", f"{text}; put all rows into one sheet"))
    elif len(sheets) > 1:
        text = f"the sheet {sheet.title} is read; {len(sheets) - 1} more are not"
        remarks.append(("note", text))
    return TableRows(iter(rows), table.score, remarks)


def _check_cells(path: Path, book: Any, content: bytes, *, header: int) -> None:
    """Refuse a sheet with merged cells below its header, or formulas without a value."""
    if any(int(last) > header for _, last in _MERGED.findall(content)):
        raise InputError(
            f"{path}: has merged cells, of which only the first has the value; fill in every row"
        )
    has_formula = re.search(_FORMULA, content) is not None
    if has_formula and (book.calculation.fullCalcOnLoad or _NO_VALUE.search(content)):
        raise InputError(
            f"{path}: has a formula without a stored value; save it in a spreadsheet program"
        )


def _sheet_rows(path: Path, sheet: Any) -> Rows:
    """Yield the rows of a sheet that are not empty."""
    sheet.reset_dimensions()  # the dimensions in the file may be wrong
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > limits.TABLE_ROWS or cells > limits.TABLE_CELLS:
            raise InputError(
                f"{path}: its sheet {sheet.title} is too large for a table of images; save the table as CSV"
            )
        texts = [_cell_text(value) for value in row]
        if any(texts):
            yield number, texts


def as_frame(values: Any) -> Any:
    """Return columns by name, or rows as dicts, as a `pandas.DataFrame`.

    Raises
    ------
    DependencyError
        pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise DependencyError(
            "a frame needs pandas, which is not installed: pip install pandas"
        ) from error
    return pandas.DataFrame(values)
