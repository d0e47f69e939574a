"""What a workbook holds, counted while it is unpacked piece by piece: its reader makes objects of a row at once."""

from __future__ import annotations

import zipfile
from pathlib import Path

# it counts elements, reads no entity from outside, and bounds what entities expand to
from xml.parsers import expat  # nosec B407

from ..core import InputError
from . import limits

_PIECE = 2**18
"""Bytes that are unpacked at once."""


def check_parts(path: Path) -> None:
    """Refuse a workbook with more in a row, or beside its rows, than a table of images has.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        Too large.
    zipfile.BadZipFile, zlib.error, OSError
        Damaged.
    """
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if not _is_small(archive, part):
                raise InputError(
                    f"{path}: more in one row of {part.filename[:80]!r}, or outside of its rows, than a table of "
                    "images has; save its first sheet as CSV"
                )


def _is_small(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part is within bounds; one that is not XML is not read by anything."""
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
            plain = piece.replace(b"\0", b"")  # as UTF-16 has them
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
