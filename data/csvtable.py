"""Small tables: CSV and the first sheet of a workbook, as people write them, and the tables that ship with bchisto.

Header and cells stand without blanks around them, and the header in any case.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import datetime
import io
import itertools
import logging
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, how_to_install
from ..formats import check_parts, check_zip, unneutral
from .columns import GROUP, Role, choose_column, has_column, may_hold_patients, same_name
from .findings import few

_log = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024**2
"""Bound on a table (ours): a row takes some hundred bytes, so that this is a million images."""

_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may stand between columns, in the order in which it is tried."""

_EXCEL_SUFFIXES = frozenset({".xlsx", ".xlsm"})

_MOST_UNPACKED = 128 * 1024**2
"""Bound on what a workbook says that it holds when unpacked (ours); no more than that is ever unpacked."""

_MOST_PARTS = 10_000
"""Bound on its parts (ours)."""

_MOST_ROWS, _MOST_COLUMNS, _MOST_CELLS = 1_048_576, 16_384, 10_000_000
"""Rows and columns of a table, as Excel has them, and cells (ours): a file may name a cell far away in a few bytes."""

_BROKEN = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError,
    SyntaxError, RuntimeError, OverflowError, AssertionError,
)  # fmt: skip
"""What reading a damaged workbook may raise; errors of its XML are a `SyntaxError`."""

Rows = Iterable[tuple[int, list[str]]]
"""Line number and cells, the header first."""


