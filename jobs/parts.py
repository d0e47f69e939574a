"""Files that are either absent or whole: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError, error_number, output_error
from .processes import temporary_name, unlink_stale

__all__ = ["atomic_output", "ensure_folder", "read_json", "remove_tree", "write_json", "write_rows"]


def ensure_folder(path: Path) -> Path:
    """Create a folder and its parents, or say in one line why it cannot be written.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    OutputError
        The folder cannot be created or files cannot be created in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, f"{path}: cannot create this folder", then="choose another --out") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: this folder is not writable; change its permissions or choose another --out")
    return path


@contextlib.contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit sync it and rename it into place.

    On an error the temporary file is removed and `path` is left as it was. After ``kill -9`` only a file named
    ``<name>.part-<process>-<random>`` can remain, which nothing ever reads, and which the next to write `path` on this
    host removes.

    Parameters
    ----------
    path : Path
        The final file. Its folder is created where it is missing.

    Yields
    ------
    Path
        Where to write. The file must be closed before the block ends.

    Raises
    ------
    OutputError
        The file cannot be written (permissions); `DiskFullError` where the disk is full or fails.
    """
    ensure_folder(path.parent)
    unlink_stale(path)
    temporary = path.with_name(temporary_name(path.name))
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # HDF5 ends in either when a disk is full
        named = getattr(error, "filename", None)
        if (
            isinstance(error, OutputError)
            or error_number(error) is None
            or named not in (None, str(temporary), str(path))
        ):
            raise
        raise output_error(error, f"{path}: cannot be written") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused by the encoder."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        The file is not JSON; the message names it and the position.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV table (UTF-8, LF line ends), atomically."""
    with (
        atomic_output(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def remove_tree(path: Path) -> None:
    """Remove a folder of parts; files that another process removed meanwhile are no error."""
    shutil.rmtree(path, ignore_errors=True)
