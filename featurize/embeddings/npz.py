"""NPZ files of embeddings, which are also the form of exports."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...core import InputError, few
from ...core.formats import (
    FEATURES,
    GROUP,
    IMAGE,
    LABEL,
    choose_column,
    limits,
    may_hold_patients,
    open_zip,
    parse_json,
    reading,
)
from ...core.jobs import atomic_output, save_arrays
from .table import COLUMNS, Embeddings

_log = logging.getLogger(__name__)

_FACTS = "bchisto"
"""Name of the array with what is known about embeddings, as JSON."""


def write_npz(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings, with ids, labels, groups and facts about the encoder."""
    rows = embeddings.features
    if rows.shape[1] == 1:  # without the axis of augmentations, as other programs take them
        rows = rows[:, 0]
    cells = (embeddings.image_ids, embeddings.labels, embeddings.groups)
    columns = dict(zip(COLUMNS, cells, strict=True))
    arrays = {
        "features": rows,
        **{name: np.array(column, dtype=np.str_) for name, column in columns.items()},
        _FACTS: np.array(json.dumps(dict(embeddings.facts), sort_keys=True)),
    }
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, arrays)


def read_npz(path: Path) -> Embeddings:
    """Read features, ids, labels and groups from an NPZ file; `bchisto.core.formats.columns` lists the names of arrays.

    Raises
    ------
    InputError
        The file is damaged, too large, without features or ids, or has Python objects; or see `Embeddings.of`.
    """
    with reading(
        path, "not an NPZ file of plain numbers and text, or damaged ({}); write it again"
    ):
        _refuse_endless(path)
        with np.load(path, allow_pickle=False) as file:
            features = choose_column(file.files, FEATURES, where=path, values=lambda _: ())
            if features is None:
                raise InputError(
                    f"{path}: has no array features (or embeddings, X); it has {sorted(file.files)[:10]}; name "
                    "embeddings so, or save images in it as PNG files for bchisto featurize"
                )
            columns = _read_columns(path, file, features)
            facts = {}
            if _FACTS in file.files:
                facts = dict(parse_json(str(file[_FACTS]), most=1_000_000))
            return Embeddings.of(path, file[features], columns, facts)


def _refuse_endless(path: Path) -> None:
    """Refuse an archive of too many arrays, or of more bytes than embeddings may have."""
    with open_zip(path, members=limits.EMBEDDING_ARRAYS) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > limits.EMBEDDING_BYTES:
        raise InputError(
            f"{path}: unpacks to more than {limits.EMBEDDING_BYTES // 1024**3} GiB; split it"
        )


def _read_columns(path: Path, file: Any, features: str) -> dict[str, list[str]]:
    """Return the cells of the arrays that hold ids, labels and groups."""
    columns = {}
    unread = [name for name in file.files if name not in (features, _FACTS)]
    for role in (IMAGE, LABEL, GROUP):
        name = choose_column(unread, role, where=path, values=lambda name: _column(file, name))
        if name is not None:
            columns[role.name] = _column(file, name)
            unread.remove(name)
            if not role.is_plain(name):
                _log.info("%s: the %s is taken from %s", path, role.means, name)
        elif role is IMAGE:
            raise InputError(
                f"{path}: has no {role.name} (or ids, slide_id, filenames); it has {few([features, *unread])}; "
                "name the rows: numpy.savez(FILE, features=array, image_id=names)"
            )
    names = may_hold_patients(unread)
    if names and GROUP.name not in columns:
        _log.warning(
            "%s: %s may hold the patients, and is not used; if it does, rename it to group",
            path,
            names[0],
        )
    return columns


def _column(file: Any, name: str) -> list[str]:
    """Return the cells of an array as text; whole numbers too, and NaN as missing."""
    values = file[name]
    kind = values.dtype.kind
    # pandas makes floats of whole numbers if one is missing
    whole_numbers = kind == "f" and bool(np.all(np.isnan(values) | (values == np.round(values))))
    if values.ndim != 1 or not (kind in "USiub" or whole_numbers):
        raise InputError(
            f"{name} is {values.dtype} of shape {values.shape}; it must be one text per image"
        )
    if kind == "S":
        return [value.decode("utf-8", errors="replace") for value in values.tolist()]
    if kind == "f":
        return ["" if math.isnan(value) else str(int(value)) for value in values.tolist()]
    return [str(value) for value in values.tolist()]
