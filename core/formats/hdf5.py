"""Untrusted HDF5 files: what they may hold, and a process that reads them first.

Only a crash or a hang of this process counts. It ignores other errors, because the reader of the file will report them
with better messages.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import DAMAGE, StoreError
from . import limits

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_LOCKING = (None, False, True, "best-effort")
"""HDF5 lock modes, in the order in which they are tried. A file that is already open in this process can only be
opened again in the same mode; ``None`` is the mode of ``h5py.File(path)``. ``False`` works without locks, which fail on
some network file systems. It is safe because a finished feature file never changes in place."""

_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES)

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Filters that are built into h5py. For any other filter, HDF5 would load a plug-in of this machine."""


_KINDS = {"text": "O", "bytes": "S", "float": "f", "whole": "iu", "truth": "b", "number": "iuf", "numbers": "iufbS"}
"""Kind of the values in a dataset, as `checked_dataset` names it, to kinds of NumPy dtypes."""


def open_for_reading(path: Path) -> tuple[Any, bool]:
    """Open an HDF5 file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    file : h5py.File
        Shares its state with other open handles of the same file in this process.
    busy : bool
        Whether another process has the file open for writing, so that its content may be incomplete.

    Raises
    ------
    StoreError
        The file is missing, a folder, not readable, empty, not HDF5, truncated, or open elsewhere in a way that cannot
        be shared.
    """
    import h5py

    if (trouble := hdf5_trouble(path)) is not None:
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
    """Return the reason why a file is not a readable HDF5 file; None if its first bytes are those of HDF5."""
    try:
        if path.is_dir():
            return "a folder, not an HDF5 file; name a file in it"
        if path.exists() and not path.is_file():  # opening a pipe would block
            return "not a regular file, but a pipe or a device"
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
    if start == _SIGNATURE:
        return None
    import h5py

    # the signature may come later in the file, after a user block
    return None if h5py.is_hdf5(path) else "not an HDF5 file"


