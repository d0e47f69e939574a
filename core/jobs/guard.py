"""Protects inputs from being overwritten. Files are compared by device and inode, whatever path or link names them.

A command lists its inputs once (`reading`). All functions that write or remove files (`atomic_output`, `set_aside`,
`remove_output`) then refuse these, and also anything that is not a regular file, such as a device or a named pipe.
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

from .. import InputError, Parameter, items_of

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


def refuse_removing(folder: Path) -> None:
    """Refuse to remove a folder that contains an input.

    Raises
    ------
    InputError
    """
    real = os.path.realpath(folder)
    for path in _READ.get().values():
        if Path(os.path.realpath(path)).is_relative_to(real):
            raise InputError(
                "{}: would be removed with {}, which is read; choose another {out}", folder, path
            )


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
    known = {**_READ.get(), **_identities(inputs)}
    for identity, path in _identities(outputs).items():
        if identity in known:
            raise InputError(
                "{}: would overwrite {}, which is read; choose another {}",
                path,
                known[identity],
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
    """Return those paths that exist, by what identifies a file."""
    known = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            status = path.stat()
            known[status.st_dev, status.st_ino] = path
    return known
