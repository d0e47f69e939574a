"""No output replaces what is read: files are told apart by what they are on the disk, whatever path or link names them.

A command names what it reads once (`reading`). Everything that writes or removes files (`atomic_output`, `set_aside`,
`remove_output`) then refuses these, besides what is not a regular file, such as a device or a named pipe.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..core import InputError, Parameter, items_of

_Identity = tuple[int, int]

_READ: ContextVar[Mapping[_Identity, Path]] = ContextVar("read", default=MappingProxyType({}))


@contextlib.contextmanager
def reading(paths: Iterable[Path]) -> Iterator[None]:
    """Let no file be written in the place of these while the block runs, and no folder be removed that holds one.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders that are read, see `named_files`.
    """
    token = _READ.set({**_READ.get(), **_identities(paths)})
    try:
        yield
    finally:
        _READ.reset(token)


def named_files(*values: Any) -> Iterator[Path]:
    """Yield the files and folders that values name, as a path or behind ``ENCODER=`` or ``onnx:``.

    Beside a file the JSON of the same name is read too, beside ``x.onnx`` its values (``x.onnx.data``), and of a folder
    behind a prefix (``hub:``) all its files.

    Parameters
    ----------
    *values : any
        Texts, paths, or sequences of them; whatever else names nothing.
    """
    for value in values:
        for item in items_of(value):
            if isinstance(item, (tuple, list)):
                yield from named_files(*item)
            elif isinstance(item, (str, os.PathLike)):
                text = os.fspath(item)
                prefixed = [text.partition(sign)[2] for sign in "=:"]
                for path in map(Path, filter(None, [text, *prefixed, prefixed[0].partition(":")[2]])):
                    if _identity(path) is None:
                        continue
                    yield path
                    with contextlib.suppress(OSError):  # a folder that may not be listed
                        if path.is_file() and path.stem != "run":  # a record of ours, which describes no weights
                            yield path.with_suffix(".json")
                        if path.suffix == ".onnx":
                            yield from path.parent.glob(f"{glob.escape(path.name)}?*")
                        if path.is_dir() and str(path) != text:
                            yield from path.iterdir()


def check_output(path: Path, *, name: str = "out") -> None:
    """Refuse to write a file where another is read, and where something lies that is not a regular file.

    Parameters
    ----------
    path : Path
    name : str
        Parameter that says where is written.

    Raises
    ------
    InputError
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # nothing there, or a link to nothing
        return
    if not stat.S_ISREG(status.st_mode):
        raise InputError("{}: is not a regular file, and is not overwritten; choose another {}", path, Parameter(name))
    refuse_overwriting([path], (), name=name)


def remove_output(path: Path) -> None:
    """Remove a file that an earlier call wrote, if it is there.

    Raises
    ------
    InputError
        See `check_output`.
    """
    check_output(path)
    path.unlink(missing_ok=True)


def refuse_removing(folder: Path) -> None:
    """Refuse to remove a folder in which something lies that is read.

    Raises
    ------
    InputError
    """
    real = os.path.realpath(folder)
    for path in _READ.get().values():
        if Path(os.path.realpath(path)).is_relative_to(real):
            raise InputError("{}: would be removed with {}, which is read; choose another {out}", folder, path)


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path], *, name: str = "out") -> None:
    """Refuse to write where something is read, by whatever path or link either is named.

    Parameters
    ----------
    outputs : iterable of Path
        Files that are to be written; those that there are not yet cannot be read.
    inputs : iterable of Path
        Files that are read, besides those that `reading` names.
    name : str
        Parameter that says where is written.

    Raises
    ------
    InputError
        The first output that is an input.
    """
    known = {**_READ.get(), **_identities(inputs)}
    for path in outputs:
        if (identity := _identity(path)) is not None and identity in known:
            raise InputError(
                "{}: would overwrite {}, which is read; choose another {}", path, known[identity], Parameter(name)
            )


def refuse_among(output: Path, folders: Iterable[Path], *, name: str = "out") -> None:
    """Refuse to overwrite a file that lies in a folder of images, where tables are read too.

    Parameters
    ----------
    output : Path
        A file that an earlier call did not write.
    folders : iterable of Path
        What is read; files among them are passed over.
    name : str
        Parameter that says where is written.

    Raises
    ------
    InputError
    """
    real = Path(os.path.realpath(output))
    for folder in folders:
        if real.is_file() and folder.is_dir() and real.is_relative_to(os.path.realpath(folder)):
            raise InputError(
                "{}: is among what is read in {}; remove it or choose another {}", output, folder, Parameter(name)
            )


def _identities(paths: Iterable[Path]) -> dict[_Identity, Path]:
    return {identity: path for path in paths if (identity := _identity(path)) is not None}


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