def hdf5_reason(messages: Sequence[str]) -> str:
    """Translate HDF5's messages for a file that cannot be opened into a cause and a fix."""
    for message in messages:
        if (sizes := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", message)) is not None:
            return f"truncated, {sizes[1]} of {sizes[2]} bytes are there; download it again, or make it again"
    inner = re.sub(r"^Unable to (?:synchronously )?open file \((.*)\)$", r"\1", messages[0].splitlines()[0])
    if any(word in inner for word in ("already open", "flag values don't match", "flag not the same")):
        return f"open in this program already, in a way that cannot be shared ({inner}); close it first"
    return f"HDF5 cannot open it ({inner}): damaged, or written by a newer HDF5; download it again"


def checked_dataset(file: Any, name: str, *, holds: str, shape: Sequence[int | None] | None = None) -> Any:
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
    import h5py

    item: Any = file
    for part in name.split("/"):
        link = _link(item, part)
        if link is None:
            raise StoreError(f"there is no {name}")
        if link is not h5py.HardLink:
            raise StoreError(f"{name} is a link to another object, which is not followed")
        item = item[part]
    _check_values(item, name, holds)
    wanted = (None,) * len(item.shape) if shape is None else shape
    if len(item.shape) != len(wanted):
        raise StoreError(f"{name} has the shape {item.shape}, not {len(wanted)} axes")
    if any(want is not None and want != have for have, want in zip(item.shape, wanted, strict=True)):
        raise StoreError(f"{name} has the shape {item.shape}, which does not fit the rest")
    if not item.size and item.shape[0]:  # rows without values: a file could claim any number of them
        raise StoreError(f"{name} has the shape {item.shape}, which holds nothing")
    return item


def _check_values(item: Any, name: str, holds: str) -> None:
    """Refuse what is no dataset, or has values of another kind, or in other files, or that unpack to far more."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise StoreError(f"{name} is not a dataset with values")
    if item.is_virtual or item.external:
        raise StoreError(f"the values of {name} are in other files, which are not read")
    if item.dtype.kind not in _KINDS[holds] or (holds == "text" and h5py.check_string_dtype(item.dtype) is None):
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
        The file cannot be opened, is too large, contains a link to another place or a group within itself, or contains
        a dataset that is not numeric or that `checked_dataset` would refuse. The message names the file.
    """
    file, _ = open_for_reading(path)
    with file:
        try:
            _check_tree(file)
        except DAMAGE as error:
            raise StoreError(f"{path}: {(str(error).splitlines() or ['damaged'])[0][:200]}") from error


def _check_tree(file: Any) -> None:
    import h5py

    addresses, unpacked, groups = {h5py.h5o.get_info(file.id).addr}, 0, [file]
    while groups:
        group = groups.pop()
        for part in group:
            name = f"{group.name.rstrip('/')}/{part}"[1:200]
            if _link(group, part) is not h5py.HardLink:
                raise StoreError(f"{name} is a link to another object, which is not followed")
            item = group[part]
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses or len(addresses) > limits.HDF5_OBJECTS:
                raise StoreError(f"{name} is in it twice, or it holds more than {limits.HDF5_OBJECTS:,} objects")
            addresses.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
                continue
            _check_values(item, name, "numbers")
            unpacked += item.size * item.dtype.itemsize
            if unpacked > limits.HDF5_BYTES:
                raise StoreError(f"holds more than {limits.HDF5_BYTES // 1024**3} GiB")


def _link(group: Any, name: str) -> Any:
    """Return the h5py class of a link; None if there is no such link, and `object` if its kind is unknown."""
    import h5py

    if not isinstance(group, h5py.Group) or not group.id.links.exists(name.encode()):
        return None
    try:
        return group.get(name, getclass=True, getlink=True)
    except TypeError:  # a user-defined kind of link
        return object


def check_storage(dataset: Any, name: str) -> None:
    """Refuse a dataset that claims many more values than are stored, has unknown filters, or has too large chunks."""
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if strange := [number for number in filters if number not in _FILTERS]:
        raise StoreError(f"{name} is packed with filter {strange[0]}; only {', '.join(_FILTERS.values())} are read")
    if dataset.chunks is not None and math.prod(dataset.chunks) * dataset.dtype.itemsize > limits.HDF5_CHUNK_BYTES:
        raise StoreError(f"{name} has chunks of more than {limits.HDF5_CHUNK_BYTES // 1024**2} MiB")
    claimed, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if claimed > stored * (limits.HDF5_EXPANSION if filters else 1) + (
        limits.HDF5_ABSENT_BYTES if dataset.dtype.kind == "O" else 0
    ):
        raise StoreError(f"{name} claims {claimed:,} bytes, of which {stored:,} are stored")


_log = logging.getLogger(__name__)

_SECONDS, _BYTES_A_SECOND = 5, 50_000_000
"""The process may use this many seconds of CPU time, plus one second per this many bytes of the files."""

_PATIENCE = 20
"""Limit of the wall-clock time, as a multiple of the CPU time. A file may come over a slow network."""

_AT_ONCE = 16 * 1024**2
"""Number of bytes of a dataset that are read at once."""


def refuse_deadly(paths: Sequence[Path]) -> None:
    """Refuse files on which the HDF5 library crashes or hangs.

    Parameters
    ----------
    paths : sequence of Path
        Files; missing ones are ignored.

    Raises
    ------
    StoreError
        HDF5 crashes or hangs on a file; the message names the first one.
    MemoryError
        The process was killed, such as for lack of memory.
    """
    files = [path for path in paths if path.is_file()]
    if not files:
        return
    seconds = _SECONDS + sum(path.stat().st_size for path in files) // _BYTES_A_SECOND
    script = f"import json, sys; from {__package__}.hdf5 import visit; visit(*json.load(sys.stdin))"
    folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # noqa: PTH100
    try:
        # runs only this Python with the script above
        done = subprocess.run(  # nosec B603
            [sys.executable, "-P", "-c", script],
            input=json.dumps([[str(path.absolute()) for path in files], seconds]),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds * _PATIENCE,
            # it computes nothing, and threads may be limited (ulimit -u)
            env={**os.environ, "PYTHONPATH": folders, "OPENBLAS_NUM_THREADS": "1"},
        )
        code, output = done.returncode, done.stdout
    except OSError as error:
        _log.debug("no process for a first look at %s: %s", files[0], error)
        return
    except subprocess.TimeoutExpired as error:
        code, output = -signal.SIGXCPU, (error.stdout or b"").decode()
    if -code in (signal.SIGKILL, signal.SIGINT):  # not HDF5, but lack of memory, or a failed start of a library
        raise MemoryError(f"{files[0]}: the process that looks at it first was ended by signal {-code}")
    if code < 0:
        last = files[min(len(output.splitlines()), len(files) - 1)]
        ending = "does not come to an end" if -code == signal.SIGXCPU else f"is ended by signal {-code}"
        raise StoreError(f"{last}: damaged, HDF5 {ending} when it reads it; make it again or copy it again")


def visit(files: Sequence[str], seconds: int) -> None:
    """Read all datasets of files and print a line after each file. `refuse_deadly` runs this in a separate process."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has these limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (limits.HDF5_PROBE_BYTES, limits.HDF5_PROBE_BYTES))
    for name in files:
        with contextlib.suppress(*DAMAGE), open_for_reading(Path(name))[0] as file:
            _read("", file)
            file.visititems(_read)
        sys.stdout.write("read\n")
        sys.stdout.flush()


def _read(name: str, item: Any) -> None:
    """Read the attributes of a group or a dataset, and its values if they are in the file and fit its size."""
    for key in item.attrs:
        with contextlib.suppress(*DAMAGE):
            item.attrs[key]
    with contextlib.suppress(*DAMAGE):
        if hasattr(item, "dtype") and not item.is_virtual and not item.external:
            check_storage(item, name)
            rows = item.shape[0] if item.shape else 1
            step = max(1, _AT_ONCE * rows // max(1, item.dtype.itemsize * item.size))
            for start in range(0, rows, step):
                item[slice(start, start + step) if item.shape else ()]
