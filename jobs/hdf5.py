"""Opening HDF5 files for reading beside whoever else has them open, and saying why one cannot be opened."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError

__all__ = ["hdf5_reason", "hdf5_trouble", "open_for_reading"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_LOCKING = (None, False, True, "best-effort")
"""Ways to ask for HDF5's file lock. A file that this process has open already can be opened again in the same way only,
and ``None`` is that of ``h5py.File(path)``; so whoever comes second succeeds. Where locks fail, as on some network file
systems, ``False`` does without: a finished store never changes in place."""

_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES)


def open_for_reading(path: Path) -> tuple[Any, bool]:
    """Open an HDF5 file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    file : h5py.File
        Shares the state of the file with those who have it open in this process.
    busy : bool
        Whether another process has it open for writing, so that what is read may be half written.

    Raises
    ------
    StoreError
        What is the matter: missing, a folder, not readable, empty, not HDF5, truncated, or open elsewhere in a way
        that cannot be shared.
    """
    import h5py

    trouble = hdf5_trouble(path)
    if trouble is not None:
        raise StoreError(f"{path}: {trouble}")
    busy = False
    reasons: list[str] = []
    for locking in _LOCKING:
        try:
            return h5py.File(path, "r", locking=locking), busy
        except OSError as error:
            reasons.append(str(error))
            lock = re.search(r"unable to lock file, errno = (\d+)", str(error))
            busy = busy or (lock is not None and int(lock[1]) in _HELD_ELSEWHERE)
    if busy:
        raise StoreError(f"{path}: open for writing in another program; close it there and try again")
    raise StoreError(f"{path}: {hdf5_reason(reasons)}")


def hdf5_trouble(path: Path) -> str | None:
    """Say why a file cannot be an HDF5 file that we may read; None if its first bytes can be read and are right."""
    try:
        if path.is_dir():
            return "a folder, not an HDF5 file; name a file in it"
        with path.open("rb") as handle:
            start = handle.read(len(_SIGNATURE))
    except FileNotFoundError:
        return "a link whose file is missing" if path.is_symlink() else "no such file"
    except PermissionError:
        return "no permission to read it; ask its owner, or chmod u+r if it is yours"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if not start:
        return "an empty file; its copy or download did not finish"
    if start != _SIGNATURE and not _has_user_block(path):
        return "not an HDF5 file"
    return None


def _has_user_block(path: Path) -> bool:
    """Whether HDF5's signature stands further in, behind something of somebody else's."""
    import h5py

    return bool(h5py.is_hdf5(path))


def hdf5_reason(messages: Sequence[str]) -> str:
    """Say in words what HDF5's messages about a file that it cannot open mean, and what to do."""
    for message in messages:
        if (sizes := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", message)) is not None:
            return f"truncated, {sizes[1]} of {sizes[2]} bytes are there; copy it again, or make it again"
    inner = re.sub(r"^Unable to (?:synchronously )?open file \((.*)\)$", r"\1", messages[0].splitlines()[0])
    if any(word in inner for word in ("already open", "flag values don't match", "flag not the same")):
        return f"open in this program already, in a way that cannot be shared ({inner}); close it first"
    return f"HDF5 cannot open it ({inner}): damaged, or written by a newer HDF5; copy it again"
