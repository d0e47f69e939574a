"""Embeddings as NPZ, read without pickle."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..jobs import DAMAGE, atomic_output
from .embeddings import Embeddings, reason

MOST_BYTES = 8 * 1024**3
"""Bound on what embeddings unpack to (ours): a million of 2,048 numbers."""

_FEATURES = ("features", "embeddings", "X")
_IDS = ("image_id", "image_ids", "slide_id", "slide_ids", "ids", "filenames")
_LABELS, _GROUPS, _ABOUT = ("label", "labels"), ("group", "groups"), ("bchisto",)
"""Names that an array may have; the first that is there is taken."""


def read_npz(path: Path) -> Embeddings:
    """Read ``features`` (or ``embeddings``, ``X``), ``image_id`` (or ``ids``, ``filenames``, ...), labels and groups.

    Raises
    ------
    InputError
        Damaged, too large, without features or ids, arrays of Python objects, or see `Embeddings.of`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if sum(names.values()) > MOST_BYTES:
            raise InputError(f"{path}: unpacks to more than {MOST_BYTES // 1024**3} GiB; split it")
        with np.load(path, allow_pickle=False) as file:
            arrays = {wanted[0]: _array(path, file, wanted) for wanted in (_FEATURES, _IDS, _LABELS, _GROUPS, _ABOUT)}
    except DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an NPZ file, or damaged ({reason(error)})") from error
    features, ids = arrays[_FEATURES[0]], arrays[_IDS[0]]
    for wanted, found in ((_FEATURES, features), (_IDS, ids)):
        if found is None:
            raise InputError(f"{path}: holds no array {wanted[0]} (or {', '.join(wanted[1:])}); it has {sorted(names)}")
    about = arrays[_ABOUT[0]]
    return Embeddings.of(
        path,
        _column(path, ids, _IDS[0]),
        features,
        labels=None if arrays["label"] is None else _column(path, arrays["label"], "label"),
        groups=None if arrays["group"] is None else _column(path, arrays["group"], "group"),
        facts=None if about is None else read_facts(path, str(about)),
    )


def _array(path: Path, file: Any, names: tuple[str, ...]) -> Any:
    """Return the first array of these names that is there."""
    for name in names:
        if name in file.files:
            try:
                return file[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise InputError(
                    f"{path}: {name} holds Python objects, which only pickle reads; save it as plain numbers or text, "
                    "for example np.array(ids, dtype=str)"
                ) from error
    return None


def _column(path: Path, values: npt.NDArray[Any], name: str) -> list[Any]:
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        raise InputError(f"{path}: {name} is {values.dtype} of shape {values.shape}; it must be one text per image")
    found: list[Any] = values.tolist()
    return found


def read_facts(path: Path, text: str) -> dict[str, Any]:
    """Read what an export of ours says of its embeddings.

    Raises
    ------
    InputError
        It is no mapping as JSON.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: what it says of itself (bchisto) is damaged") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: what it says of itself (bchisto) is damaged")
    return found


def write_npz(path: Path, found: Embeddings) -> None:
    """Write embeddings; equal ones give equal bytes."""
    buffer = io.BytesIO()
    features = found.features if found.features.shape[1] > 1 else found.features[:, 0]
    np.savez(
        buffer,
        allow_pickle=False,
        features=features,
        image_id=np.array(found.image_ids, dtype=np.str_),
        label=np.array(found.labels, dtype=np.str_),
        group=np.array(found.groups, dtype=np.str_),
        bchisto=np.array(json.dumps(dict(found.facts), sort_keys=True)),
    )
    with atomic_output(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
