"""The archive of a model file, its checked manifest, and its arrays.

Files contain no date, so equal models give equal bytes. They are read without pickle, and every shape is checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from .. import DAMAGE, BchistoError, BundleError, OutputError, printable, readable_name
from ..formats import Archive, check_archive_size, check_zip, limits
from ..jobs import atomic_output, save_arrays

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
        An entry is missing, of the wrong type, out of range, or contradicts another entry.
    """
    side = {"n": _is_count, "right": _is_count, "interval": _is_interval}
    wanted = {"sensitivity": _is_share, "threshold": _is_number}
    view = {"positive": [str], "rule": _RULES, "thresholds": [_is_number], "wanted": [wanted]}
    forms: dict[str, tuple[Any, str]] = {
        "models": (("boosted", "cnn"), "boosted or cnn"),
        "members": (
            lambda members: isinstance(members, dict) and all(map(_is_hash, members.values())),
            "members with a hash each",
        ),
        "classes": (_are_classes, f"2 to {limits.MODEL_CLASSES:,} different names"),
        "protocol": (str, "a text"),
        "banners": ([str], "texts"),
        "calibration": (
            {"temperature": lambda value: _is_number(value, *_TEMPERATURES)},
            f"a temperature from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:,.0f}",
        ),
        "two_class": (
            lambda value: _fits(value, view)
            and set() < set(value["positive"]) < set(manifest["classes"])
            and bool(value["thresholds"] or value["wanted"]),
            "positive classes with thresholds",
        ),
        "training": ({"images": _is_count, "sha256": [_is_hash]}, "a number of images and hashes of them"),
        "unsure": (
            {
                "unit": ("group", "image"), "below": _is_share, "share": _is_share,
                "calibrated": bool,
                "sure": lambda counts: _fits(counts, side) and counts["right"] <= counts["n"] > 0,
                "unsure": lambda counts: _fits(counts, side) and counts["right"] <= counts["n"] > 0,
            },
            "a confidence with the counts on both sides of it",
        ),
    }  # fmt: skip
    for name, (form, expected) in forms.items():
        if name not in manifest:
            raise BundleError(f"{path}: its manifest has no {name}; the model file is corrupt")
        if not (_fits(manifest[name], form) or (manifest[name] is None and name in _UNKNOWN)):
            raise BundleError(f"{path}: its manifest does not hold {expected} as {name}; the model file is corrupt")


def _fits(value: Any, form: Any) -> bool:
    """Whether a value has a form: a type, a function, a tuple of choices, a list of one form, or a dict of forms."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(_fits(value.get(name), inner) for name, inner in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(item, form[0]) for item in value)
    if isinstance(form, type):
        return isinstance(value, form)
    return bool(form(value)) if callable(form) else value in form


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
    return real and least <= value <= most


def _is_share(value: Any) -> bool:
    return _is_number(value, 0, 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _is_interval(value: Any) -> bool:
    return value is None or (_fits(value, [lambda end: _is_number(end, -0.01, 1.01)]) and len(value) == 2)


def _are_classes(value: Any) -> bool:
    """Whether values can be the names of classes in a table: different texts, not blank, without null characters."""
    return (
        _fits(value, [str])
        and 2 <= len(value) <= limits.MODEL_CLASSES
        and len(set(value)) == len(value)
        and all(name.strip() and "\0" not in name and readable_name(name) == name for name in value)
    )


_MANIFEST = "manifest.json"

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member, so that equal content gives equal archives."""


def write_archive(
    path: Path,
    *,
    kind: str,
    schema_version: int,
    members: Iterable[tuple[str, Callable[[], bytes]]],
    facts: Mapping[str, Any],
    check: Callable[[Archive], object],
) -> None:
    """Write an archive, and move it into place only after it was read back successfully.

    Parameters
    ----------
    path : Path
    kind : str
        Kind of the archive, stored in its manifest.
    schema_version : int
        Schema version of `facts` and the members.
    members : iterable of (name, callable)
        Each callable returns the bytes of its member. Only one member at a time is in memory.
    facts : mapping
        Further entries of the manifest.
    check : callable
        Called with the archive open for reading. It raises an error if the archive is invalid.

    Raises
    ------
    InputError
        There are more members than can be read, or they are too large.
    OutputError
        The archive cannot be written or cannot be read back.
    """
    chosen = list(members)
    check_archive_size(members=len(chosen))
    hashes: dict[str, str] = {}
    size = 0
    with atomic_output(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, read in chosen:
                data = read()
                size += len(data)
                check_archive_size(members=len(chosen), size=size)
                hashes[name] = hashlib.sha256(data).hexdigest()
                archive.writestr(_info(name), data)
            head = {"kind": kind, "schema_version": schema_version, "bchisto_version": __version__}
            archive.writestr(
                _info(_MANIFEST), json.dumps({**head, **facts, "members": hashes}, indent=2, ensure_ascii=False)
            )
        unreadable: tuple[type[Exception], ...] = (BchistoError, *DAMAGE)
        try:
            with Archive(temporary, kind=kind, schema_version=schema_version) as written:
                for name in written.members:
                    written.read(name)
                check(written)
        except unreadable as error:
            reason = str(error).replace(str(temporary), "it")
            raise OutputError(f"{path}: not written, since it could not be read back ({reason})") from error


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    # network weights take long to compress and hardly become smaller
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".h5") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


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
                raise BundleError("the arrays of a model unpack to more than a model can hold; it is not read")
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
            raise BundleError(f"the array {name} of a model has the shape {array.shape}; train it again")
        if array.dtype.kind not in "fi" or array.dtype.itemsize > 8 or not np.isfinite(array).all():
            raise BundleError(f"the array {name} of a model holds values that are not finite numbers; train it again")
        if array.size and max(-float(array.min()), float(array.max())) > largest:
            raise BundleError(f"the array {name} of a model holds values that are far too large; train it again")
    return arrays
