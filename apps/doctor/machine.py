"""Checks of Python, packages, memory and the folder for results."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

from ...core import Message, how_to_install
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


_TRIED = ((3, 11), (3, 13))
"""Oldest and newest version of Python with which the tests were run."""

_EXTRAS = {
    "openvino": ("openvino", "networks on Intel CPUs in half of the time"),
    "onnx": ("onnxruntime", "encoders as ONNX files"),
    "torch": ("torch", "encoders of transformers and timm"),
    "jax": ("jax", "networks by JAX"),
    "dask": ("distributed", "work on a Dask cluster"),
    "excel": ("openpyxl", "workbooks (.xlsx)"),
    "serve": ("fastapi", "the web page"),
    "staintools": ("staintools", "StainTools' own normalisers"),
}
"""Extra to a module that it installs, and its purpose."""

_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python-headless")


def check_python() -> Iterator[Check]:
    """Check the version of Python and the system."""
    version, system = sys.version_info[:2], platform.system()
    text = f"{platform.python_version()} on {system} {platform.machine()}"
    if system != "Linux":
        yield Check("Python", "warning", f"{text}: bchisto was tried on Linux only", "use Linux, or WSL on Windows")
    elif not _TRIED[0] <= version <= _TRIED[1]:
        tried = " to ".join(".".join(map(str, bound)) for bound in _TRIED)
        yield Check("Python", "warning", f"{text}: bchisto was tried with {tried}", f"make a venv with Python {tried}")
    else:
        yield Check("Python", "ok", text)


def check_packages() -> Iterator[Check]:
    """Compare the installed packages with the requirements in bchisto's metadata."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("bchisto") or []
    except metadata.PackageNotFoundError:
        yield Check("packages", "warning", "bchisto is not installed, only on the path", "pip install -e DIR")
        return
    needed = [Requirement(line) for line in lines]
    wrong = []
    for need in needed:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        version = _version(need.name)
        if version is None or not need.specifier.contains(version, prereleases=True):
            wrong.append((f"{need.name} {version or 'is missing'}", f"{need.name}{need.specifier}"))
    if wrong:
        found, wanted = zip(*wrong, strict=True)
        yield Check(
            "packages", "failure", f"{', '.join(found)}; needs {', '.join(wanted)}",
            shlex.join(["pip", "install", *wanted]),
        )  # fmt: skip
    else:
        yield Check("packages", "ok", f"all {sum('extra ==' not in line for line in lines)} have a version that works")


def check_opencv() -> Iterator[Check]:
    """Check that only one OpenCV package is installed, since all of them install the same files."""
    installed = [name for name in _OPENCV if _version(name)]
    try:
        import cv2
    except Exception as error:  # noqa: BLE001 - a broken binary may raise anything
        yield Check("OpenCV", "failure", f"does not load: {_first_line(error)}", _opencv_fix(installed))
        return
    if len(installed) > 1:
        yield Check(
            "OpenCV", "warning", f"{' and '.join(installed)} overwrite each other's files", _opencv_fix(installed)
        )
    else:
        yield Check("OpenCV", "ok", f"{cv2.__version__} ({', '.join(installed) or 'not from PyPI'})")


def _opencv_fix(installed: list[str]) -> str:
    others = " ".join(name for name in installed if name != "opencv-python-headless")
    removed = f"pip uninstall -y {others} && " if others else ""
    return f"{removed}pip install --force-reinstall --no-deps opencv-python-headless"


def check_extras() -> Iterator[Check]:
    """Check that the installed extras can be loaded, and note those that are not installed, with their purpose."""
    for extra, (module, purpose) in _EXTRAS.items():
        name = f"extra {extra}"
        try:
            loaded = import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                yield Check(name, "warning", f"does not load: {error}", how_to_install(extra))
            else:
                yield Check(name, "note", f"not installed; for {purpose}", how_to_install(extra))
        except Exception as error:  # noqa: BLE001 - as above
            yield Check(name, "warning", f"does not load: {_first_line(error)}", how_to_install(extra))
        else:
            yield Check(name, "ok", f"{module} {getattr(loaded, '__version__', '')}".strip())


def _version(name: str) -> str | None:
    """Return the installed version of a distribution; None if it is missing or its metadata is damaged."""
    try:
        return metadata.version(name) or None
    except metadata.PackageNotFoundError:
        return None


def _first_line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:200]
