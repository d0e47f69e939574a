"""Reads CSV tables that bchisto, people or other programs wrote.

The apostrophe that protects cells from being run as formulas is removed, see `bchisto.core.neutral`.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import InputError, Message, few, unneutral
from . import limits
from .columns import (
    GROUP,
    IMAGE,
    PATH,
    PATIENT,
    ROLES,
    Role,
    choose_column,
    has_column,
    may_hold_patients,
    same_name,
    spoiled_cell,
    unit_named,
)
from .files import Remark
from .tables import row_in, table_rows


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
    return (_record(header, row) for row in rows if row)


def _record(header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """Return a row as a dict; further cells are left out, and missing ones are empty."""
    return dict(itertools.zip_longest(header, row[: len(header)], fillvalue=""))


def _bounded(line: str) -> str:
    """Return a line, or refuse one that is too long."""
    if len(line) > limits.LINE_CHARACTERS:
        raise csv.Error(f"a line of more than {limits.LINE_CHARACTERS:,} signs")
    return line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file that bchisto wrote, as a dict from column to cell; nothing if there is no file."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            yield from read_records(handle)


_log = logging.getLogger(__name__)


_FOOTER = re.compile(
    r"\(?\d+ rows\b.*|(grand |sub)?(totals?|sum|mean|average|overall|count|n(?=\s*[:=])|insgesamt|gesamt|summe|anzahl|"
    r"mittelwert|somme|moyenne|totale|media|suma|razem|итого)(?![^\W_]*\.\w)\w*([\s:=].*)?|"
    r"([*#†©]|(notes?|source|legend|exported|created|generated|last update|reviewed|page|abbreviations?)\b).* .*|"
    r"\w = .*",
    re.IGNORECASE,
)
"""Matches the first cell of a footer, which is not of an image, and has fewer cells than lines of images."""


class CsvTable(NamedTuple):
    """A table as read from a file.

    Attributes
    ----------
    path : Path
    columns : dict of str to str
        Key of each column (its name in lower case, with ``_`` for spaces and hyphens) to the name as written. Columns
        without a name are left out.
    rows : tuple of (int, dict of str to str)
        Line number, and the cells by column key; a missing cell is empty.
    overlong, short : tuple of int
        Numbers of the lines with more, and with fewer, cells than the header.
    unread : tuple of ({"note", "warning"}, str)
        Remarks on what is not read, or is used although it is hidden.
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]
    short: tuple[int, ...] = ()
    unread: tuple[Remark, ...] = ()

    def choose(
        self, role: Role, *, cure: str = "remove or rename one", without: Sequence[str] = ()
    ) -> str:
        """Return the key of the column with a given role, see `choose_column`; empty if there is none.

        Parameters
        ----------
        role : Role
        cure : str
            What the user can do if two columns may have this role, for messages.
        without : sequence of str
            Columns to ignore, because they have another role.
        """
        names = [name for name in self.columns if name not in without]
        return choose_column(names, role, where=self.path, values=self._column, cure=cure) or ""

    def _column(self, name: str) -> list[str]:
        return [row[name] for _, row in self.rows]

    def cells(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number of each row, and its cells in the columns with these names."""
        keys = [self.named(name) or "" for name in names]
        for line, row in self.rows:
            yield line, [row.get(key, "") for key in keys]

    def log_columns(self, chosen: Mapping[Role, str], *further: str) -> None:
        """Log what `remarks` yields, and `check` the columns.

        Raises
        ------
        InputError
            See `check`.
        """
        self.check(chosen, *further)
        for level, text in self.remarks(chosen):
            severity = logging.INFO if level == "note" else logging.WARNING
            _log.log(severity, "%s: %s", self.path, text)

    def remarks(
        self,
        chosen: Mapping[Role, str],
        *,
        without: Sequence[str] = (),
        cure: str = "rename it to group",
    ) -> Iterator[Remark]:
        """Yield remarks on what is not read, and on columns without a standard name that are, or should be, used.

        Parameters
        ----------
        chosen : mapping of Role to str
            The column that was recognised for each role; empty if there is none.
        without : sequence of str
            Other columns that are used.
        cure : str
            What the user can do if a column that is not used holds the patients.

        Yields
        ------
        {"note", "warning"}, str
        """
        yield from self.unread
        used = {*chosen.values(), *without}
        unused = {name: title for name, title in self.columns.items() if name not in used}
        for role, column in chosen.items():
            if not column:
                continue
            title = self.columns.get(column, "")
            meaning = role.means
            others = []
            if role is GROUP:
                meaning = unit_named(title)
                others = [unused[name] for tier in role.matching(unused) for name in tier]
            text = f"the {meaning} is taken from the column {title}"
            if others:
                yield "warning", f"{text}; not used: {', '.join(others)}"
            elif not role.is_plain(column):
                yield "note", text
        candidates = may_hold_patients(unused.values())
        if chosen.get(GROUP) == "" and candidates:
            text = Message(
                "the column {} may hold the patients, and is not used",
                candidates[0],
                remedies=[Message("if it does, {}", cure)],
            )
            yield "warning", text

    def check(self, chosen: Mapping[Role, str], *further: str) -> None:
        """Refuse cells of the used columns that a spreadsheet spoiled.

        Parameters
        ----------
        chosen : mapping of Role to str
            The column of each role; empty if there is none.
        *further : str
            Other columns that are used.

        Raises
        ------
        InputError
            A cell holds an error of a spreadsheet, a date, or a rounded number in place of a name.
        """
        columns = {column: role in (PATH, IMAGE, GROUP, PATIENT) for role, column in chosen.items()}
        for column, names in {**dict.fromkeys(further, False), **columns}.items():
            fault = None
            if column:
                fault = spoiled_cell(self._column(column), names=names, table=self.path)
            if fault is not None:
                position, reason = fault
                line, row = self.rows[position]
                text = f"the {self.columns[column]} {row[column]!r} is {reason}"
                raise InputError(f"{row_in(self.path, line, full=True)}: {text}")

    def named(self, name: str) -> str | None:
        """Return the key of the column that a user names; None if there is none."""
        key = column_key(name)
        if key in self.columns:
            return key
        return next((key for key in self.columns if same_name(key, name)), None)


def column_key(name: str) -> str:
    """Return the name of a column in lower case, with ``_`` for spaces and hyphens.

    Examples
    --------
    >>> column_key("Hospital-ID")
    'hospital_id'
    """
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


Cure = Callable[[Sequence[Sequence[str]]], str]
"""Returns what to do if a column is missing, from the row that looks like a header and some rows below it."""


def read_csv(
    path: Path,
    *,
    needed: Sequence[Role | str],
    expected: str,
    key: Callable[[str], str] = column_key,
    cure: Cure = lambda rows: "",
) -> CsvTable:
    """Read a table with a header, see `bchisto.core.formats.table_rows`; empty lines are skipped.

    Parameters
    ----------
    path : Path
    needed : sequence of Role or str
        Required columns: roles, or names that a user gave.
    expected : str
        The full header, for messages.
    key : callable, optional
        Returns the key of a column from its name as written; `column_key` by default.
    cure : callable, optional
        See `Cure`.

    Raises
    ------
    InputError
        The file is unreadable, too large or in another encoding, a required column is missing, or two columns have the
        same name.
    DependencyError
        The package that reads this kind of workbook is missing.
    """

    def score(titles: Sequence[str]) -> int:
        names = [key(title) for title in titles]
        if not all(has_column(names, column) for column in needed):
            return 0
        return sum(has_column(names, column) for column in (*needed, *ROLES))

    lines, _, remarks = table_rows(path, score)
    number, titles = next(lines, (1, []))
    names = [key(title) for title in titles]
    for column in needed:
        if not has_column(names, column):
            top = [(number, titles), *itertools.islice(lines, _MOST_BELOW)]
            raise _no_column(path, top, column, expected, cure)
    _refuse_twice(path, names, titles)
    rows = []
    overlong = []
    short = []
    filled = [(number, cells) for number, cells in lines if any(cells)]
    while _ends_with_footer(filled):
        number, cells = filled.pop()
        remarks.append(("note", f"line {number} is a footer, and not read: {' '.join(cells)[:60]}"))
    for number, cells in filled:
        row = _record(names, cells)
        row.pop("", None)  # of columns without a name
        rows.append((number, row))
        if any(cells[len(names) :]):
            overlong.append(number)
        if len(cells) < len(names):
            short.append(number)
    return CsvTable(
        path,
        columns={name: title for name, title in zip(names, titles, strict=True) if name},
        rows=tuple(rows),
        overlong=tuple(overlong),
        short=tuple(short),
        unread=tuple(remarks),
    )


_MOST_BELOW = 20
"""Rows of a table without a header that are looked at."""


def _ends_with_footer(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Return whether the last row is a footer, with fewer cells than the rows of images."""
    texts = [[*filter(None, cells)] for _, cells in rows[-1:]]
    if not any(_FOOTER.fullmatch(row[0]) for row in texts):
        return False
    counts = [
        len(cells) - cells.count("")
        for _, cells in rows
        if not _FOOTER.fullmatch(next(filter(None, cells)))
    ]
    return len(texts[0]) < min(counts, default=0)


def _no_column(
    path: Path,
    rows: Sequence[tuple[int, Sequence[str]]],
    column: Role | str,
    expected: str,
    cure: Cure,
) -> InputError:
    """Return the error of a table that lacks a column, with the columns of the row that looks like a header."""
    name = column.name if isinstance(column, Role) else column
    number, titles = max(rows, key=lambda row: len([*filter(None, row[1])]))
    hint = ""
    if any(titles):
        hint = f"; there are {few(filter(None, titles), most=10)}"
    if number > rows[0][0]:
        hint += f" in line {number}"
    remedy = cure([cells for line, cells in rows if line >= number])
    text = "{}: the header must have a column `{}` ({}){}"
    return InputError(text, path, name, expected, hint, remedies=[remedy])


def _refuse_twice(path: Path, names: Sequence[str], titles: Sequence[str]) -> None:
    """Refuse a header that names two columns the same."""
    for index, title in enumerate(titles):
        if title and names[index] in names[:index]:
            raise InputError(f"{path}: two columns are named {title}; remove or rename one")
