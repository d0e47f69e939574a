"""Small tables with freely named columns, and the published tables that ship with bchisto."""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..core import InputError, few
from .columns import GROUP, Role, choose_column, has_column, may_hold_patients, same_name
from .tables import table_rows

_log = logging.getLogger(__name__)


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
        How the table was read, unless it has commas and is in UTF-8.
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]
    notes: tuple[str, ...] = ()
    short: tuple[int, ...] = ()

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

        def values(name: str) -> list[str]:
            return [row[name] for _, row in self.rows]

        names = [name for name in self.columns if name not in without]
        return choose_column(names, role, where=self.path, values=values, cure=cure) or ""

    def log_columns(self, chosen: Mapping[Role, str]) -> None:
        """Log the use of columns without a standard name, and how the table was read."""
        for note in self.notes:
            _log.info("%s: %s", self.path, note)
        for role, column in chosen.items():
            if column and not role.is_plain(column):
                _log.info("%s: the %s is taken from the column %s", self.path, role.means, self.columns[column])
        unused = [name for name in self.columns if name not in chosen.values()]
        if chosen.get(GROUP) == "" and (candidates := may_hold_patients(unused)):
            _log.warning("%s: the column %s may hold the patients, and is not used; if it does, rename it to group",
                         self.path, self.columns[candidates[0]])  # fmt: skip

    def named(self, name: str) -> str | None:
        """Return the key of the column that a user names; None if there is none."""
        if (key := column_key(name)) in self.columns:
            return key
        return next((key for key in self.columns if same_name(key, name)), None)


def read_csv(
    path: Path, *, needed: Sequence[Role | str], expected: str, key: Callable[[str], str] | None = None
) -> CsvTable:
    """Read a table with a header, see `bchisto.formats.table_rows`; empty lines are skipped.

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
    notes: list[str] = []
    lines = table_rows(path, fits=lambda header: all(has_column(header, column) for column in needed), notes=notes)
    rows: list[tuple[int, dict[str, str]]] = []
    overlong: list[int] = []
    short: list[int] = []
    _, written = next(lines, (1, []))
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
    columns = {name: title for name, title in zip(names, written, strict=True) if name}
    return CsvTable(path, columns, tuple(rows), tuple(overlong), tuple(notes), tuple(short))


def published_rows(package: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a table that ships with bchisto, from the folder ``published`` of a package."""
    text = (resources.files(package) / "published" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


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
