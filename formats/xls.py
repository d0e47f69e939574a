"""Read only the first sheet of an Excel 97 workbook; other sheets may contain personal data and are never loaded."""

from __future__ import annotations

import datetime
import io
import struct
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, how_to_install
from . import limits
from .container import BROKEN
from .spreadsheets import DATE, TableFacts

_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STRINGS, _CONTINUE = 0xFC, 0x3C
"""Records of the table of strings, and of its continuation (BIFF8)."""

_WIDE, _PHONETIC, _RICH = 1, 4, 8


def xls_rows(path: Path, about: TableFacts) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row.

    Parameters
    ----------
    path : Path
    about : TableFacts
        Filled while rows are read.

    Raises
    ------
    InputError
        The file is not a workbook, or damaged. It does not repeat messages of xlrd, which may quote personal data.
    DependencyError
        xlrd is not installed.
    """
    try:
        import xlrd
        from xlrd.compdoc import CompDocError
        from xlrd.formula import FormulaError
    except ImportError as error:
        raise DependencyError(
            f"{path}: xlrd is missing: {how_to_install('mammograms')}, or save its first sheet as CSV"
        ) from error
    try:
        if path.stat().st_size > limits.XLS_BYTES:
            raise InputError(f"{path}: too large for a table of images; save its first sheet as CSV")
        content = path.read_bytes()
        _check_strings(content)
        # ragged rows: otherwise one distant cell would create empty cells for all before it
        log = io.StringIO()  # instead of the standard output
        kept = {"on_demand": True, "ragged_rows": True, "formatting_info": True}  # merged cells are formatting
        with xlrd.open_workbook(file_contents=content, logfile=log, **kept) as book:
            if book.nsheets > 1:
                about.notes.append(f"{book.nsheets - 1} further sheets, not read: they may hold personal data")
            sheet = book.sheet_by_index(0)
            about.merged |= {(top + 1, left): bottom for top, bottom, left, _ in sheet.merged_cells}
            kinds = {xlrd.XL_CELL_BOOLEAN: bool, xlrd.XL_CELL_ERROR: xlrd.error_text_from_code.get}
            for number, row in enumerate(sheet.get_rows(), start=1):
                dates = [place for place, cell in enumerate(row) if cell.ctype == xlrd.XL_CELL_DATE]
                about.spoiled |= {(number, place): DATE for place in dates}
                yield number, [cell_text(kinds.get(cell.ctype, _same)(cell.value)) for cell in row]
    except (xlrd.XLRDError, CompDocError, FormulaError, *BROKEN) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: not an Excel 97 workbook, or damaged ({type(error).__name__}); save its first sheet as CSV"
        ) from error


def _same(value: Any) -> Any:
    return value


def cell_text(value: Any) -> str:
    """Return the value of a cell as text, as in a CSV file."""
    if isinstance(value, float) and value.is_integer():
        return str(int(Decimal(repr(value))))  # as the spreadsheet shows it, with zeros after the digits that it keeps
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return "" if value is None else str(value)


def _check_strings(content: bytes) -> None:
    """Refuse a table of strings with a negative length, which would send xlrd into an endless loop.

    Raises
    ------
    ValueError, IndexError, struct.error, CompDocError
        The workbook is damaged.
    """
    from xlrd.compdoc import CompDoc

    if content.startswith(_COMPOUND):
        compound = CompDoc(content, logfile=io.StringIO())
        streams = map(compound.locate_named_stream, ("Workbook", "Book"))
        memory, start, size = next((stream for stream in streams if stream[0] is not None), (b"", 0, 0))
        content = bytes(memory[start : start + size])
    offset = 0
    while offset + 4 <= len(content):
        kind, length = struct.unpack_from("<HH", content, offset)
        parts = [content[offset + 4 : offset + 4 + length]]
        offset += 4 + length
        while kind == _STRINGS and content[offset : offset + 2] == _CONTINUE.to_bytes(2, "little"):
            (length,) = struct.unpack_from("<H", content, offset + 2)
            parts.append(content[offset + 4 : offset + 4 + length])
            offset += 4 + length
        if kind == _STRINGS:
            _walk_strings(parts)


def _walk_strings(parts: list[bytes]) -> None:
    """Step through the strings as xlrd does, without decoding them."""
    (count,) = struct.unpack_from("<i", parts[0], 4)
    number, offset = 0, 8
    for _ in range(count):
        part = parts[number]
        letters, kind = struct.unpack_from("<HB", part, offset)
        offset += 3
        runs = phonetic = 0
        if kind & _RICH:
            (runs,) = struct.unpack_from("<H", part, offset)
            offset += 2
        if kind & _PHONETIC:
            (phonetic,) = struct.unpack_from("<i", part, offset)
            offset += 4
        if phonetic < 0:
            raise ValueError("a length below zero")
        while True:
            width = 2 if kind & _WIDE else 1
            available = min((len(part) - offset) // width, letters)
            offset, letters = offset + available * width, letters - available
            if not letters:
                break
            number += 1
            part = parts[number]
            kind, offset = (kind & ~_WIDE) | (part[0] & _WIDE), 1
        for _ in range(runs):
            if offset == len(part):
                number, offset = number + 1, 0
                part = parts[number]
            offset += 4
        offset += phonetic
        if offset >= len(part):
            offset -= len(part)
            number += 1
            if number == len(parts):
                return
