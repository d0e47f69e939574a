"""Checks of Python, packages, memory and the folder for results."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ...core import counted, how_to_install, system_reason
from ...core.jobs import default_jobs, write_json
from .check import Check, Status

if TYPE_CHECKING:
    from packaging.requirements import Requirement

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
    text = f"{limit / _GB:.1f} GB {source}, {counted(cores, 'core')}"
    fitting = int(limit / _GB / _PROCESS_GB)
    if fitting >= cores:
        yield Check("memory", "ok", text)
        return
    text += f": a process may need {_PROCESS_GB:.0f} GB"
    if fitting:
        yield Check("memory", "warning", text, f"bchisto featurize --jobs {fitting}")
    else:
        remedy = "more memory, or `bchisto featurize --encoder mobilenetv2 --jobs 1`"
        yield Check("memory", "failure", text, remedy)


def _memory_limit() -> tuple[int, str]:
    """Return the number of bytes that this process may use, and what limits it."""
    limits = [(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "of memory")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        # the file may not exist, or contain "max"
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path(file).read_text(encoding="ascii"))
            limits.append((limit, "by the limit of the job or container"))
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
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".bchisto-doctor-") as scratch:
            write_json(Path(scratch, "file"), "content")
    except OSError as error:
        reason = system_reason(error)
        yield Check(
            "folder",
            "failure",
            f"files cannot be written and renamed in {parent}: {reason}",
            "give another folder",
        )
        return
    yield Check("folder", "ok", f"files are written, flushed and renamed in {parent}")
    yield from _free_space(parent)


def _free_space(folder: Path) -> Iterator[Check]:
    """Check the free space for results, for temporary files, and in shared memory."""
    shared = Path("/dev/shm")  # nosec B108 - only its free space is read
    more = "mount /dev/shm"
    if shared.is_dir():
        more = "export JOBLIB_TEMP_FOLDER=/tmp, or give the container more"
    for name, path, least, remedy in (
        ("disk", folder, _DISK_GB, "make room, or give another folder"),
        (
            "temporary files",
            Path(tempfile.gettempdir()),
            _DISK_GB / 4,
            "export TMPDIR=DIR of a larger disk",
        ),
        ("shared memory", shared, _SHM_GB, more),
    ):
        if not path.is_dir() and platform.system() != "Linux":
            continue
        free = shutil.disk_usage(path).free / _GB if path.is_dir() else 0.0
        text = f"{free:.1f} GB free"
        if free >= least:
            yield Check(name, "ok", text)
        else:
            yield Check(name, "warning", text, remedy)


_NEWEST = (3, 13)
"""Newest version of Python with which the tests were run; pip installs bchisto only on those from 3.11 on."""

_EXTRAS = ("onnx", "torch", "jax", "dask", "excel", "serve", "slides", "staintools")
"""The optional parts that docs/install.md lists."""

_NETWORKS = ("keras", "tensorflow")
"""Packages that the check of the backend loads."""

_OPENCV = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "opencv-python-headless",
)


def check_python() -> Iterator[Check]:
    """Check the version of Python, the system, and how names of files are read."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        yield Check(
            "locale", "warning", f"file names beyond {encoding} are refused", "export PYTHONUTF8=1"
        )
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() == "Linux" and sys.version_info[:2] <= _NEWEST:
        yield Check("Python", "ok", text)
    else:
        yield Check(
            "Python",
            "warning",
            f"{text}: not tried",
            f"use Linux, and Python up to {_NEWEST[0]}.{_NEWEST[1]}",
        )


