"""Files of embeddings: NPZ, which is also the form of exports, and the HDF5 files of slides of other programs.

TRIDENT and CLAM write one file per slide, named after it: ``features`` float32 (tiles, d) and ``coords`` (tiles, 2).
bchisto treats a slide as one image, and its embedding is the mean over its tiles. TRIDENT's slide encoders write
``features`` of shape (d,). Its newer releases name the network in the attribute ``encoder`` of ``features``. STAMP
names the dataset ``feats``, and the network in the attribute ``extractor`` of the file.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import (
    DAMAGE,
    InputError,
    MissingInputError,
    OutputError,
    PathInput,
    StoreError,
    converted,
    counted,
    few,
)
from ..core.formats import (
    FEATURES,
    GROUP,
    IMAGE,
    LABEL,
    check_zip,
    checked_dataset,
    choose_column,
    limits,
    may_hold_patients,
    mistaken,
    open_for_reading,
    parse_json,
    reading,
    refuse_deadly,
)
from ..core.jobs import atomic_output, ensure_folder, refuse_overwriting, save_arrays
from .embeddings import COLUMNS, Embeddings, facts_of
from .store import open_store

_log = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5")

_AT_ONCE = 4096  # tiles read into memory at a time

_FEATURES = ("features", "feats")
"""Names of the dataset with the embeddings of a slide."""

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
        if not (files := _slide_files(path)):
            how = (
                _PICKLED
                if any(path.glob("*.pt"))
                else "give a .npz or .h5 file, or pictures as images"
            )
            raise MissingInputError(
                f"{path}: no embeddings (*.h5, a file for each slide) in this folder; {how}"
            )
        return _read_slides(path, files)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file or folder of embeddings")
    if path.suffix.casefold() == ".npz":
        return _read_npz(path)
    if path.suffix.casefold() not in _HDF5:
        how = "numpy.savez(FILE, features=array, image_id=names) writes one (docs/embeddings.md)"
        no_file = f"{path}: embeddings are read from .npz and .h5 files; {how}"
        raise InputError(mistaken(path, "a file of embeddings (.npz, .h5)") or no_file)
    refuse_deadly([path])
    if not _is_store(path):
        return _read_slides(path, [path])
    with open_store(path) as store:
        columns = dict(zip(COLUMNS, (store.image_ids, store.labels, store.groups), strict=True))
        return Embeddings.of(path, store.features(), columns, facts_of(store.header))


def _slide_files(folder: Path) -> list[Path]:
    """Return the ``.h5`` files of a folder, or of its subfolder ``h5_files``, where CLAM puts them."""
    return sorted(folder.glob("*.h5")) or sorted(folder.glob("h5_files/*.h5"))


def files_of(sources: Sequence[Path]) -> list[Path]:
    """Return all files that `read_embeddings` would read from the sources."""
    return [file for path in sources for file in (_slide_files(path) if path.is_dir() else [path])]


def is_foreign(path: Path) -> bool:
    """Return whether a source contains embeddings of another program, and not feature files."""
    if path.is_dir():
        files = _slide_files(path)
        return bool(files) and not any(path.glob("*.parts")) and not any(map(_is_store, files))
    return path.is_file() and (path.suffix.casefold() not in _HDF5 or not _is_store(path))


def _is_store(path: Path) -> bool:
    """Return whether an HDF5 file is a feature file: anything that is not recognised as a slide."""
    try:
        with open_for_reading(path) as file:
            return "kind" in file.attrs or set(_FEATURES).isdisjoint(file.keys())
    except DAMAGE:
        return True  # opening it later reports the reason


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


def _read_slides(path: Path, files: Sequence[Path]) -> Embeddings:
    """Read slides, each from a file of its name.

    Raises
    ------
    InputError, StoreError
        Slides are of different lengths or encoders; or a file is damaged, or not that of a slide.
    """
    refuse_deadly(files)
    slides: dict[str, tuple[npt.NDArray[np.float32], int, str]] = {}
    empty: list[str] = []  # as TRIDENT writes for slides without tissue
    for source in files:
        with open_for_reading(source) as file, reading(source):
            if (slide := _slide(file)) is None:
                empty.append(source.stem)
            else:
                slides[source.stem] = slide
    if empty:
        _log.warning(
            "%s: %d of %d slides hold no tile and are left out: %s",
            path,
            len(empty),
            len(files),
            few(empty),
        )
    if not slides:
        raise InputError(f"{path}: no slide in it holds a tile")
    kinds = {
        f"{encoder or 'unnamed'}, {len(row)} numbers": name
        for name, (row, _, encoder) in slides.items()
    }
    if len(kinds) > 1:
        kinds_of_slides = few([f"{name} ({kind})" for kind, name in kinds.items()])
        raise InputError(f"{path}: slides of several encoders: {kinds_of_slides}")
    tiles = sorted({count for _, count, _ in slides.values() if count})
    span = (
        f"{tiles[0]} to {tiles[-1]} tiles"
        if len(tiles) > 1
        else "".join(counted(count, "tile") for count in tiles)
    )
    facts = {"encoder": next(iter(slides.values()))[2], "pooled": f"mean of {span}" if span else ""}
    return Embeddings.of(
        path, np.stack([row for row, _, _ in slides.values()]), {"image_id": list(slides)}, facts
    )


def _slide(file: Any) -> tuple[npt.NDArray[np.float32], int, str] | None:
    """Return the embedding of a slide, its number of tiles (0: the file has one for the slide), and its encoder.

    None if it has no tile.
    """
    name = next((name for name in _FEATURES if name in file.keys()), None)  # noqa: SIM118 - keys() follows no link
    if name is None:
        raise InputError(
            "not the embeddings of one slide, as the other files of its folder; take it out"
        )
    features = checked_dataset(file, name, holds="float")
    if features.size * features.dtype.itemsize > limits.EMBEDDING_BYTES:
        raise StoreError(f"features take more than {limits.EMBEDDING_BYTES // 1024**3} GiB")
    named = (
        _attribute(features, "encoder")
        or _attribute(file, "encoder")
        or _attribute(file, "extractor")
    )
    encoder, shape = "" if named == "None" else named, features.shape
    if len(shape) == 1:
        return features[:].astype(np.float32), 0, encoder
    if len(shape) != 2 and (len(shape) != 3 or shape[0] != 1):
        raise InputError(
            f"features have the shape {shape}; those of a slide are (tiles, d), (1, tiles, d) or (d,)"
        )
    if "coords" not in file and shape[-2] > 1:
        raise InputError(
            f"features of shape {shape} come without coords, so nobody knows what a row is; save rows of images by "
            "numpy.savez(FILE, features=array, image_id=names), and name feature files of bchisto one by one"
        )
    if (tiles := int(shape[-2])) == 0:
        return None
    total = np.zeros(shape[-1])
    for start in range(0, tiles, _AT_ONCE):
        at = np.s_[start : start + _AT_ONCE]
        total += (
            (features[at] if len(shape) == 2 else features[0, at]).astype(np.float64).sum(axis=0)
        )
    return (total / tiles).astype(np.float32), tiles, encoder


def _attribute(holder: Any, name: str) -> str:
    """Return an attribute that is text; otherwise an empty text."""
    value = holder.attrs.get(name, "")
    value = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    return value if isinstance(value, str) else ""
