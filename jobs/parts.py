"""Files that are either absent or whole: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import itertools
import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core import InputError, Message, OutputError, error_number, neutral, output_error, readable_name
from .guard import check_output, refuse_removing
from .processes import temporary_name, unlink_stale

_log = logging.getLogger(__name__)

_OBEYED = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Signs that a terminal obeys and that JSON leaves as they are; they stand in its strings alone."""

_FILE_NAME = re.compile(r"(?![_])\w[\w .+()-]{0,99}")
"""Names that are one part of a path everywhere, and no option of a command."""

_ASIDE = re.compile(r"\.old-[0-9a-f]{8}$")
"""End of the name of what is being overwritten, from the moment it is set aside."""

_CANNOT_CLAIM = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""Of file systems on which space cannot be claimed ahead: what is written there shows whether it fits."""

_REMOVALS = 5
"""How often a folder into which another process goes on writing is emptied before that is an error."""


def check_file_name(name: Any, what: str) -> str:
    """Return a name from a stranger's file that becomes a part of a path, or refuse it.

    Parameters
    ----------
    name : any
    what : str
        What it is the name of, for the message.

    Raises
    ------
    InputError
        No text, empty or too long; with anything but letters, digits, blanks and ``. _ + - ( )``; or beginning with a
        dot, a hyphen or a blank.
    """
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise InputError(
            f"{what} {str(name)[:200]!r}: becomes a part of a path; use letters, digits, blanks and . _ + - ( ), and "
            "begin with a letter or digit"
        )
    return name


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
        raise output_error(error, f"{path}: cannot create this folder", then=Message("choose another {out}")) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError("{}: this folder is not writable; change its permissions or choose another {out}", path)
    return path


@contextlib.contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit sync it and rename it into target.

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
    InputError
        What is there is read, or is not a regular file, see `check_output`.
    OutputError
        The file cannot be written (permissions), or a name in it is not UTF-8; `DiskFullError` where the disk is
        full or fails.
    """
    check_output(path)
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
            or named not in (None, str(temporary), str(path), str(path.parent))
        ):
            raise
        raise output_error(error, f"{path}: cannot be written") from error
    except UnicodeEncodeError as error:  # a file name that is not UTF-8, which Python keeps as surrogates
        line = error.object[: error.end].rpartition("\n")[2] + error.object[error.end :].partition("\n")[0]
        raise OutputError(
            f"{path}: cannot hold a name that is not UTF-8 ({readable_name(line.strip())}); rename that file or folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def claim_space(path: Path, size: int) -> None:
    """Make an empty file, and fail where there is no room for one of `size` bytes.

    For HDF5, which on a full disk fails once more in every object that it still holds, long after the first error.

    Raises
    ------
    OSError
        The disk is full, a quota is used up, or files may not be so large.
    """
    with path.open("wb") as handle:
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(handle.fileno(), 0, size)
            except OSError as error:
                if error.errno not in _CANNOT_CLAIM:
                    raise
            handle.truncate(0)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused by the encoder."""
    text = json_text(value) + "\n"
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    """Return indented JSON in which no character is one that a terminal obeys; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return _OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV table (UTF-8, LF line ends), atomically; no cell is a formula, see `neutral`."""
    with (
        atomic_output(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        plain = csv.writer(handle, lineterminator="\n")
        # a carriage return ends a line for whoever reads it, but is not quoted by itself
        quoted = csv.writer(handle, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in itertools.chain([header], rows):
            cells = [neutral(cell) for cell in row]
            (quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else plain).writerow(cells)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder; what another process removed meanwhile is no error.

    Raises
    ------
    OutputError
        Something cannot be removed; the message names it.
    """
    if path.is_symlink() or not path.is_dir():
        _remove(path, os.unlink)
        return
    for attempt in range(1, _REMOVALS + 1):
        for folder, folders, files in os.walk(path, topdown=False, onerror=_refuse):
            for name in files:
                _remove(Path(folder, name), os.unlink)
            for name in folders:  # those that are links; the others were emptied and removed on the way up
                if Path(folder, name).is_symlink():
                    _remove(Path(folder, name), os.unlink)
            _remove(Path(folder), os.rmdir, patient=attempt < _REMOVALS)
        if not path.exists():
            return


def _remove(path: Path, remove: Callable[[Path], None], *, patient: bool = False) -> None:
    try:
        remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        if not (patient and error.errno == errno.ENOTEMPTY):  # another process has just written into it
            _refuse(error)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise OutputError(
            f"{error.filename}: cannot be removed ({error.strerror}); change its permissions or remove it yourself"
        ) from error


def set_aside(path: Path) -> None:
    """Remove a file or folder so that at every moment it is whole or gone: rename it, then remove that.

    What a kill leaves is called ``<name>.old-<random>``, and goes with `remove_leftovers`.

    Raises
    ------
    InputError
        It holds something that is read, see `reading`.
    OutputError
        It cannot be renamed or removed.
    """
    refuse_removing(path)
    target = Path(os.path.realpath(path))  # of a link the target, so that the link goes on holding
    aside = target.with_name(f"{target.name}.old-{secrets.token_hex(4)}")
    try:
        target.rename(aside)
        _sync(target.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            "{}: cannot be renamed to be overwritten ({}); change the permissions of {} or choose another {out}",
            path, error.strerror or error, target.parent,
        ) from error  # fmt: skip
    remove_tree(aside)


def remove_leftovers(path: Path) -> None:
    """Remove what killed overwrites of `path` left; nothing reads it, so what cannot be removed is only a warning."""
    target = Path(os.path.realpath(path))
    for aside in target.parent.glob(f"{glob.escape(target.name)}.old-*"):
        if not _ASIDE.search(aside.name):
            continue
        try:
            remove_tree(aside)
        except OutputError as error:
            _log.warning(Message("left by an earlier {overwrite}: {}", error))


def is_set_aside(path: Path) -> bool:
    """Whether a path is, or lies in, what is being overwritten."""
    return any(_ASIDE.search(part) for part in path.parts)
