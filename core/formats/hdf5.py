"""Untrusted HDF5 files: what they may hold, and a process that reads them first.

Only a crash or a hang of that process counts. It ignores other errors, because the reader of the file will report them
with better messages.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import DAMAGE, StoreError, system_reason
from . import limits
from .files import reading

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Filters that are built into h5py. For any other filter, HDF5 would load a plug-in of this machine."""


_KINDS = {
    "text": "O",
    "bytes": "S",
    "float": "f",
    "whole": "iu",
    "truth": "b",
    "number": "iuf",
    "numbers": "iufbS",
}
"""Kind of the values in a dataset, as `checked_dataset` names it, to kinds of NumPy dtypes."""


def open_for_reading(path: Path) -> Any:
    """Open an HDF5 file.

    It is opened like ``h5py.File(path)``, since it may be open in this process already. If that fails, it is opened
    without a lock, which some disks do not have.

    Parameters
    ----------
    path : Path

    Returns
    -------
    h5py.File
        Shares its state with other open handles of the same file in this process.

    Raises
    ------
    StoreError
        The file is missing, a folder, not readable, empty, not HDF5, truncated, or open elsewhere in a way that cannot
        be shared.
    """
    import h5py

    if path.exists() and not path.is_file():  # opening a pipe would block
        raise StoreError(f"{path}: a folder, a pipe or a device, not an HDF5 file; name a file")
    reason = ""
    for locking in (None, False):
        try:
            path.open("rb").close()  # its reasons are shorter than those of HDF5
            return h5py.File(path, "r", locking=locking)
        except OSError as error:
            reason = system_reason(error).splitlines()[0]
    raise StoreError(
        f"{path}: not a whole HDF5 file, or not readable ({reason}); check it, or copy it again"
    )


def checked_dataset(
    file: Any, name: str, *, holds: str, shape: Sequence[int | None] | None = None
) -> Any:
    """Return a dataset of an untrusted file, after checking that reading it is safe and uses only this file.

    Parameters
    ----------
    file : h5py.File or h5py.Group
    name : str
        Path of the dataset, such as ``images/image_id``.
    holds : {"text", "bytes", "float", "whole", "truth", "number"}
        Required kind of the values: ``text`` has any length, ``bytes`` a fixed length.
    shape : sequence of int or None, optional
        Required shape; None for an axis of any length. By default any shape will do.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    StoreError
        The dataset is missing, has another type or shape, or is reached by a soft or external link. Or its values are
        in other files (external or virtual), need a filter plug-in, or unpack to much more than is stored. The message
        names the dataset, not the file.
    """
    item = _linked(file, name)
    _check_values(item, name, holds)
    if shape is not None:
        if len(item.shape) != len(shape):
            raise StoreError(f"{name} has the shape {item.shape}, not {len(shape)} axes")
        for length, length_wanted in zip(item.shape, shape, strict=True):
            if length_wanted not in (None, length):
                raise StoreError(f"{name} has the shape {item.shape}, which does not fit the rest")
    # a file could claim any number of rows without values
    if not item.size and item.shape[0]:
        raise StoreError(f"{name} has the shape {item.shape}, which holds nothing")
    return item


def _linked(file: Any, name: str) -> Any:
    """Return an object of this name that is in the file itself."""
    import h5py

    item = file
    for part in name.split("/"):
        if not isinstance(item, h5py.Group) or not item.id.links.exists(part.encode()):
            raise StoreError(f"there is no {name}")
        if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise StoreError(f"{name} is a link to another object, which is not followed")
        item = item[part]
    return item


