"""Zip archives whose manifest contains the checksum of every member: model files, their manifest, and arrays.

Files contain no date, so equal models give equal bytes. They are read without pickle, and every shape is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import (
    DAMAGE,
    BundleError,
    Content,
    Entries,
    InputError,
    MissingInputError,
    first_line,
    printable,
    readable_name,
)
from ..formats import Array, fits, limits, mistaken, open_zip, parse_json
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


BUNDLE_KIND = "bchisto model bundle"

MANIFEST = "manifest.json"


def check_archive_size(*, members: int, size: int = 0) -> None:
    """Check that planned models will fit in one model file, before they are trained.

    Parameters
    ----------
    members : int
        Number of members besides the manifest.
    size : int
        Their unpacked size in bytes, as far as known.

    Raises
    ------
    InputError
        There are more members or bytes than `Archive` reads.
    """
    if members + 1 > limits.ARCHIVE_MEMBERS or size > limits.ARCHIVE_BYTES:
        text = "{:,} models are more than a model file can hold; use fewer {folds} or {seeds}, fewer feature files, or "
        raise InputError(text + "smaller models", members)


class Archive(contextlib.AbstractContextManager["Archive"]):
    """An archive that is open for reading.

    Every problem raises a `BundleError` that names the file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    manifest : dict
        The content of ``manifest.json``, of which only kind and members are checked.

    Raises
    ------
    MissingInputError
        There is no such file.
    BundleError
        It is not a zip, of another kind, or too large, or its members are not those of its manifest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise MissingInputError(f"{path}: no such model file; give one, or the folder of a run")
        try:
            limit = max(limits.ARCHIVE_SMALL, limits.ARCHIVE_RATIO * path.stat().st_size)
            limit = min(limits.ARCHIVE_BYTES, limit)
            self._zip = open_zip(path, members=limits.ARCHIVE_MEMBERS, size=limit)
            self.manifest = self._check()
        except BundleError:
            raise
        except DAMAGE as error:
            trouble = mistaken(path, "a model file of bchisto")
            if trouble is None:
                raise self.damaged(error) from error
            raise BundleError(trouble) from error

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(self.manifest["members"])

    def size(self, name: str) -> int:
        """Return the unpacked size of a member in bytes, as the zip directory states it."""
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """Return the content of a member after checking it against the checksum in the manifest.

        Raises
        ------
        BundleError
            The checksum differs, or the member cannot be unpacked.
        """
        try:
            data = self._zip.read(name)
        except DAMAGE as error:
            raise self.damaged(error) from error
        if hashlib.sha256(data).hexdigest() != self.manifest["members"][name]:
            raise BundleError(
                f"{self._path}: {name} does not match its hash; the model file is damaged or was altered"
            )
        return data

    def damaged(self, error: Exception) -> BundleError:
        """Return a `BundleError` for content that cannot be read."""
        reason = first_line(error)[:200]
        return BundleError(
            f"{self._path}: not a bchisto model file, or damaged ({reason}); copy or train it again"
        )

    def _check(self) -> Content:
        """Check the members of the archive, and return its manifest."""
        names = self._zip.namelist()
        info = self._zip.getinfo(MANIFEST)
        if info.file_size > limits.MANIFEST_BYTES:
            raise BundleError(
                f"{self._path}: its manifest is larger than one can be; it is not read"
            )
        manifest: Content = parse_json(self._zip.read(MANIFEST), most=limits.MANIFEST_VALUES)
        if manifest.get("kind") != BUNDLE_KIND:
            raise ValueError("its manifest is of another kind")
        if sorted(names) != sorted((MANIFEST, *manifest["members"])):
            raise BundleError(
                f"{self._path}: its members are not those of its manifest; it was altered"
            )
        return manifest


def check_manifest(path: Path, manifest: Entries) -> None:
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
    forms = {
        "models": ("boosted", "cnn"),
        "members": lambda value: isinstance(value, dict) and all(map(_is_hash, value.values())),
        "classes": _are_classes,
        "protocol": str,
        "banners": [{"kind": str, "text": str, "about": str, "values": dict}],
        "calibration": {"temperature": lambda value: _is_number(value, *_TEMPERATURES)},
        "two_class": lambda view: _is_view(view, manifest["classes"]),
        "training": {"images": _is_count, "sha256": [_is_hash]},
        "unsure": {
            "unit": ("group", "image"),
            "below": _is_share,
            "share": _is_share,
            "calibrated": bool,
            "sure": _are_counts,
            "unsure": _are_counts,
        },
        "shares": lambda shares: shares is None or _are_shares(shares, manifest["classes"]),
        "looks": [
            {
                "class": lambda name: name in manifest["classes"],
                "what": str,
                "least": _is_number,
                "most": _is_number,
            }
        ],
    }
    for name, form in forms.items():
        is_unknown = name in _UNKNOWN and manifest.get(name, 0) is None
        if not is_unknown and not fits(manifest.get(name), form):
            raise BundleError(
                f"{path}: the {name} of its manifest does not fit; the model file is corrupt"
            )


def _are_counts(value: Any) -> bool:
    """Whether a value has the number of images on one side of a rule, and how many of them are right."""
    form = {"n": _is_count, "right": _is_count, "interval": _is_interval}
    return fits(value, form) and value["right"] <= value["n"] > 0


def _are_shares(value: Any, classes: Sequence[str]) -> bool:
    """Whether a value has a share of each class."""
    return fits(value, [_is_share]) and len(value) == len(classes)


def _is_view(value: Any, classes: Sequence[str]) -> bool:
    """Whether a value is a two-class view: some of the classes, and at least one point of operation."""
    target = {"sensitivity": _is_share, "threshold": _is_number}
    form = {"positive": [str], "rule": _RULES, "thresholds": [_is_number], "wanted": [target]}
    if not fits(value, form):
        return False
    has_point = bool(value["thresholds"] or value["wanted"])
    return has_point and set() < set(value["positive"]) < set(classes)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    try:
        is_real = (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # an integer too large for a float
        return False
    return is_real and least <= value <= most


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
        # arrays are stored uncompressed, so together they cannot be larger than the file
        open_zip(io.BytesIO(data), members=limits.MODEL_ARRAYS, size=len(data)).close()
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except DAMAGE as error:
        reason = first_line(error)[:120]
        raise BundleError(f"not a complete model of arrays ({reason}); train it again") from error
    if arrays.keys() != shapes.keys():
        names = printable(", ".join(sorted(arrays))[:120])
        raise BundleError(f"a model holds the arrays {names}; train it again")
    dimensions: dict[str, int] = {}
    for name, expected in shapes.items():
        array = arrays[name]
        lengths = []
        for dimension, length in zip(expected, array.shape, strict=False):
            if isinstance(dimension, str):
                dimension = dimensions.setdefault(dimension, length)
            lengths.append(dimension)
        if len(expected) != array.ndim or lengths != [*array.shape]:
            raise BundleError(
                f"the array {name} of a model has the shape {array.shape}; train it again"
            )
        if not _holds_numbers(array, largest):
            raise BundleError(
                f"the array {name} of a model holds values that are not finite numbers, or far too large"
            )
    return arrays


def _holds_numbers(array: Array, largest: float) -> bool:
    """Whether all values are finite numbers up to a size."""
    if array.dtype.kind not in "fi" or array.dtype.itemsize > 8:
        return False
    if array.size == 0:
        return True
    return -largest <= float(array.min()) <= float(array.max()) <= largest
