"""Check the size of a workbook by unpacking it in small pieces, and note what the reader of its values leaves out.

The reader of workbooks creates objects for a whole row at once, so a row could otherwise take much memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# safe here: the parser only counts elements, reads no external entities, and limits the expansion of entities
from xml.parsers import expat  # nosec B407

from .. import InputError
from . import limits
from .bounds import check_zip

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
