"""Check the size of a workbook by unpacking it in small pieces.

The reader of workbooks creates objects for a whole row at once, so a row could otherwise take much memory.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

# safe here: the parser only counts elements, reads no external entities, and limits the expansion of entities
from xml.parsers import expat  # nosec B407

from ..core import InputError
from . import limits

_PIECE = 2**18
"""Number of bytes that are unpacked at once."""


def check_parts(path: Path) -> None:
    """Refuse a workbook with more data in a row, or outside of rows, than a table of images can have.

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
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if not _is_small(archive, part):
                raise InputError(
                    f"{path}: more in one row of {part.filename[:80]!r}, or outside of its rows, than a table of "
                    "images has; save its first sheet as CSV"
                )


def _is_small(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part of the workbook is within limits. Parts that are not XML pass, since nothing reads them."""
    depth, inside, others = 0, 0, 0

    def start(name: str, _: object) -> None:
        nonlocal depth, inside, others
        depth += _is_row(name)
        inside += depth > 0
        others += depth == 0

    def end(name: str) -> None:
        nonlocal depth, inside
        depth -= _is_row(name)
        inside = inside if depth else 0

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
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
