"""Small CSV tables that people write: header and cells without blanks around them, and any case in the header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["CsvTable", "column_key", "read_csv"]


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
    overlong : tuple of int
        Lines with more cells than the header.
    """

    path: Path
    columns: dict[str, str]
    rows: tuple[tuple[int, dict[str, str]], ...]
    overlong: tuple[int, ...]


def read_csv(path: Path, *, needed: Sequence[str], expected: str) -> CsvTable:
    """Read a UTF-8 CSV table with a header; empty lines are passed over.

    Parameters
    ----------
    path : Path
    needed : sequence of str
        Columns that must be there.
    expected : str
        The header in full, for messages.

    Raises
    ------
    InputError
        Not UTF-8, a needed column missing, or two columns of one name.
    """
    rows: list[tuple[int, dict[str, str]]] = []
    overlong: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            written = [cell.strip() for cell in next(reader, [])]
            names = [column_key(cell) for cell in written]
            _check_header(path, names, written, needed=needed, expected=expected)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    padded = [*(cell.strip() for cell in cells), *[""] * len(names)]
                    row = zip(names, padded[: len(names)], strict=True)
                    rows.append((reader.line_num, {name: cell for name, cell in row if name}))
                    if any(cell.strip() for cell in cells[len(names) :]):
                        overlong.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    columns = {name: said for name, said in zip(names, written, strict=True) if name}
    return CsvTable(path, columns, tuple(rows), tuple(overlong))


def column_key(name: str) -> str:
    """Return the name of a column in lower case, with ``_`` for spaces and hyphens.

    Examples
    --------
    >>> column_key("Hospital-ID")
    'hospital_id'
    """
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _check_header(
    path: Path, names: Sequence[str], written: Sequence[str], *, needed: Sequence[str], expected: str
) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        other = next((mark for mark in (";", "\t") if any(mark in cell for cell in written)), None)
        hint = "; separate the columns by commas" if other else ""
        raise InputError(f"{path}: the header must have a column `{missing[0]}` ({expected}){hint}")
    twice = [said for place, said in enumerate(written) if said and names[place] in names[:place]]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]}; remove or rename one")