def _check_values(item: Any, name: str, holds: str) -> None:
    """Refuse an object that is not a dataset, or has values of another kind, in other files, or that unpack to more."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise StoreError(f"{name} is not a dataset with values")
    if item.is_virtual or item.external:
        raise StoreError(f"the values of {name} are in other files, which are not read")
    if item.dtype.kind not in _KINDS[holds] or (
        holds == "text" and h5py.check_string_dtype(item.dtype) is None
    ):
        kind = "text or objects" if item.dtype.kind in "OSU" else item.dtype
        raise StoreError(f"{name} holds {kind}, not {holds}")
    check_storage(item, name)


def check_tree(path: Path) -> None:
    """Check all of an untrusted HDF5 file, before another package, such as Keras, reads any part of it.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        The file cannot be opened, is too large, or contains a link to another place, or a dataset that is not numeric
        or that `checked_dataset` would refuse. The message names the file.
    """
    import h5py

    names = []

    def note(name: str, _: Any) -> bool | None:
        names.append(name)
        return len(names) > limits.HDF5_OBJECTS or None

    with open_for_reading(path) as file, reading(path, kind=StoreError):
        if file.visititems_links(note):
            raise StoreError(f"holds more than {limits.HDF5_OBJECTS:,} objects")
        size = 0
        for name in names:
            item = _linked(file, name)
            if not isinstance(item, h5py.Group):
                _check_values(item, name[:200], "numbers")
                size += item.size * item.dtype.itemsize
        if size > limits.HDF5_BYTES:
            raise StoreError(f"holds more than {limits.HDF5_BYTES // 1024**3} GiB")


def check_storage(dataset: Any, name: str) -> None:
    """Refuse a dataset that claims many more values than are stored, has unknown filters, or has too large chunks."""
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    for number in filters:
        if number not in _FILTERS:
            raise StoreError(
                f"{name} is packed with filter {number}; only {', '.join(_FILTERS.values())} are read"
            )
    bytes_of_value = dataset.dtype.itemsize
    if dataset.chunks is not None:
        bytes_of_chunk = math.prod(dataset.chunks) * bytes_of_value
        if bytes_of_chunk > limits.HDF5_CHUNK_BYTES:
            raise StoreError(
                f"{name} has chunks of more than {limits.HDF5_CHUNK_BYTES // 1024**2} MiB"
            )
    claimed = dataset.size * bytes_of_value
    stored = dataset.id.get_storage_size()
    limit = stored
    if filters:
        limit *= limits.HDF5_EXPANSION
    if dataset.dtype.kind == "O":
        limit += limits.HDF5_ABSENT_BYTES
    if claimed > limit:
        raise StoreError(f"{name} claims {claimed:,} bytes, of which {stored:,} are stored")


_SECONDS = 5
_BYTES_A_SECOND = 50_000_000
"""The process may use this many seconds of CPU time, plus one second per this many bytes of the files."""

_AT_ONCE = 16 * 1024**2
"""Number of bytes of a dataset that are read at once."""


def refuse_deadly(paths: Sequence[Path]) -> None:
    """Refuse files on which the HDF5 library crashes or does not come to an end.

    Parameters
    ----------
    paths : sequence of Path
        Files; missing ones are ignored, and those of NumPy, which HDF5 does not read.

    Raises
    ------
    StoreError
        The process that read them first was ended; the message names the file that it read.
    """
    files = [path for path in paths if path.is_file() and path.suffix.casefold() != ".npz"]
    if not files:
        return
    seconds = _SECONDS + sum(path.stat().st_size for path in files) // _BYTES_A_SECOND
    script = f"import json, sys; from {__package__}.hdf5 import visit; visit(*json.load(sys.stdin))"
    folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # noqa: PTH100
    process = None
    with contextlib.suppress(OSError):  # if the system starts no process, files are not read first
        # runs only this Python with the script above
        process = subprocess.run(  # nosec B603
            [sys.executable, "-P", "-c", script],
            input=json.dumps([[*map(str, files)], seconds]),
            capture_output=True,
            text=True,
            check=False,
            # it computes nothing, and threads may be limited (ulimit -u)
            env={**os.environ, "PYTHONPATH": folders, "OPENBLAS_NUM_THREADS": "1"},
        )
    if process is None or process.returncode >= 0:
        return
    number = -process.returncode
    if number in (signal.SIGKILL, signal.SIGINT):  # by the system or the user, not by the file
        raise MemoryError(
            f"{files[0]}: the process that looks at it first was ended by signal {number}"
        )
    last = files[min(len(process.stdout.splitlines()), len(files) - 1)]
    raise StoreError(
        f"{last}: HDF5 is ended by signal {number} when it reads it: damaged, or more than the memory "
        "holds; make it again or copy it again"
    )


def visit(files: Sequence[str], seconds: int) -> None:
    """Read all datasets of files and print a line after each file. `refuse_deadly` runs this in a separate process."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has these limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (limits.HDF5_PROBE_BYTES, limits.HDF5_PROBE_BYTES))
    for name in files:
        with contextlib.suppress(*DAMAGE), open_for_reading(Path(name)) as file:
            _read("", file)
            file.visititems(_read)
        sys.stdout.write("read\n")
        sys.stdout.flush()


def _read(name: str, item: Any) -> None:
    """Read the attributes of a group or a dataset, and its values if they are in the file and fit its size."""
    import h5py

    # by number: if their names cannot be listed, readers still ask for one of them
    for number in range(h5py.h5a.get_num_attrs(item.id)):
        with contextlib.suppress(*DAMAGE):
            item.attrs[h5py.h5a.open(item.id, index=number).name]
    with contextlib.suppress(*DAMAGE):
        if not hasattr(item, "dtype") or item.is_virtual or item.external:
            return
        check_storage(item, name)
        if not item.shape:
            item[()]
            return
        rows = item.shape[0]
        step = max(1, _AT_ONCE * rows // max(1, item.dtype.itemsize * item.size))
        for start in range(0, rows, step):
            item[start : start + step]
