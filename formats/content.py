"""What files hold, by hash: read again only where the file changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from ..core import ImageError

_SETTLED_NS = 2_000_000_000
"""The hash of a file changed less than this before is not kept: file systems stamp in steps, so that a second change
might leave the stamp as it is."""


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
    """Return the SHA-256 of a file, read again in this process only where size, times or inode say that it changed.

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
    """Return size, time of content, time of status and inode.

    The time of status is set by the system alone: it tells a file that was renamed here, or was given an old time of
    content, as unpacking and ``cp -p`` do.
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
