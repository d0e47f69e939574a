"""Checksums of files, computed again only if a file changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from .. import ImageError

_SETTLED_NS = 2_000_000_000
"""Nanoseconds after a change before the checksum of a file is cached. Time stamps of file systems are coarse, so two
changes in quick succession may have the same time stamp."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    with _readable(path), path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file from a cache, unless its size, times or inode changed.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    with _readable(path):
        status = path.stat()
    if time.time_ns() - max(status.st_ctime_ns, status.st_mtime_ns) <= _SETTLED_NS:
        return file_sha256(path)
    return _hash_once(path.absolute(), (*file_identity(path), str(status.st_dev)))


@functools.lru_cache(maxsize=256)
def _hash_once(path: Path, identity: tuple[str, ...]) -> str:
    return file_sha256(path)


def file_identity(path: Path) -> tuple[str, str, str, str]:
    """Return the size, modification time, status change time and inode of a file, as texts.

    Only the system sets the status change time. It therefore also reveals files that were renamed, or whose
    modification time was set back, as unpacking and ``cp -p`` do.
    """
    with _readable(path):
        status = path.stat()
    return str(status.st_size), str(status.st_mtime_ns), str(status.st_ctime_ns), str(status.st_ino)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
