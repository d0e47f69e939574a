"""Bounded reading of JSON and zip: the content is counted before Python creates objects from it.

Otherwise a small file could take much memory.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import IO, Any

from .. import InputError
from . import limits

_SIGNS = ",:[{"
"""One of these characters precedes every JSON value except the first."""


def parse_json(text: str | bytes, *, most: int = limits.JSON_VALUES) -> Any:
    """Parse a JSON text with at most `most` values.

    Raises
    ------
    ValueError
        Not JSON, or too many values.
    RecursionError
        Nested too deeply.
    """
    signs = (text.count(sign) for sign in _SIGNS) if isinstance(text, str) else map(text.count, _SIGNS.encode())
    if sum(signs) > most:
        raise ValueError(f"more than {most:,} values")
    return json.loads(text)


def read_json(path: Path, *, record: bool = False) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
    record : bool
        Whether it is a record of a run, for which smaller limits apply.

    Raises
    ------
    InputError
        The file is not JSON, or too large; the message names the file and the position.
    """
    size, values = (limits.RECORD_BYTES, limits.RECORD_VALUES) if record else (limits.JSON_BYTES, limits.JSON_VALUES)
    try:
        if path.stat().st_size > size:
            raise ValueError(f"more than {size // 1024**2} MiB")  # noqa: TRY301
        return parse_json(path.read_text(encoding="utf-8"), most=values)
    except (ValueError, OSError, RecursionError) as error:
        raise InputError("{}: not a readable JSON file ({})", path, error) from error


def check_zip(source: Path | IO[bytes], *, members: int) -> None:
    """Refuse a zip with too many members, without reading its whole directory.

    Parameters
    ----------
    source : Path or binary file
    members : int
        Largest acceptable number of members.

    Raises
    ------
    zipfile.BadZipFile
        Too many members, or not a zip.
    """
    if isinstance(source, Path):
        with source.open("rb") as handle:
            check_zip(handle, members=members)
        return
    zipfile.ZipFile(_Opening(source, members)).close()


class _Opening(io.IOBase):
    """A file that refuses large reads. `zipfile` reads the directory in one piece, and nothing else as large."""

    def __init__(self, handle: IO[bytes], members: int) -> None:
        self._handle, self._members = handle, members
        self.seek, self.tell = handle.seek, handle.tell  # type: ignore[method-assign]

    def read(self, size: int = -1) -> bytes:
        if size > max(self._members * limits.ZIP_MEMBER_BYTES, 2**17):
            raise zipfile.BadZipFile(f"more than {self._members:,} members")
        return self._handle.read(size)

    def seekable(self) -> bool:
        return True
