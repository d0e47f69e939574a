"""What spreadsheets do to a table, and the workbooks that they write.

The reader of workbooks creates objects for a whole row at once, so a row could otherwise take much memory.
"""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from .. import InputError
from . import limits
from .texts import check_zip

_AS_TEXT = "format the column as text in the spreadsheet, enter the names again, and export it again"
ROUNDED = f"the spreadsheet rounded a number, so different names may have become one; {_AS_TEXT}"
DATE = f"a date, which a spreadsheet makes of names such as 1-2; {_AS_TEXT}"
NO_VALUE = "a formula without a stored value; open the table in a spreadsheet program and save it"
_ERROR = "an error of the spreadsheet; correct its formula, or empty the cell"

_SPOILED = {
    _ERROR: re.compile(r"#[^\W_][\w/ ]*[!?]|#{3,}|Err:\d+"),
    DATE: re.compile(
        r"\d{1,2}-(jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)|"
        r"(jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)-\d\d",
        re.IGNORECASE,
    ),
}
_EXPONENT = re.compile(r"[+-]?(\d+[.,]\d+e[+-]?|\d+e\+)\d{1,3}", re.IGNORECASE)
_LONG = re.compile(r"0*([1-9]\d{14})(\d+)")
"""A whole number of more than the 15 digits that spreadsheets keep."""

_ONE, _ZERO = re.compile(r"1([.,]0*)?|true|x|yes", re.IGNORECASE), re.compile(r"(0([.,]0*)?|false|no|)", re.IGNORECASE)


@dataclass
class TableFacts:
    """What is known of a table besides the texts of its cells; readers fill it in.

    Attributes
    ----------
    notes : list of str
        How the table was read, if a workbook, and what was removed.
    spoiled : dict of (int, int) to str
        Line number and place in the row to what the cell lost, such as `NO_VALUE`.
    """

    notes: list[str] = field(default_factory=list)
    spoiled: dict[tuple[int, int], str] = field(default_factory=dict)


def decimal_of(text: str) -> float:
    """Return a number with a decimal point or comma; Python's own ``1_0`` and digits of other scripts are no numbers.

    Raises
    ------
    ValueError
        The text is not a number, or separates thousands as well.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text.replace(",", ".", 1))


def spoiled_cell(cells: Sequence[str], *, names: bool) -> tuple[int, str] | None:
    """Return the place of the first cell of a column that a spreadsheet spoiled, and how; None if none is.

    Parameters
    ----------
    cells : sequence of str
    names : bool
        Whether they name images or patients, which rounding would join.
    """
    rounded = [match for cell in cells if names and (match := _LONG.fullmatch(cell))]
    zeros = len({match[0] for match in rounded}) > 1 and not any(match[2].strip("0") for match in rounded)
    for place, cell in enumerate(cells):
        if names and (_EXPONENT.fullmatch(cell) or (zeros and _LONG.fullmatch(cell))):
            return place, ROUNDED
        for why, pattern in _SPOILED.items():
            if pattern.fullmatch(cell):
                return place, why
    return None


def begins_blocks(cells: Sequence[str]) -> bool:
    """Whether only the first cell of each block of rows is filled, as in tables whose merged cells were exported."""
    filled = [place for place, cell in enumerate(cells) if cell]
    before = sum(not cell for cell in cells[1:])
    alone = sum(not cells[place + 1] for place in filled if place + 1 < len(cells))
    distinct = all(cells[first] != cells[second] for first, second in itertools.pairwise(filled))
    return bool(cells and cells[0]) and len(filled) > 1 and distinct and 2 * min(before, alone) >= len(filled)


def one_hot(columns: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns that hold only ones and zeros, and for each row those of them that hold a one.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        Column to its cells.
    """
    marks = [
        name
        for name, cells in columns.items()
        if any(cells) and all(_ONE.fullmatch(cell) or _ZERO.fullmatch(cell) for cell in cells)
    ]
    count = len(columns[marks[0]]) if marks else 0
    return marks, [[name for name in marks if _ONE.fullmatch(columns[name][row])] for row in range(count)]


# safe here: the parser only counts elements, reads no external entities, and limits the expansion of entities


_PIECE = 2**18
"""Number of bytes that are unpacked at once."""


@dataclass
class Marks:
    """What a workbook holds besides values.

    Attributes
    ----------
    merged : dict of str to list of str
        Name of a part to its ranges of merged cells, such as ``B2:B5``.
    formulas : dict of str to dict of str to bool
        Name of a part to its cells with a formula, and whether they store a value.
    unsaved : bool
        Whether no spreadsheet program has computed the formulas yet; stored values may then be zeros of a library.
    """

    merged: dict[str, list[str]] = field(default_factory=dict)
    formulas: dict[str, dict[str, bool]] = field(default_factory=dict)
    unsaved: bool = False


def check_parts(path: Path) -> Marks:
    """Refuse a workbook with more data, in all, in a row or outside of rows, than a table of images can have.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The workbook is too large.
    zipfile.BadZipFile, zlib.error, OSError
        The workbook is damaged.
    """
    marks = Marks()
    check_zip(path, members=limits.WORKBOOK_PARTS)
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)
        if size > limits.WORKBOOK_BYTES or len(parts) > limits.WORKBOOK_PARTS:
            raise InputError(
                f"{path}: {size / 1024**2:,.0f} MiB in {len(parts):,} parts when unpacked, too large for a table of "
                "images; save its first sheet as CSV"
            )
        for part in parts:
            if not _is_small(archive, part, marks):
                raise InputError(
                    f"{path}: more in one row of {part.filename[:80]!r}, or outside of its rows, than a table of "
                    "images has; save its first sheet as CSV"
                )
    return marks


def _is_small(archive: zipfile.ZipFile, part: zipfile.ZipInfo, marks: Marks) -> bool:
    """Whether a part of the workbook is within limits. Parts that are not XML pass, since nothing reads them."""
    depth, inside, others = 0, 0, 0
    element, cell, is_text = "", "", False
    merged, formulas = marks.merged.setdefault(part.filename, []), marks.formulas.setdefault(part.filename, {})

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth, inside, others, element, cell, is_text
        depth += _is_row(name)
        inside += depth > 0
        others += depth == 0
        element = name.rpartition(":")[2]
        if element == "c":
            cell, is_text = attributes.get("r", ""), attributes.get("t") == "str"
        elif element == "f" and depth and len(formulas) < limits.TABLE_ROWS:
            formulas[cell] = is_text  # a text may be empty
        elif element == "mergeCell" and len(merged) < limits.TABLE_ROWS:
            merged.append(attributes.get("ref", ""))
        elif element == "calcPr":
            marks.unsaved = attributes.get("fullCalcOnLoad") in ("1", "true")

    def text_inside(text: str) -> None:
        if element == "v" and cell in formulas and text.strip():
            formulas[cell] = True

    def end(name: str) -> None:
        nonlocal depth, inside
        depth -= _is_row(name)
        inside = inside if depth else 0

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text_inside
    without = 0
    with archive.open(part) as handle:
        while piece := handle.read(_PIECE):
            plain = piece.replace(b"\0", b"")  # UTF-16 contains null bytes
            first, *more = map(len, plain.split(b"<"))
            if max(without + first, *more, 0) > limits.TEXT_WITHOUT_ELEMENT:
                return False
            without = more[-1] if more else without + first
            try:
                parser.Parse(piece)
            except expat.ExpatError:
                return True
            if inside > limits.ROW_ELEMENTS or others > limits.OTHER_ELEMENTS:
                return False
    return True


def _is_row(name: str) -> bool:
    return name.rpartition(":")[2] == "row"
