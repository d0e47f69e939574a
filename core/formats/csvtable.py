"""CSV tables that others wrote.

They remove the apostrophe that protects cells from being run as formulas, see `bchisto.core.neutral`.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from .. import InputError, Message, few, unneutral
from . import limits
from .columns import (
    GROUP,
    IMAGE,
    PATH,
    Role,
    choose_column,
    has_column,
    may_hold_patients,
    same_name,
    spoiled_cell,
)
from .tables import table_rows


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
    return (
        dict(itertools.zip_longest(header, row[: len(header)], fillvalue="")) for row in rows if row
    )


def _bounded(line: str) -> str:
    if len(line) > limits.LINE_CHARACTERS:
        raise csv.Error(f"a line of more than {limits.LINE_CHARACTERS:,} signs")
    return line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file that bchisto wrote, as a dict from column to cell; nothing if there is no file."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            yield from read_records(handle)


_log = logging.getLogger(__name__)

_Remark: TypeAlias = tuple[Literal["note", "warning"], str]


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
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]
    short: tuple[int, ...] = ()

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
        return ((line, [row.get(key, "") for key in keys]) for line, row in self.rows)

    def log_columns(self, chosen: Mapping[Role, str], *further: str) -> None:
        """Log what `remarks` yields, and `check` the columns.

        Raises
        ------
        InputError
            See `check`.
        """
        self.check(chosen, *further)
        for level, text in self.remarks(chosen):
            (_log.info if level == "note" else _log.warning)("%s: %s", self.path, text)

    def remarks(
        self,
        chosen: Mapping[Role, str],
        *,
        without: Sequence[str] = (),
        cure: str = "rename it to group",
    ) -> Iterator[_Remark]:
        """Yield the columns without a standard name that are used, or perhaps should be.

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
        unused = {
            name: title
            for name, title in self.columns.items()
            if name not in (*chosen.values(), *without)
        }
        for role, column in chosen.items():
            text = f"the {role.means} is taken from the column {self.columns.get(column)}"
            others = (
                [unused[name] for tier in role.matching(unused) for name in tier]
                if role is GROUP
                else []
            )
            if column and others:
                yield "warning", f"{text}; not used: {', '.join(others)}"
            elif column and not role.is_plain(column):
                yield "note", text
        if chosen.get(GROUP) == "" and (candidates := may_hold_patients(unused.values())):
            yield (
                "warning",
                Message(
                    "the column {} may hold the patients, and is not used",
                    candidates[0],
                    remedies=[Message("if it does, {}", cure)],
                ),
            )

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
            Numbers that were rounded as names, dates, or errors.
        """
        for role, column in (*chosen.items(), *((None, column) for column in further)):
            cells = self._column(column) if column else []
            spoiled = spoiled_cell(cells, names=role in (PATH, IMAGE, GROUP), table=self.path)
            if spoiled is not None:
                line, row = self.rows[spoiled[0]]
                raise InputError(
                    f"{self.path}:{line}: the {self.columns[column]} {row[column]!r} is {spoiled[1]}"
                )

    def named(self, name: str) -> str | None:
        """Return the key of the column that a user names; None if there is none."""
        if (key := column_key(name)) in self.columns:
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


def read_csv(
    path: Path,
    *,
    needed: Sequence[Role | str],
    expected: str,
    key: Callable[[str], str] = column_key,
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

    Raises
    ------
    InputError
        The file is unreadable, too large or in another encoding, a required column is missing, or two columns have the
        same name.
    DependencyError
        The package that reads this kind of workbook is missing.
    """
    lines = table_rows(path)
    _, written = next(lines, (1, []))
    names = [key(cell) for cell in written]
    _check_header(path, names, written, needed=needed, expected=expected)
    filled = [(number, cells) for number, cells in lines if any(cells)]
    rows = ((number, itertools.zip_longest(names, cells, fillvalue="")) for number, cells in filled)
    return CsvTable(
        path,
        columns={name: title for name, title in zip(names, written, strict=True) if name},
        rows=tuple((number, {name: cell for name, cell in row if name}) for number, row in rows),
        overlong=tuple(number for number, cells in filled if any(cells[len(names) :])),
        short=tuple(number for number, cells in filled if len(cells) < len(names)),
    )


def _check_header(
    path: Path,
    names: Sequence[str],
    written: Sequence[str],
    *,
    needed: Sequence[Role | str],
    expected: str,
) -> None:
    missing = [
        column.name if isinstance(column, Role) else column
        for column in needed
        if not has_column(names, column)
    ]
    if missing:
        present = f"; there are {few(filter(None, written), most=10)}" if any(written) else ""
        raise InputError(
            "{}: the header must have a column `{}` ({}){}", path, missing[0], expected, present
        )
    twice = [
        title for index, title in enumerate(written) if title and names[index] in names[:index]
    ]
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0]}; remove or rename one")
