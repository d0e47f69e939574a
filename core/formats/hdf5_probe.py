"""Read untrusted HDF5 files in a separate process first, because damaged files can crash or hang the HDF5 library.

Only a crash or a hang of this process counts. It ignores other errors, because the reader of the file will report them
with better messages.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import DAMAGE, StoreError
from . import limits
from .hdf5 import check_storage, open_for_reading

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
    script = (
        "import json, sys; given = json.loads(sys.stdin.read()); sys.path[:] = given['path']; "
        f"from {__package__}.hdf5_probe import visit; visit(given['files'], given['seconds'])"
    )
    given = {
        "path": [os.path.abspath(folder) for folder in sys.path],  # noqa: PTH100
        "files": [str(path.absolute()) for path in files],
        "seconds": seconds,
    }
    try:
        # runs only this Python with the script above
        done = subprocess.run(  # nosec B603
            [sys.executable, "-c", script],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds * _PATIENCE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it computes nothing; threads may be limited (ulimit -u)
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
