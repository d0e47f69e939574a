"""The first sheet of an Excel 97 workbook, which may hold personal data in others: those are never loaded."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, how_to_install
from . import limits
from .container import BROKEN

_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STRINGS, _CONTINUE = 0xFC, 0x3C
"""Records of the table of strings (BIFF8)."""

_WIDE, _PHONETIC, _RICH = 1, 4, 8


def xls_rows(path: Path, notes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row.

    Parameters
    ----------
    path : Path
    notes : list of str
        Gets a note where there are more sheets.

    Raises
    ------
    InputError
        No workbook, or a damaged one. What xlrd says is not repeated: it may quote personal data.
    DependencyError
        xlrd is missing.
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
        # ragged: a cell far away would make empty ones of all before it; what xlrd says would go to the output
        output = io.StringIO()
        with xlrd.open_workbook(file_contents=content, on_demand=True, ragged_rows=True, logfile=output) as book:
            if book.nsheets > 1:
                notes.append(f"{book.nsheets - 1} further sheets, not read: they may hold personal data")
            for number, row in enumerate(book.sheet_by_index(0).get_rows(), start=1):
                yield number, [_text(cell.value) for cell in row]
    except (xlrd.XLRDError, CompDocError, FormulaError, *BROKEN) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: not an Excel 97 workbook, or damaged ({type(error).__name__}); save its first sheet as CSV"
        ) from error


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_strings(content: bytes) -> None:
    """Refuse a table of strings in which a length below zero leads back, so that xlrd would never end.

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
    """Pass over the strings as xlrd does."""
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
            there = min((len(part) - offset) // width, letters)
            offset, letters = offset + there * width, letters - there
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
