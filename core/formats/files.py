"""What a file is before it is read: its kind, its checksum, and what to do with one given in the place of another."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import re
import time
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

from .. import DAMAGE, BchistoError, ImageError, InputError
from . import limits
from .texts import check_zip

_HEAD = 4096
"""Bytes that are looked at: more than any pattern needs, and the header of a table."""


def mistaken(path: Path, wanted: str) -> str | None:
    """Return the refusal of a file that is of another kind than `wanted`; None if its kind is not known.

    Parameters
    ----------
    path : Path
    wanted : str
        What the file should have been, such as "a model file".

    Returns
    -------
    str or None
        One line: the file, what it is, and what to do with it. ``published/kinds.csv`` lists the kinds: a pattern of
        the first bytes, of names inside a zip, a text with which such a member begins, and the endings for which the
        kind is the right one.
    """
    with contextlib.suppress(*DAMAGE):
        with path.open("rb") as handle:
            head = handle.read(_HEAD).decode("latin-1")
        kinds = (resources.files(__package__) / "published" / "kinds.csv").read_text(encoding="utf-8")
        for kind in csv.DictReader(kinds.splitlines()):
            if re.match(kind["begins"], head, re.DOTALL) and _holds(path, kind["inside"], kind["text"]):
                known = path.suffix.casefold() in kind["unless"].split() or kind["what"] == wanted
                return None if known else f"{path}: not {wanted}, but {kind['what']}; {kind['cure']}"
    return None


def _holds(path: Path, inside: str, text: str) -> bool:
    """Return whether a zip has a member of this name that begins with this text, as far as they are given."""
    if not inside:
        return True
    with contextlib.suppress(*DAMAGE):
        check_zip(path, members=limits.ARCHIVE_MEMBERS)
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if fnmatch(name, inside)]
            return bool(members) and (not text or text.encode() in archive.open(members[0]).read(99))
    return False


_SUFFIXES = frozenset(
    {".bif", ".czi", ".isyntax", ".mrxs", ".ndpi", ".ndpis", ".scn", ".svs", ".svslide", ".vms", ".vmu", ".vsi"}
)
"""Suffixes of the files of slide scanners, except those that are also suffixes of ordinary images."""

SLIDE = (
    "a whole slide, which bchisto does not read; export fields of view from it as PNG or TIFF, all at one known "
    "size of a pixel (such as 0.5 micrometres), or bring embeddings of it from another program"
)
"""Message that explains the refusal of a whole slide and what to do instead."""


def is_slide(path: Path) -> bool:
    """Whether a file is a whole slide by its name. Whole slides named ``.tif`` are recognised by their header."""
    return path.suffix.casefold() in _SUFFIXES


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


@contextlib.contextmanager
def reading(
    path: Path, say: str = "{}", *, kind: type[BchistoError] = InputError, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn an error of a library into one line that names the file; leave an error that already names it."""
    try:
        yield
    except (*DAMAGE, *also) as error:
        if isinstance(error, BchistoError) and str(error).startswith(f"{path}: "):
            raise
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        reason = (text.strip().splitlines() or [type(error).__name__])[0][:200]
        raise kind(f"{path}: {say.format(reason)}") from error