def check_packages() -> Iterator[Check]:
    """Compare the installed packages with the requirements in bchisto's metadata, and load them as commands do."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        lines = metadata.requires("bchisto") or []
    except metadata.PackageNotFoundError:
        yield Check(
            "packages",
            "warning",
            "bchisto is not installed, only on the path",
            "pip install -e DIR",
        )
        return
    requirements = [Requirement(line) for line in lines]
    modules = {
        module: {canonicalize_name(package) for package in packages}
        for module, packages in metadata.packages_distributions().items()
        if not module.startswith("_")
    }
    for extra in ("", *_EXTRAS):
        needs = [need for need in requirements if _is_of(need, extra)]
        yield from _check_needs(needs, extra, modules)


def _check_needs(
    needs: Sequence[Requirement], extra: str, modules: Mapping[str, Set[str]]
) -> Iterator[Check]:
    """Check the packages that bchisto, or an extra of it, needs: their versions, and whether each loads.

    Parameters
    ----------
    needs : sequence of Requirement
    extra : str
        Empty for what every command needs.
    modules : mapping of str to set of str
        Modules to the canonical names of the packages that have them.
    """
    from packaging.utils import canonicalize_name

    name = f"extra {extra}" if extra else "packages"
    status: Status = "warning" if extra else "failure"
    misfits = [need for need in needs if not _is_met(need)]
    if extra and None in [_version(need.name) for need in misfits]:
        yield Check(name, "note", "not installed", how_to_install(extra))
        return
    troubles: list[tuple[str, str]] = []
    if misfits:
        troubles.append(_misfit(misfits))
    by_name = {str(canonicalize_name(need.name)): need for need in needs if need not in misfits}
    troubles += _broken(by_name, modules)
    for trouble, remedy in troubles:
        yield Check(name, status, trouble, remedy)
    if not troubles:
        yield Check(name, "ok", ", ".join(f"{need.name} {_version(need.name)}" for need in needs))


def _misfit(needs: Sequence[Requirement]) -> tuple[str, str]:
    """Return which versions of packages are installed and needed, and the command that installs the needed ones."""
    versions = [f"{need.name} {_version(need.name) or 'is missing'}" for need in needs]
    specs = [f"{need.name}{need.specifier}" for need in needs]
    text = f"{', '.join(versions)}; needs {', '.join(specs)}"
    return text, shlex.join(["pip", "install", *specs])


def _broken(
    met: Mapping[str, Requirement], modules: Mapping[str, Set[str]]
) -> Iterator[tuple[str, str]]:
    """Yield why an installed module does not load, and the remedy; `check_backend` loads Keras and TensorFlow."""
    for module, packages in modules.items():
        for package in packages & met.keys() - {*_NETWORKS}:
            reason = _trouble(module)
            if reason:
                yield f"{module} does not load: {reason}", _fix(met[package], reason)


def _is_met(need: Requirement) -> bool:
    """Return whether a package is installed in a version that fits."""
    version = _version(need.name)
    return version is not None and need.specifier.contains(version, prereleases=True)


def click_trouble(error: Exception) -> str:
    """Return the error line for a click package with which no command starts: its version, the needed one, the fix."""
    # its files may be damaged
    remedy = how_to_install("click").replace("install", "install --force-reinstall", 1)
    return f"error: click {_version('click') or 'is missing'}; needs {shlex.split(remedy)[-1]} ({error}): {remedy}"


def _is_of(need: Requirement, extra: str) -> bool:
    """Return whether bchisto (or an extra of it, if one is named) requires a package on this machine."""
    if need.marker is None:
        return not extra
    if extra and need.marker.evaluate({"extra": ""}):
        return False
    return need.marker.evaluate({"extra": extra})


def _trouble(module: str) -> str:
    """Return why a module cannot be loaded; empty if it can."""
    # libraries are loaded without their telemetry, as when they compute
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken binary may raise anything
        return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:200]
    return ""


def _fix(need: Requirement, reason: str) -> str:
    """Return what to do about a package that does not load for this reason."""
    if need.name.startswith("opencv"):
        return _opencv_fix()
    library = re.search(r"\b(lib[\w+-]+)\.so\S*: ", reason)
    spec = f"{need.name}{need.specifier}"
    owner = re.search(r"(?:site|dist)-packages/(\w+)/\S*\.so\S*: ", reason)
    if owner is not None:
        # the library belongs to another package, as that of openslide-bin
        (spec,) = metadata.packages_distributions().get(owner[1], [spec])[:1]
    elif library is not None:
        remedy = f"install the system's library {library[1]}"
        if library[1] == "libgomp":
            remedy += " (Debian: apt-get install libgomp1)"
        return remedy
    return shlex.join(["pip", "install", "--force-reinstall", "--no-deps", spec])


def check_opencv() -> Iterator[Check]:
    """Check that only one OpenCV package is installed, since all of them install the same files."""
    names = list(filter(_version, _OPENCV))
    if len(names) > 1:
        yield Check(
            "OpenCV",
            "warning",
            f"{' and '.join(names)} overwrite each other's files",
            _opencv_fix(),
        )


def _opencv_fix() -> str:
    rivals = [name for name in filter(_version, _OPENCV) if name != "opencv-python-headless"]
    remedy = "pip install --force-reinstall --no-deps opencv-python-headless"
    if rivals:
        remedy = f"pip uninstall -y {' '.join(rivals)} && {remedy}"
    return remedy


def _version(name: str) -> str | None:
    """Return the installed version of a distribution; None if it is missing or its metadata is damaged."""
    try:
        return metadata.version(name) or None
    except metadata.PackageNotFoundError:
        return None
