"""Files of embeddings of any format: NPZ files, which are also the form of exports, feature files, and slides.

TRIDENT and CLAM write one HDF5 file per slide, named after it: ``features`` float32 (tiles, d) and ``coords``
(tiles, 2). bchisto treats a slide as one image, and pools its tiles, by their mean unless another `TilePool` is chosen.
TRIDENT's slide encoders write ``features`` of shape (d,). Its newer releases name the network in the attribute
``encoder`` of ``features``. STAMP names the dataset ``feats``, and the network in the attribute ``extractor`` of the
file.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import (
    DAMAGE,
    InputError,
    MissingInputError,
    OutputError,
    PathInput,
    StoreError,
    converted,
    few,
)
from ...core.formats import (
    FEATURES,
    GROUP,
    IMAGE,
    LABEL,
    Array,
    Floats32,
    checked_dataset,
    choose_column,
    limits,
    may_hold_patients,
    mistaken,
    open_for_reading,
    open_zip,
    parse_json,
    reading,
    refuse_deadly,
)
from ...core.jobs import atomic_output, ensure_folder, refuse_overwriting, save_arrays
from ..store import open_store
from .facts import header_facts
from .pools import MEAN, TilePool, pool_fields, pool_named
from .table import COLUMNS, Embeddings

_log = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5")

_PICKLED = ".pt and .pkl run code when they are read; docs/encoders.md shows how to convert them"


def read_embeddings(
    path: PathInput, *, by: str | None = None, pool: str | None = None
) -> Embeddings:
    """Read embeddings of another program, or a feature file.

    Parameters
    ----------
    path : str or Path
        A ``.npz`` file, a feature file of bchisto, the ``.h5`` file of a slide, or a folder with one for each slide, as
        TRIDENT and CLAM write them.
    by : str, optional
        A column of the manifest of a feature file's images, such as ``wsi``: the images with the same value become one
        row.
    pool : {"mean", "3-norm", "mean-sd", "top-tenth"}, optional
        How images with the same value of `by`, or tiles of a slide, become one row; the mean by default.

    Returns
    -------
    Embeddings

    Raises
    ------
    InputError, StoreError
        The file is missing, damaged or of another format; `by` or `pool` does not go with it; or see `Embeddings.of`.
    """
    path = converted(path, "path", Path)
    refuse_deadly(files_of([path]))
    return read_probed(path, by, pool)


def read_probed(path: Path, by: str | None = None, pool: str | None = None) -> Embeddings:
    """Read embeddings as `read_embeddings` does, from files that `refuse_deadly` has read."""
    pooling = pool_named(pool or MEAN.name)
    if by is not None:
        if is_foreign(path):
            raise InputError(
                f"{path}: not a feature file of bchisto, whose images have a column {by}"
            )
        return pool_fields(path, by, pooling)
    if path.is_dir():
        files = _slide_files(path)
        if not files:
            remedy = "give a .npz or .h5 file, or pictures as images"
            if any(path.glob("*.pt")):
                remedy = _PICKLED
            raise MissingInputError(
                f"{path}: no embeddings (*.h5, a file for each slide) in this folder; {remedy}"
            )
        if all(map(_is_store, files)):
            raise InputError(
                f"{path}: a folder of feature files; give one of them, such as {files[0]}"
            )
        return read_slides(path, files, pooling)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file or folder of embeddings")
    if path.suffix.casefold() == ".npz":
        _refuse_pool(path, pool)
        return read_npz(path)
    if path.suffix.casefold() not in _HDF5:
        remedy = "numpy.savez(FILE, features=array, image_id=names) writes one (docs/encoders.md)"
        no_file = f"{path}: embeddings are read from .npz and .h5 files; {remedy}"
        raise InputError(mistaken(path, "a file of embeddings (.npz, .h5)") or no_file)
    if not _is_store(path):
        return read_slides(path, [path], pooling)
    _refuse_pool(path, pool)
    with open_store(path) as store:
        columns = {"image_id": store.image_ids, "label": store.labels, "group": store.groups}
        return Embeddings.of(path, store.features(), columns, header_facts(store.header))


def _refuse_pool(path: Path, pool: str | None) -> None:
    """Refuse to pool the rows of a file that does not tell which rows belong to one slide."""
    if pool is not None:
        text = "{pool} {}: {} has a row for each image; {by} names their slides in a feature file"
        raise InputError(text, pool, path)


def _slide_files(folder: Path) -> list[Path]:
    """Return the ``.h5`` files of a folder, or of its subfolder ``h5_files``, where CLAM puts them."""
    return sorted(folder.glob("*.h5")) or sorted(folder.glob("h5_files/*.h5"))


def files_of(sources: Sequence[Path]) -> list[Path]:
    """Return all files that `read_embeddings` would read from the sources."""
    files = []
    for path in sources:
        if path.is_dir():
            files += _slide_files(path)
        else:
            files.append(path)
    return files


def is_foreign(path: Path) -> bool:
    """Return whether a source contains embeddings of another program, and not feature files.

    `refuse_deadly` has read its files before.
    """
    if path.is_dir():
        files = _slide_files(path)
        return bool(files) and not any(path.glob("*.parts")) and not any(map(_is_store, files))
    return path.is_file() and (path.suffix.casefold() not in _HDF5 or not _is_store(path))


def _is_store(path: Path) -> bool:
    """Return whether an HDF5 file is a feature file: anything that is not recognised as a slide."""
    try:
        with open_for_reading(path) as file:
            return "kind" in file.attrs or set(FEATURE_NAMES).isdisjoint(file.keys())
    except DAMAGE:
        return True  # opening it later reports the reason


def export_features(
    source: PathInput,
    out: PathInput,
    *,
    by: str | None = None,
    pool: str | None = None,
    overwrite: bool = False,
) -> Embeddings:
    """Write the features of a feature file, or embeddings of any format, to an ``.npz`` file.

    Parameters
    ----------
    source : str or Path
        See `read_embeddings`.
    out : str or Path
        File to write; the name ends in ``.npz``. Equal embeddings give equal bytes.
    by, pool
        See `read_embeddings`.
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
    path = converted(out, "out", Path)
    source_path = converted(source, "source", Path)
    if path.suffix.casefold() != ".npz":
        raise InputError("{out} {}: choose a name that ends in .npz", path)
    if path.exists() and not overwrite:
        raise OutputError("{}: exists already; use {overwrite} or another {out}", path)
    refuse_overwriting([path], files_of([source_path]))
    embeddings = read_embeddings(source_path, by=by, pool=pool)
    ensure_folder(path.parent)
    write_npz(path, embeddings)
    return embeddings


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
        open_zip(path, members=limits.EMBEDDING_ARRAYS, size=limits.EMBEDDING_BYTES).close()
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
    """Return the cells of an array of text or whole numbers as text; NaN, a missing number, becomes empty."""
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


