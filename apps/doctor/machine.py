"""Checks of memory and the folder for results."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...core import Message
from ...core.jobs import default_jobs
from .check import Check

_GB = 1 << 30

_PROCESS_GB = 2.0
"""Memory of a process with the largest published network in dense mode and TensorFlow, see docs/performance.md."""

_DISK_GB = 1.0
"""Required disk space; feature files with the published settings for 400 images need a third of it."""

_SHM_GB = 1 / 16
"""Shared memory that joblib may use for its workers; containers often have no more."""


def check_memory() -> Iterator[Check]:
    """Compare the memory that this process may use with the need of one process per core."""
    limit, source = _memory_limit()
    cores = default_jobs()
    text = f"{limit / _GB:.1f} GB {source}, {cores} cores"
    fitting = int(limit / _GB / _PROCESS_GB)
    if fitting >= cores:
        yield Check("memory", "ok", text)
    elif fitting:
        yield Check("memory", "warning", f"{text}: {cores} processes may need {_PROCESS_GB * cores:.0f} GB",
                    Message("{jobs:{}}", fitting))  # fmt: skip
    else:
        yield Check("memory", "failure", f"{text}: one process may need {_PROCESS_GB:.0f} GB",
                    Message("more memory, or {encoders:mobilenetv2} and {jobs:1}"))  # fmt: skip


def _memory_limit() -> tuple[int, str]:
    """Return the number of bytes that this process may use, and what limits it."""
    limits = [(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "of memory")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append((int(Path(file).read_text(encoding="ascii")), "by the limit of the job or container"))
        except (OSError, ValueError):  # the file does not exist, or contains "max"
            continue
    if hasattr(os, "sched_getaffinity"):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append((soft, "by ulimit -v"))
    return min(limits)


def check_folder(folder: Path) -> Iterator[Check]:
    """Check that files can be written, flushed and renamed in the folder for results, and that there is space.

    Parameters
    ----------
    folder : Path
        Folder of a run. If it does not exist yet, its nearest existing parent is checked.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".bchisto-doctor-") as scratch:
            first, second = Path(scratch, "first"), Path(scratch, "second")
            for path, content in ((second, b"before"), (first, b"after")):
                with path.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            first.replace(second)
            renamed = second.read_bytes() == b"after" and not first.exists()
            yield from _free_space(Path(scratch))
    except OSError as error:
        reason = error.strerror or error
        yield Check("folder", "failure", f"files cannot be written and renamed in {existing}: {reason}",
                    Message("give another {out}"))  # fmt: skip
        return
    if renamed:
        yield Check("folder", "ok", f"files are written, flushed and renamed in {existing}")
    else:
        yield Check(
            "folder", "failure", f"a file renamed in {existing} keeps its old content", Message("give another {out}")
        )


def _free_space(folder: Path) -> Iterator[Check]:
    """Check the free space for results, for temporary files, and in shared memory."""
    temporary, shared = Path(tempfile.gettempdir()), Path("/dev/shm")  # nosec B108 - only its free space is read
    for name, path, least, remedy in (
        ("disk", folder, _DISK_GB, Message("make room, or give another {out}")),
        ("temporary files", temporary, _DISK_GB / 4, "export TMPDIR=DIR of a larger disk"),
        ("shared memory", shared, _SHM_GB, "export JOBLIB_TEMP_FOLDER=/tmp, or give the container more"),
    ):
        if path.is_dir():
            free = shutil.disk_usage(path).free / _GB
            enough = free >= least
            yield Check(name, "ok" if enough else "warning", f"{free:.1f} GB free", "" if enough else remedy)
