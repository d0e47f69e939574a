"""Files of results, absent or complete: written under a temporary name and renamed; keys, and packs of arrays.

Inputs are protected from being overwritten. Files are compared by device and inode, whatever path or link names them. A
command lists its inputs once (`reading`). All functions that write or remove files (`atomic_output`, `set_aside`,
`remove_output`) then refuse these, and also anything that is not a regular file, such as a device or a named pipe.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import hashlib
import itertools
import json
import logging
import os
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from .. import (
    DAMAGE,
    InputError,
    Message,
    OutputError,
    Parameter,
    StoreError,
    error_number,
    items_of,
    neutral,
    output_error,
    readable_name,
    system_reason,
)
from .processes import temporary_path

if TYPE_CHECKING:
    import numpy.typing as npt

_log = logging.getLogger(__name__)

_OBEYED = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal acts on and that JSON does not escape; they occur only inside its strings."""

_FILE_NAME = re.compile(r"(?![_])\w[\w .+()-]{0,99}")
"""Names that are a single part of a path on every system, and cannot be read as an option of a command."""

_ASIDE = re.compile(r"\.old-[0-9a-f]{8}$")
"""End of the name of a file or folder that is being overwritten, see `set_aside`."""

_CANNOT_CLAIM = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""Errors of file systems that cannot reserve space in advance."""

_REMOVALS = 5
"""Number of attempts to remove a folder into which another process still writes."""


def check_file_name(name: Any, what: str) -> str:
    """Return a name from an untrusted file if it is safe as a part of a path.

    Parameters
    ----------
    name : any
    what : str
        The kind of name, for the message.

    Raises
    ------
    InputError
        The name is not a text, is empty or too long, or has characters except letters, digits, blanks and
        ``. _ + - ( )``. Or it does not begin with a letter or digit.
    """
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise InputError(
            f"{what} {str(name)[:200]!r}: becomes a part of a path; use letters, digits, blanks and . _ + - ( ), and "
            "begin with a letter or digit"
        )
    return name


def ensure_folder(path: Path) -> Path:
    """Create a folder and its parents, check that it is writable, and return it.

    Raises
    ------
    OutputError
        The folder cannot be created or files cannot be created in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(
            error, f"{path}: cannot create this folder", then=Message("choose another {out}")
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(
            "{}: this folder is not writable; change its permissions or choose another {out}", path
        )
    return path


@contextlib.contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; if the block succeeds, sync the file and rename it to `path`.

    On an error the temporary file is removed, and `path` is unchanged. After ``kill -9``, only a file named
    ``<name>.part-<process>-<random>`` can remain. It is never read, and the next process on this host that writes
    `path` removes it.

    Parameters
    ----------
    path : Path
        The final file. Its folder is created if it does not exist.

    Yields
    ------
    Path
        The temporary file to write. It must be closed before the block ends.

    Raises
    ------
    InputError
        The existing file is an input, or not a regular file, see `check_output`.
    OutputError
        The file cannot be written (permissions), or a name in it is not UTF-8; `DiskFullError` if the disk is full or
        fails.
    """
    check_output(path)
    ensure_folder(path.parent)
    temporary = temporary_path(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # HDF5 raises either if the disk is full
        name = getattr(error, "filename", None)
        if (
            isinstance(error, OutputError)
            or error_number(error) is None
            or name not in (None, str(temporary), str(path), str(path.parent))
        ):
            raise
        raise output_error(error, f"{path}: cannot be written") from error
    except UnicodeEncodeError as error:
        # a file name that is not UTF-8, which Python keeps as surrogates
        line = next(line for line in error.object.split("\n") if readable_name(line) != line)
        raise OutputError(
            f"{path}: cannot hold a name that is not UTF-8 ({readable_name(line.strip())}); rename that file or folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def claim_space(path: Path, size: int) -> None:
    """Create an empty file, and fail if there is no room for `size` bytes.

    This is for HDF5: on a full disk, it fails again in every object that is still open, long after the first error.

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
    """Flush a file or folder to its disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused by the encoder."""
    with atomic_output(path) as temporary:
        temporary.write_text(f"{json_text(value)}\n", encoding="utf-8")


def json_text(value: Any, default: Any = None) -> str:
    """Return indented JSON, with characters that a terminal acts on escaped; NaN and infinity are refused.

    Values that JSON cannot hold are converted by `default`.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=default)
    return _OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV table (UTF-8, LF line ends), atomically; formulas are escaped, see `bchisto.core.neutral`."""
    with (
        atomic_output(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        plain = csv.writer(handle, lineterminator="\n")
        # readers take a carriage return for the end of a line, but csv does not quote it by default
        quoted = csv.writer(handle, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in itertools.chain([header], rows):
            cells = [neutral(cell) for cell in row]
            writer = plain
            if any(isinstance(cell, str) and "\r" in cell for cell in cells):
                writer = quoted
            writer.writerow(cells)


def write_or_remove(path: Path, header: Sequence[str], rows: Collection[Sequence[Any]]) -> None:
    """Write a CSV table if there are rows; otherwise remove that of an earlier call."""
    if rows:
        write_rows(path, header, rows)
    else:
        remove_output(path)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder; it is not an error if another process removes parts of it at the same time.

    Raises
    ------
    OutputError
        Something cannot be removed; the message names it.
    """
    attempts = 0
    while path.is_symlink() or path.exists():
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:  # another process removes it too
            continue
        except OSError as error:
            attempts += 1
            # another process has just written into it
            if error.errno == errno.ENOTEMPTY and attempts < _REMOVALS:
                continue
            raise OutputError(
                f"{path}: cannot be removed ({error.filename}: {error.strerror}); change its permissions or remove it "
                "yourself"
            ) from error


def set_aside(path: Path) -> None:
    """Remove a file or folder so that it is complete or gone at every moment: rename it first, then remove it.

    If the process is killed, ``<name>.old-<random>`` remains, which `remove_leftovers` removes.

    Raises
    ------
    InputError
        It contains an input, see `reading`.
    OutputError
        It cannot be renamed or removed.
    """
    target = Path(os.path.realpath(path))  # the target of a link, so that the link itself remains
    for file in _READ.get().values():
        if Path(os.path.realpath(file)).is_relative_to(target):
            text = "{}: would be removed with {}, which is read; choose another {out}"
            raise InputError(text, path, file)
    old = target.with_name(f"{target.name}.old-{secrets.token_hex(4)}")
    try:
        target.rename(old)
        _sync(target.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        text = "{}: cannot be renamed to be overwritten ({}); change the permissions of {} or choose another {out}"
        raise OutputError(text, path, system_reason(error), target.parent) from error
    remove_tree(old)


def remove_leftovers(path: Path) -> None:
    """Remove what killed calls of `set_aside` left of `path`; what cannot be removed causes only a warning."""
    target = Path(os.path.realpath(path))
    for old in target.parent.glob(f"{glob.escape(target.name)}.old-*"):
        if not _ASIDE.search(old.name):
            continue
        try:
            remove_tree(old)
        except OutputError as error:
            _log.warning(Message("left by an earlier {overwrite}: {}", error))


def is_set_aside(path: Path) -> bool:
    """Return whether a path is, or is inside, a file or folder that is being overwritten, see `set_aside`."""
    return any(_ASIDE.search(part) for part in path.parts)


_KEY = "key"


def key_of(kind: str, **content: Any) -> str:
    """Return the key of a result: a SHA-256 checksum of everything that it depends on.

    Pass whole settings in their plain form, never a hand-picked list: a setting that is missing from a key leads to
    stale results. Pass weights, images and models by their checksums, so that the location of a file does not matter.

    Parameters
    ----------
    kind : str
        The kind of result, and the version of the code that computes it: ``"model 1"``. Code that computes other
        results needs another version.
    **content : JSON-ready values
        Everything that the result depends on.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError, ValueError
        A value cannot be written as JSON, or a number is not finite.

    Examples
    --------
    >>> key_of("row 1", pool=3, view=(0.5, 400)) == key_of("row 1", view=[0.5, 400.0], pool=3.0)
    True
    >>> key_of("row 1", pool=3) == key_of("row 2", pool=3)
    False
    """
    # a Python caller may pass 3, while the command line reads 3.0
    plain = json.loads(json.dumps([kind, content], allow_nan=False), parse_float=_whole_as_int)
    return hashlib.sha256(
        json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _whole_as_int(text: str) -> int | float:
    """Return a number of JSON; an int if it is whole."""
    number = float(text)
    if number.is_integer():
        return int(number)
    return number


def save_arrays(
    handle: IO[bytes], arrays: Mapping[str, npt.ArrayLike], *, compressed: bool = False
) -> None:
    """Write arrays as `numpy.savez` does, but refuse Python objects; equal arrays give equal bytes.

    `numpy.savez` itself cannot be used: before NumPy 2.2, it saves ``allow_pickle=False`` as another array.
    """
    import numpy as np  # not at the top: all commands import this module, also for their help

    method = zipfile.ZIP_STORED
    if compressed:
        method = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(handle, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def write_pack(path: Path, key: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write the arrays of a finished result to a file, atomically.

    Parameters
    ----------
    path : Path
    key : str
        See `bchisto.core.jobs.key_of`.
    arrays : mapping
        Name to array; texts and bytes are arrays of uint8.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, {_KEY: bytearray.fromhex(key), **arrays})


def read_pack(
    path: Path,
    key: str,
    shapes: Mapping[str, Sequence[int | None]],
    *,
    finite: Collection[str] = (),
) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of a finished result; None if the file does not exist, or (with a warning) if it is not valid.

    Parameters
    ----------
    path : Path
    key : str
        The expected key; a file with another key is not valid.
    shapes : mapping
        Name to shape of each required array; None stands for any length.
    finite : collection of str
        Arrays whose values must be finite.
    """
    import numpy as np

    if not path.is_file():
        return None
    try:
        with (
            path.open("rb") as handle,
            zipfile.ZipFile(handle),
            np.load(handle, allow_pickle=False) as file,
        ):
            arrays = {name: file[name] for name in file.files}
        fault = None
        if arrays[_KEY].tobytes().hex() != key:
            fault = "made under other settings"
        for name, shape in shapes.items():
            array = arrays[name]
            if array.ndim != len(shape) or any(
                n not in (None, m) for n, m in zip(shape, array.shape, strict=True)
            ):
                fault = fault or f"{name} has the shape {array.shape}"
            elif name in finite and not np.isfinite(array).all():
                fault = fault or f"{name} has values that are not finite"
    except DAMAGE as error:
        fault = str(error) or type(error).__name__
    if fault is None:
        return arrays
    _log.warning("%s: incomplete (%s); made again", path, fault)
    return None


def changed_meanwhile(path: Path) -> StoreError:
    """Return the error that a file is gone or differs, although this command has read or written it before."""
    return StoreError(f"{path}: changed while the command ran; run the same command again")


_Identity = tuple[int, int]

_READ: ContextVar[Mapping[_Identity, Path]] = ContextVar("read", default=MappingProxyType({}))


@contextlib.contextmanager
def reading(paths: Iterable[Path]) -> Iterator[None]:
    """Protect input files inside the block: refuse to overwrite them, or to remove a folder that contains one.

    Parameters
    ----------
    paths : iterable of Path
        Input files and folders, see `named_files`.
    """
    token = _READ.set({**_READ.get(), **_identities(paths)})
    try:
        yield
    finally:
        _READ.reset(token)


def named_files(*values: Any) -> Iterator[Path]:
    """Yield the existing files and folders that values name, as a path or after a prefix (``ENCODER=``, ``onnx:``).

    A file is followed by the JSON file of the same name, and ``x.onnx`` by its external data (``x.onnx.data``), since
    these are read too. A folder after a prefix (``hub:``) is followed by all its files.

    Parameters
    ----------
    *values : any
        Texts, paths, or sequences of them; other values are ignored.
    """
    for value in values:
        for item in items_of(value):
            if isinstance(item, (tuple, list)):
                yield from named_files(*item)
            elif isinstance(item, (str, os.PathLike)):
                text = os.fspath(item)
                for path in _paths_in(text):
                    yield path
                    # no permission to list the folder
                    with contextlib.suppress(OSError):
                        yield from _files_beside(path)
                        if path.is_dir() and str(path) != text:
                            yield from path.iterdir()


def _paths_in(text: str) -> Iterator[Path]:
    """Yield the existing paths that a text may name: all of it, and what follows ``NAME=``, ``kind:``, or both."""
    _, _, value = text.partition("=")
    for end in (text, value, text.partition(":")[2], value.partition(":")[2]):
        if end and os.path.exists(end):  # noqa: PTH110 - a text may be no path at all
            yield Path(end)


def _files_beside(path: Path) -> Iterator[Path]:
    """Yield the files that are read with a file, whether they exist or not."""
    # run.json is a record, and does not describe weights
    if path.is_file() and path.stem != "run":
        yield path.with_suffix(".json")
    if path.suffix == ".onnx":
        yield from path.parent.glob(f"{glob.escape(path.name)}?*")


def check_output(path: Path, *, name: str = "out") -> None:
    """Refuse an output path that is an input, or that exists and is not a regular file.

    Parameters
    ----------
    path : Path
    name : str
        The parameter that sets the output path, for the message.

    Raises
    ------
    InputError
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # the path does not exist, or is a broken link
        return
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            "{}: is not a regular file, and is not overwritten; choose another {}",
            path,
            Parameter(name),
        )
    refuse_overwriting([path], (), name=name)


def remove_output(path: Path) -> None:
    """Remove an output file of an earlier call, if it exists.

    Raises
    ------
    InputError
        See `check_output`.
    """
    check_output(path)
    path.unlink(missing_ok=True)


def refuse_overwriting(
    outputs: Iterable[Path], inputs: Iterable[Path], *, name: str = "out"
) -> None:
    """Refuse outputs that are also inputs, whatever path or link names them.

    Parameters
    ----------
    outputs : iterable of Path
        Output files; those that do not exist yet cannot be inputs.
    inputs : iterable of Path
        Input files, in addition to those of `reading`.
    name : str
        The parameter that sets the output path, for the message.

    Raises
    ------
    InputError
        An output is an input; the message names the first.
    """
    inputs_by_identity = {**_READ.get(), **_identities(inputs)}
    for identity, path in _identities(outputs).items():
        if identity in inputs_by_identity:
            raise InputError(
                "{}: would overwrite {}, which is read; choose another {}",
                path,
                inputs_by_identity[identity],
                Parameter(name),
            )


def refuse_among(output: Path, folders: Iterable[Path], *, name: str = "out") -> None:
    """Refuse to overwrite a file in a folder of images, since tables in that folder are read too.

    Parameters
    ----------
    output : Path
        A file that was not written by an earlier call.
    folders : iterable of Path
        Input folders; files in the list are ignored.
    name : str
        The parameter that sets the output path, for the message.

    Raises
    ------
    InputError
    """
    real = Path(os.path.realpath(output))
    for folder in folders:
        if real.is_file() and folder.is_dir() and real.is_relative_to(os.path.realpath(folder)):
            raise InputError(
                "{}: is among what is read in {}; remove it or choose another {}",
                output,
                folder,
                Parameter(name),
            )


def _identities(paths: Iterable[Path]) -> dict[_Identity, Path]:
    """Return the paths that exist, by device and inode."""
    path_by_identity = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            status = path.stat()
            path_by_identity[status.st_dev, status.st_ino] = path
    return path_by_identity