FEATURE_NAMES = ("features", "feats")
"""Names of the dataset with the embeddings of a slide."""


class SlideEmbedding(NamedTuple):
    """A slide as its file has it.

    Attributes
    ----------
    row : ndarray of float32, shape (d,)
        Embedding of the slide.
    tiles : int
        Number of tiles that were pooled to it; 0 if the file has only the embedding of the slide.
    encoder : str
        Name of the network; empty if it is not named.
    """

    row: Floats32
    tiles: int
    encoder: str


def read_slides(path: Path, files: Sequence[Path], pool: TilePool = MEAN) -> Embeddings:
    """Read slides, each from a file of its name that `refuse_deadly` has read, and pool their tiles.

    Raises
    ------
    InputError, StoreError
        Slides are of different lengths or encoders; or a file is damaged, or not that of a slide; or it holds no tiles,
        but the embedding of the slide, which only the mean leaves as it is.
    """
    slides = {}
    empty = []  # TRIDENT writes such files for slides without tissue
    for source in files:
        with open_for_reading(source) as file, reading(source):
            slide = _read_slide(file, pool)
        if slide is None:
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
    examples = {
        f"{slide.encoder or 'unnamed'}, {len(slide.row)} numbers": name
        for name, slide in slides.items()
    }
    if len(examples) > 1:
        kinds = few([f"{name} ({kind})" for kind, name in examples.items()])
        raise InputError(f"{path}: slides of several encoders: {kinds}")
    first = next(iter(slides.values()))
    tiles = [slide.tiles for slide in slides.values() if slide.tiles > 0]
    pooled = pool.describe(tiles, "tile") if tiles else ""
    return Embeddings.of(
        path,
        np.stack([slide.row for slide in slides.values()]),
        {"image_id": list(slides)},
        {"encoder": first.encoder, "pooled": pooled},
    )


def _read_slide(file: Any, pool: TilePool) -> SlideEmbedding | None:
    """Return the slide of an open file; None if it has no tile."""
    features = _features_of(file)
    encoder = _encoder_of(file, features)
    shape = features.shape
    if len(shape) == 1:
        if pool is not MEAN:
            raise InputError("holds the embedding of a slide, and no tiles to pool")
        return SlideEmbedding(features[:].astype(np.float32), 0, encoder)
    if len(shape) != 2 and (len(shape) != 3 or shape[0] != 1):
        raise InputError(
            f"features have the shape {shape}; those of a slide are (tiles, d), (1, tiles, d) or (d,)"
        )
    tiles = int(shape[-2])
    if "coords" not in file and tiles > 1:
        raise InputError(
            f"features of shape {shape} come without coords, so nobody knows what a row is; save rows of images by "
            "numpy.savez(FILE, features=array, image_id=names), and name feature files of bchisto one by one"
        )
    if tiles == 0:
        return None

    def read(positions: range) -> Array:
        block = np.s_[positions.start : positions.stop]
        if len(shape) == 2:
            return np.asarray(features[block])
        return np.asarray(features[0, block])

    return SlideEmbedding(pool.row(read, tiles), tiles, encoder)


def _features_of(file: Any) -> Any:
    """Return the dataset with the embeddings of a slide."""
    names = file.keys()  # unlike `in file`, they follow no link
    for name in FEATURE_NAMES:
        if name in names:
            features = checked_dataset(file, name, holds="float")
            if features.size * features.dtype.itemsize > limits.EMBEDDING_BYTES:
                raise StoreError(f"features take more than {limits.EMBEDDING_BYTES // 1024**3} GiB")
            return features
    raise InputError(
        "not the embeddings of one slide, as the other files of its folder; take it out"
    )


def _encoder_of(file: Any, features: Any) -> str:
    """Return the name of the network that a file states; empty if it states none."""
    for holder, name in ((features, "encoder"), (file, "encoder"), (file, "extractor")):
        encoder = holder.attrs.get(name, "")
        if isinstance(encoder, bytes):
            encoder = encoder.decode("utf-8", errors="replace")
        if isinstance(encoder, str) and encoder:
            # some programs write None for an encoder that they do not know
            return "" if encoder == "None" else encoder
    return ""
