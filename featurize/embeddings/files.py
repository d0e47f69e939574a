"""Files of embeddings: NPZ, which is also the form of exports, and the HDF5 files of slides of other programs."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core import (
    InputError,
    MissingInputError,
    OutputError,
    PathInput,
    converted,
    few,
)
from ...core.formats import (
    FEATURES,
    GROUP,
    IMAGE,
    LABEL,
    check_zip,
    choose_column,
    limits,
    may_hold_patients,
    mistaken,
    parse_json,
    reading,
    refuse_deadly,
)
from ...core.jobs import atomic_output, ensure_folder, refuse_overwriting, save_arrays
from ..store import open_store
from .facts import facts_of
from .slides import is_store, read_slides, slide_files
from .table import COLUMNS, Embeddings

_log = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5")

_PICKLED = ".pt and .pkl run code when they are read; docs/embeddings.md shows how to convert them"


def read_embeddings(path: PathInput) -> Embeddings:
    """Read embeddings of another program, or a feature file.

    Parameters
    ----------
    path : str or Path
        A ``.npz`` file, a feature file of bchisto, the ``.h5`` file of a slide, or a folder with one for each slide, as
        TRIDENT and CLAM write them.

    Returns
    -------
    Embeddings

    Raises
    ------
    InputError, StoreError
        The file is missing, damaged or of another format; or see `Embeddings.of`.
    """
    path = Path(converted(path, "path", Path))
    if path.is_dir():
        if not (files := slide_files(path)):
            how = (
                _PICKLED
                if any(path.glob("*.pt"))
                else "give a .npz or .h5 file, or pictures as images"
            )
            raise MissingInputError(
                f"{path}: no embeddings (*.h5, a file for each slide) in this folder; {how}"
            )
        return read_slides(path, files)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file or folder of embeddings")
    if path.suffix.casefold() == ".npz":
        return _read_npz(path)
    if path.suffix.casefold() not in _HDF5:
        how = "numpy.savez(FILE, features=array, image_id=names) writes one (docs/embeddings.md)"
        no_file = f"{path}: embeddings are read from .npz and .h5 files; {how}"
        raise InputError(mistaken(path, "a file of embeddings (.npz, .h5)") or no_file)
    refuse_deadly([path])
    if not is_store(path):
        return read_slides(path, [path])
    with open_store(path) as store:
        columns = dict(zip(COLUMNS, (store.image_ids, store.labels, store.groups), strict=True))
        return Embeddings.of(path, store.features(), columns, facts_of(store.header))


def files_of(sources: Sequence[Path]) -> list[Path]:
    """Return all files that `read_embeddings` would read from the sources."""
    return [file for path in sources for file in (slide_files(path) if path.is_dir() else [path])]


def is_foreign(path: Path) -> bool:
    """Return whether a source contains embeddings of another program, and not feature files."""
    if path.is_dir():
        files = slide_files(path)
        return bool(files) and not any(path.glob("*.parts")) and not any(map(is_store, files))
    return path.is_file() and (path.suffix.casefold() not in _HDF5 or not is_store(path))


def export_features(source: PathInput, out: PathInput, *, overwrite: bool = False) -> Embeddings:
    """Write the features of a feature file, or embeddings of any format, to an ``.npz`` file.

    Parameters
    ----------
    source : str or Path
        See `read_embeddings`.
    out : str or Path
        File to write; the name ends in ``.npz``. Equal embeddings give equal bytes.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Embeddings
        The written embeddings, with ids, labels, groups, and facts about the encoder.

    Raises
    ------
    OutputError
        The file exists already.
    InputError
        The name has another suffix; or see `read_embeddings`.
    """
    path, given = Path(converted(out, "out", Path)), Path(converted(source, "source", Path))
    if path.suffix.casefold() != ".npz":
        raise InputError("{out} {}: choose a name that ends in .npz", path)
    if path.exists() and not overwrite:
        raise OutputError("{}: exists already; use {overwrite} or another {out}", path)
    refuse_overwriting([path], files_of([given]))
    embeddings = read_embeddings(given)
    ensure_folder(path.parent)
    rows, columns = (
        embeddings.features,
        (embeddings.image_ids, embeddings.labels, embeddings.groups),
    )
    arrays = {
        "features": rows if rows.shape[1] > 1 else rows[:, 0],
        **{
            name: np.array(column, dtype=np.str_)
            for name, column in zip(COLUMNS, columns, strict=True)
        },
        "bchisto": np.array(json.dumps(dict(embeddings.facts), sort_keys=True)),
    }
    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        save_arrays(handle, arrays)
    return embeddings


def _read_npz(path: Path) -> Embeddings:
    """Read features, ids, labels and groups from an NPZ file; `bchisto.core.formats.columns` lists the names of arrays.

    Raises
    ------
    InputError
        The file is damaged, too large, without features or ids, or has Python objects; or see `Embeddings.of`.
    """
    with reading(
        path, "not an NPZ file of plain numbers and text, or damaged ({}); write it again"
    ):
        check_zip(path, members=limits.EMBEDDING_ARRAYS)
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > limits.EMBEDDING_BYTES:
            raise InputError(
                f"{path}: unpacks to more than {limits.EMBEDDING_BYTES // 1024**3} GiB; split it"
            )
        with np.load(path, allow_pickle=False) as file:
            features = choose_column(file.files, FEATURES, where=path, values=lambda _: ())
            if features is None:
                raise InputError(
                    f"{path}: has no array features (or embeddings, X); it has {sorted(file.files)[:10]}; name "
                    "embeddings so, or save images in it as PNG files for bchisto featurize"
                )
            chosen: dict[str, list[str]] = {}
            unread = [name for name in file.files if name not in (features, "bchisto")]
            for role in (IMAGE, LABEL, GROUP):
                name = choose_column(
                    unread, role, where=path, values=lambda name: _column(file, name)
                )
                if name is not None:
                    chosen[role.name] = _column(file, name)
                    unread.remove(name)
                    if not role.is_plain(name):
                        _log.info("%s: the %s is taken from %s", path, role.means, name)
                elif role is IMAGE:
                    raise InputError(
                        f"{path}: has no {role.name} (or ids, slide_id, filenames); it has {few([features, *unread])}; "
                        "name the rows: numpy.savez(FILE, features=array, image_id=names)"
                    )
            facts = (
                parse_json(str(file["bchisto"]), most=1_000_000) if "bchisto" in file.files else {}
            )
            if GROUP.name not in chosen and (may := may_hold_patients(unread)):
                _log.warning(
                    "%s: %s may hold the patients, and is not used; if it does, rename it to group",
                    path,
                    may[0],
                )
            return Embeddings.of(path, file[features], chosen, dict(facts))


def _column(file: Any, name: str) -> list[str]:
    """Return the cells of an array as text; whole numbers too, and NaN as missing."""
    values = file[name]
    whole = values.dtype.kind == "f" and bool(
        np.all(np.isnan(values) | (values == np.round(values)))
    )
    if values.ndim != 1 or not (values.dtype.kind in "USiub" or whole):
        raise InputError(
            f"{name} is {values.dtype} of shape {values.shape}; it must be one text per image"
        )
    if values.dtype.kind == "S":
        return [value.decode("utf-8", errors="replace") for value in values.tolist()]
    return [
        "" if value != value else str(int(value) if whole else value) for value in values.tolist()
    ]