@dataclass(frozen=True)
class CsvTable:
    """A table as read.

    Attributes
    ----------
    path : Path
    columns : dict of str to str
        Name in lower case, with ``_`` for spaces and hyphens, to the name as written; columns without a name have none.
    rows : tuple of (int, dict of str to str)
        Line number and cells by the former name; a cell that is not there is empty.
    overlong, short : tuple of int
        Lines with more cells than the header, and with fewer.
    notes : tuple of str
        How it was read, where that is not as commas in UTF-8.
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]
    notes: tuple[str, ...] = ()
    short: tuple[int, ...] = ()

    def choose(self, role: Role, *, cure: str = "remove or rename one", without: Sequence[str] = ()) -> str:
        """Return the column that holds something, by its former name, see `choose_column`; empty if there is none.

        Parameters
        ----------
        role : Role
        cure : str
            What to do if two columns may hold it.
        without : sequence of str
            Columns that hold something else.
        """

        def values(name: str) -> list[str]:
            return [row[name] for _, row in self.rows]

        names = [name for name in self.columns if name not in without]
        return choose_column(names, role, where=self.path, values=values, cure=cure) or ""

    def log_columns(self, chosen: Mapping[Role, str]) -> None:
        """Log which columns are taken that are not called plainly, and how the table was read."""
        for note in self.notes:
            _log.info("%s: %s", self.path, note)
        for role, column in chosen.items():
            if column and not role.is_plain(column):
                _log.info("%s: the %s is taken from the column %s", self.path, role.means, self.columns[column])
        others = [name for name in self.columns if name not in chosen.values()]
        if chosen.get(GROUP) == "" and (may := may_hold_patients(others)):
            _log.warning("%s: the column %s may hold the patients, and is not used; if it does, call it group",
                         self.path, self.columns[may[0]])  # fmt: skip

    def named(self, name: str) -> str | None:
        """Return the column that a user names, by its former name; None if there is none."""
        if (key := column_key(name)) in self.columns:
            return key
        return next((key for key in self.columns if same_name(key, name)), None)


def read_csv(
    path: Path, *, needed: Sequence[Role | str], expected: str, key: Callable[[str], str] | None = None
) -> CsvTable:
    """Read a table with a header: CSV, or the first sheet of an Excel workbook (``.xlsx``).

    Columns of CSV are separated by commas, semicolons or tabs, in UTF-8, or in UTF-16 with its mark. Empty lines are
    passed over. What stands between the columns is told by the header: the first mark that gives all
    needed columns, else the one that gives the most. An apostrophe before what begins like a formula is taken away, see
    `bchisto.jobs.neutral`.

    Parameters
    ----------
    path : Path
    needed : sequence of Role or str
        Columns that must be there: what they hold, or names that a user gave.
    expected : str
        The header in full, for messages.
    key : callable, optional
        Returns the former name of a column from the one that is written; `column_key` by default.

    Raises
    ------
    InputError
        Unreadable, too large, another encoding, a needed column missing, or two columns of one name.
    DependencyError
        openpyxl is missing, which reads workbooks.
    """
    key = key or column_key
    notes: list[str] = []
    excel = path.suffix.casefold() in _EXCEL_SUFFIXES
    table = _excel_rows(path, notes) if excel else _text_rows(path, needed=needed, notes=notes)
    lines = ((number, [unneutral(cell).strip() for cell in cells]) for number, cells in table)
    rows: list[tuple[int, dict[str, str]]] = []
    overlong: list[int] = []
    short: list[int] = []
    try:
        _, written = next(lines, (1, []))
        if len(written) > _MOST_COLUMNS:
            raise InputError(f"{path}: {len(written):,} columns, too many for a table of images")
        names = [key(cell) for cell in written]
        _check_header(path, names, written, needed=needed, expected=expected)
        for number, cells in lines:
            if any(cells):
                row = itertools.zip_longest(names, cells, fillvalue="")
                rows.append((number, {name: cell for name, cell in row if name}))
                if any(cells[len(names) :]):
                    overlong.append(number)
                if len(cells) < len(names):
                    short.append(number)
    except csv.Error as error:
        raise InputError("{}: not a UTF-8 CSV file ({})", path, error) from error
    columns = {name: said for name, said in zip(names, written, strict=True) if name}
    return CsvTable(path, columns, tuple(rows), tuple(overlong), tuple(notes), tuple(short))


def published_rows(package: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a table that ships with bchisto, in the folder ``published`` of a package."""
    text = (resources.files(package) / "published" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _text_rows(path: Path, *, needed: Sequence[Role | str], notes: list[str]) -> Rows:
    """Return the rows of a text; what is unusual about it goes into `notes`."""
    text = _decoded(path, notes)
    if max(text.count("\n"), text.count("\r")) > _MOST_ROWS or max(map(text.count, _MARKS)) > _MOST_CELLS:
        raise InputError(
            f"{path}: more than {_MOST_ROWS:,} lines or {_MOST_CELLS:,} cells, too large for a table of images"
        )

    def names(mark: str) -> list[str]:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
        return [unneutral(cell).strip() for cell in header]

    mark = ","
    with contextlib.suppress(csv.Error):  # the reader of the rows says it
        headers = {mark: names(mark) for mark in _MARKS}
        whole = [mark for mark, header in headers.items() if all(has_column(header, one) for one in needed)]
        mark = next(iter(whole), max(headers, key=lambda mark: len(headers[mark])))
    if mark != ",":
        notes.append(f"its columns are taken to be separated by {_MARKS[mark]}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    return ((reader.line_num, cells) for cells in reader)


def _decoded(path: Path, notes: list[str]) -> str:
    """Return the text of a file."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: more than {_MOST_BYTES // 1024**2} MiB, too large for a table of images")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            '{}: not a UTF-8 CSV file ({}); save it as "CSV UTF-8", as Excel calls it', path, error
        ) from error
    if "\0" in text.partition("\n")[0]:
        raise InputError(f'{path}: not a UTF-8 CSV file (null characters in its header); save it as "CSV UTF-8"')
    if wide:
        notes.append("read as UTF-16")
    return text


def column_key(name: str) -> str:
    """Return the name of a column in lower case, with ``_`` for spaces and hyphens.

    Examples
    --------
    >>> column_key("Hospital-ID")
    'hospital_id'
    """
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _check_header(
    path: Path, names: Sequence[str], written: Sequence[str], *, needed: Sequence[Role | str], expected: str
) -> None:
    wanted = {one.name if isinstance(one, Role) else one: has_column(names, one) for one in needed}
    missing = [name for name, there in wanted.items() if not there]
    if missing:
        there = f"; there are {few(filter(None, written), most=10)}" if any(written) else ""
        raise InputError("{}: the header must have a column `{}` ({}){}", path, missing[0], expected, there)
    twice = [said for place, said in enumerate(written) if said and names[place] in names[:place]]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]}; remove or rename one")


def _excel_rows(path: Path, notes: list[str]) -> list[tuple[int, list[str]]]:
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
        raise DependencyError(f"{path}: openpyxl is missing: {how_to_install('excel')}, or save it as CSV") from error
    try:
        with warnings.catch_warnings(), path.open("rb") as handle:
            warnings.simplefilter("ignore")  # of styles and other things that are not read
            _check_size(path)
            check_parts(path)
            book = openpyxl.load_workbook(handle, read_only=True, data_only=True, keep_links=False)
            if not book.worksheets:
                raise InputError(f"{path}: this workbook has no sheet of cells")
            sheet, others = book.worksheets[0], len(book.worksheets) - 1
            more = "" if not others else f"; {others} other{'s are' if others > 1 else ' is'} not"
            notes.append(f"the first sheet is read, {sheet.title}{more}")
            return list(_sheet_rows(path, sheet))
    except (*_BROKEN, InvalidFileException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "{}: not an Excel workbook, damaged, or protected ({}); save it as CSV", path, error
        ) from error


def _check_size(path: Path) -> None:
    """Refuse a workbook by what it declares, before anything in it is unpacked."""
    check_zip(path, members=_MOST_PARTS)
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)
    if size > _MOST_UNPACKED or len(parts) > _MOST_PARTS:
        raise InputError(
            f"{path}: {size / 1024**2:,.0f} MiB in {len(parts):,} parts when unpacked, too large for a table of "
            "images; save its first sheet as CSV"
        )


def _sheet_rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # those that the file declares may be wrong
    cells, begun = 0, False
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > _MOST_ROWS or cells > _MOST_CELLS:
            raise InputError(f"{path}: its first sheet is too large for a table of images; save the table as CSV")
        texts = [_cell_text(value) for value in row]
        begun = begun or any(texts)  # a table may begin below empty rows
        if begun:
            yield number, texts


def _cell_text(value: Any) -> str:
    """Return a cell as one would write it into a CSV file."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
