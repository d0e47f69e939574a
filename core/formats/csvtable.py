"""CSV tables that others wrote.

They remove the apostrophe that protects cells from being run as formulas, see `bchisto.core.neutral`.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from .. import InputError, Message, few, unneutral
from . import limits
from .columns import GROUP, IMAGE, LABEL, PATH, ROLES, Role, choose_column, has_column, may_hold_patients, same_name
from .spreadsheets import TableFacts, begins_blocks, one_hot, spoiled_cell
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
    return (dict(itertools.zip_longest(header, row[: len(header)], fillvalue="")) for row in rows if row)


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


@dataclass(frozen=True)
class CsvTable:
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
    notes : tuple of str
        How the table was read, if a workbook, and what was removed.
    spoiled : mapping of (int, str) to str
        Line number and column key of cells that lost their value, and what they lost.
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]
    notes: tuple[str, ...] = ()
    short: tuple[int, ...] = ()
    spoiled: Mapping[tuple[int, str], str] = field(default_factory=dict)

    def choose(self, role: Role, *, cure: str = "remove or rename one", without: Sequence[str] = ()) -> str:
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
        """Log what `remarks` and `check` return.

        Raises
        ------
        InputError
            See `check`.
        """
        for level, text in (*self.remarks(chosen), *self.check(chosen, *further)):
            (_log.info if level == "note" else _log.warning)("%s: %s", self.path, text)

    def remarks(
        self, chosen: Mapping[Role, str], *, without: Sequence[str] = (), cure: str = "rename it to group"
    ) -> Iterator[_Remark]:
        """Yield how the table was read, and the columns without a standard name that are used, or perhaps should be.

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
        yield from (("note", note) for note in self.notes)
        unused = {name: title for name, title in self.columns.items() if name not in (*chosen.values(), *without)}
        for role, column in chosen.items():
            text = f"the {role.means} is taken from the column {self.columns.get(column)}"
            others = [unused[name] for tier in role.matching(unused) for name in tier] if role is GROUP else []
            if column and others:
                yield "warning", f"{text}; not used: {', '.join(others)}"
            elif column and not role.is_plain(column):
                yield "note", text
        if chosen.get(GROUP) == "" and (candidates := may_hold_patients(unused.values())):
            yield "warning", Message(
                "the column {} may hold the patients, and is not used", candidates[0],
                remedies=[Message("if it does, {}", cure)],
            )  # fmt: skip

    def check(self, chosen: Mapping[Role, str], *further: str) -> list[_Remark]:
        """Refuse cells of the used columns that a spreadsheet spoiled, and return warnings of what may be lost.

        Parameters
        ----------
        chosen : mapping of Role to str
            The column of each role; empty if there is none.
        *further : str
            Other columns that are used.

        Raises
        ------
        InputError
            Numbers that were rounded as names, dates, errors, or formulas without a value.
        """
        warnings: list[_Remark] = []
        for role, column in (*chosen.items(), *((None, column) for column in further)):
            cells = self._column(column) if column else []
            spoiled = [(line, why) for (line, name), why in self.spoiled.items() if name == column]
            if (first := spoiled_cell(cells, names=role in (PATH, IMAGE, GROUP))) is not None:
                spoiled.append((self.rows[first[0]][0], first[1]))
            if spoiled:
                line, why = min(spoiled)
                cell = next((row[column] for number, row in self.rows if number == line), "")
                raise InputError(f"{self.path}:{line}: the {self.columns[column]} {cell!r} is {why}")
            if role in (LABEL, GROUP) and begins_blocks(cells):
                text = f"only the first row of each block has a {self.columns[column]}; if these were merged cells"
                warnings.append(("warning", f"{text}, fill in the rows below"))
        return warnings

    def labelled(self, *, required: bool = False) -> CsvTable:
        """Return the table with a column ``label`` in place of a column of ones and zeros for each class.

        A table that has a label, or no such columns, is returned unchanged.

        Parameters
        ----------
        required : bool
            Whether to refuse columns of which no row, or few rows, hold exactly one 1; otherwise a note says so.

        Raises
        ------
        InputError
            A row has no class, or several, and most have one.
        """
        known = {name for role in ROLES for tier in role.matching(self.columns) for name in tier}
        names = [name for name in self.columns if name not in known and not name.startswith("p_")]
        marks, ones = one_hot({name: self._column(name) for name in names})
        if len(marks) < 2 or has_column(list(self.columns), LABEL):
            return self
        listed = few((self.columns[name] for name in marks), most=10)
        wrong = [place for place, held in enumerate(ones) if len(held) != 1]
        if wrong:
            held = few(self.columns[name] for name in ones[wrong[0]]) or "none"
            text = (
                f"of the columns of ones and zeros ({listed}), {len(wrong)} of {len(ones)} rows do not mark one, first "
                f"line {self.rows[wrong[0]][0]} ({held}); an image has one label, so give it in a column label"
            )
            if required or 3 * len(wrong) <= len(ones):
                raise InputError(f"{self.path}: {text}")
            return replace(self, notes=(*self.notes, text))
        rows = [
            (line, {name: cell for name, cell in row.items() if name not in marks} | {LABEL.name: self.columns[name]})
            for (line, row), (name,) in zip(self.rows, ones, strict=True)
        ]
        columns = {name: title for name, title in self.columns.items() if name not in marks} | {LABEL.name: LABEL.name}
        note = f"the label is the column that holds the one of {listed}"
        return replace(self, columns=columns, rows=tuple(rows), notes=(*self.notes, note))

    def named(self, name: str) -> str | None:
        """Return the key of the column that a user names; None if there is none."""
        if (key := column_key(name)) in self.columns:
            return key
        return next((key for key in self.columns if same_name(key, name)), None)


def read_csv(
    path: Path, *, needed: Sequence[Role | str], expected: str, key: Callable[[str], str] | None = None
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
    key = key or column_key
    about = TableFacts()
    lines = table_rows(path, fits=lambda header: all(has_column(header, column) for column in needed), about=about)
    _, written = next(lines, (1, []))
    names = [key(cell) for cell in written]
    _check_header(path, names, written, needed=[name for name in needed if name is not LABEL], expected=expected)
    filled = [(number, cells) for number, cells in lines if any(cells)]
    rows = ((number, itertools.zip_longest(names, cells, fillvalue="")) for number, cells in filled)
    table = CsvTable(
        path,
        columns={name: title for name, title in zip(names, written, strict=True) if name},
        rows=tuple((number, {name: cell for name, cell in row if name}) for number, row in rows),
        overlong=tuple(number for number, cells in filled if any(cells[len(names) :])),
        notes=tuple(about.notes),
        short=tuple(number for number, cells in filled if len(cells) < len(names)),
        spoiled={(line, names[at]): why for (line, at), why in about.spoiled.items() if at < len(names)},
    )
    if LABEL not in needed:
        return table
    table = table.labelled(required=True)
    _check_header(path, [*table.columns], [*table.columns.values()], needed=(LABEL,), expected=expected)
    return table


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
    missing = [
        column.name if isinstance(column, Role) else column for column in needed if not has_column(names, column)
    ]
    if missing:
        present = f"; there are {few(filter(None, written), most=10)}" if any(written) else ""
        raise InputError("{}: the header must have a column `{}` ({}){}", path, missing[0], expected, present)
    twice = [title for index, title in enumerate(written) if title and names[index] in names[:index]]
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0]}; remove or rename one")
