"""Checks of Python, the packages that bchisto needs, and its extras."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module, metadata

from ...core import how_to_install
from .check import Check

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
