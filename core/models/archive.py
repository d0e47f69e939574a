"""The checked manifest of a model file, and its arrays.

Files contain no date, so equal models give equal bytes. They are read without pickle, and every shape is checked.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import DAMAGE, BundleError, printable, readable_name
from ..formats import check_zip, limits
from ..jobs import save_arrays

BUNDLE_SCHEMA = 4
"""The newest schema version of a model file that can be read."""

_TEMPERATURES = (1e-3, 1e3)
"""Smallest and largest permitted temperature, far beyond the range in which temperatures are fitted."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_RULES = ("sum", "max")
"""How a model file may join the probabilities of several positive classes."""

_UNKNOWN = ("calibration", "two_class", "training", "unsure")
"""Entries that may be null, which means unknown."""


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Check the manifest of a model file.

    Parameters
    ----------
    path : Path
        The model file, for messages.
    manifest : mapping

    Raises
    ------
    BundleError
        An entry is missing, of the wrong type, out of range, or contradicts another entry, or the schema is newer.
    """
    version: Any = manifest.get("schema_version")
    if not _is_count(version) or version == 0:
        raise BundleError(f"{path}: its manifest has no schema version; the model file is corrupt")
    if version > BUNDLE_SCHEMA:
        writer = printable(str(manifest.get("bchisto_version"))[:20])
        raise BundleError(
            f"{path}: written by bchisto {writer}, newer than this; install bchisto {writer} or later"
        )
    side = {"n": _is_count, "right": _is_count, "interval": _is_interval}
    wanted = {"sensitivity": _is_share, "threshold": _is_number}
    view = {"positive": [str], "rule": _RULES, "thresholds": [_is_number], "wanted": [wanted]}
    rule = {
        "unit": ("group", "image"),
        "below": _is_share,
        "share": _is_share,
        "calibrated": bool,
        **dict.fromkeys(
            ("sure", "unsure"),
            lambda counts: fits(counts, side) and counts["right"] <= counts["n"] > 0,
        ),
    }
    forms: dict[str, Any] = {
        "models": ("boosted", "cnn"),
        "members": lambda members: (
            isinstance(members, dict) and all(map(_is_hash, members.values()))
        ),
        "classes": _are_classes,
        "protocol": str,
        "banners": [str],
        "calibration": {"temperature": lambda value: _is_number(value, *_TEMPERATURES)},
        "two_class": lambda value: (
            fits(value, view)
            and set() < set(value["positive"]) < set(manifest["classes"])
            and bool(value["thresholds"] or value["wanted"])
        ),
        "training": {"images": _is_count, "sha256": [_is_hash]},
        "unsure": rule,
    }
    for name, form in forms.items():
        if not (
            fits(manifest.get(name), form) or (name in _UNKNOWN and manifest.get(name, 0) is None)
        ):
            raise BundleError(
                f"{path}: the {name} of its manifest does not fit; the model file is corrupt"
            )


def fits(value: Any, form: Any) -> bool:
    """Whether a value has a form: a type, a function, a tuple of choices, a list of one form, or a dict of forms."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(
            fits(value.get(name), inner) for name, inner in form.items()
        )
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, type):
        return isinstance(value, form)
    return bool(form(value)) if callable(form) else value in form


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # an integer too large for a float
        return False
    return real and least <= value <= most


def _is_share(value: Any) -> bool:
    return _is_number(value, 0, 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _is_interval(value: Any) -> bool:
    return value is None or (
        fits(value, [lambda end: _is_number(end, -0.01, 1.01)]) and len(value) == 2
    )


def _are_classes(value: Any) -> bool:
    """Whether values can be the names of classes in a table: different texts, not blank, without null characters."""
    return (
        fits(value, [str])
        and 2 <= len(value) <= limits.MODEL_CLASSES
        and len(set(value)) == len(value)
        and all(name.strip() and "\0" not in name and readable_name(name) == name for name in value)
    )


Array = npt.NDArray[Any]


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as the bytes of an NPZ file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    save_arrays(buffer, {name: np.asarray(array, order="C") for name, array in arrays.items()})
    return buffer.getvalue()


def unpack_arrays(
    data: bytes, shapes: Mapping[str, Sequence[str | int]], *, largest: float = limits.MODEL_VALUE
) -> dict[str, Array]:
    """Read arrays and check their names, shapes and values.

    Parameters
    ----------
    data : bytes
        Result of `pack_arrays`.
    shapes : mapping
        Name of each array to its dimensions. A dimension is a number or a letter; a letter means the same number in
        all arrays.
    largest : float
        Largest permitted absolute value.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    BundleError
        The data are damaged or too large, the arrays have other names or shapes, or values are not finite.
    """
    try:
        check_zip(io.BytesIO(data), members=limits.MODEL_ARRAYS)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # arrays are stored uncompressed, so together they cannot be larger than the file
            if sum(info.file_size for info in archive.infolist()) > len(data):
                raise BundleError(
                    "the arrays of a model unpack to more than a model can hold; it is not read"
                )
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if set(file.files) != set(shapes):
                names = printable(", ".join(sorted(file.files))[:120])
                raise BundleError(f"a model holds the arrays {names}; train it again")
            arrays = {name: np.asarray(file[name]) for name in shapes}
    except DAMAGE as error:
        if isinstance(error, BundleError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BundleError(f"not a complete model of arrays ({reason}); train it again") from error
    dimensions: dict[str, int] = {}
    for name, expected in shapes.items():
        array = arrays[name]
        sizes = [
            dimensions.setdefault(e, n) if isinstance(e, str) else e
            for e, n in zip(expected, array.shape, strict=False)
        ]
        if len(expected) != array.ndim or sizes != list(array.shape):
            raise BundleError(
                f"the array {name} of a model has the shape {array.shape}; train it again"
            )
        numbers = array.dtype.kind in "fi" and array.dtype.itemsize <= 8
        if not numbers or (
            array.size and not -largest <= float(array.min()) <= float(array.max()) <= largest
        ):
            raise BundleError(
                f"the array {name} of a model holds values that are not finite numbers, or far too large"
            )
    return arrays
