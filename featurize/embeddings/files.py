"""Files of embeddings of any format: NPZ files, feature files, and slides of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core import DAMAGE, InputError, MissingInputError, OutputError, PathInput, converted
from ...core.formats import mistaken, open_for_reading, refuse_deadly
from ...core.jobs import ensure_folder, refuse_overwriting
from ..store import open_store
from .facts import facts_of
from .fields import pool_fields
from .npz import read_npz, write_npz
from .pools import MEAN, pool_named
from .slides import FEATURE_NAMES, read_slides
from .table import Embeddings

_HDF5 = (".h5", ".hdf5")

_PICKLED = ".pt and .pkl run code when they are read; docs/embeddings.md shows how to convert them"


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
    pooling = pool_named(pool or MEAN.name)
    if by is not None:
        if is_foreign(path):
            raise InputError(
                f"{path}: not a feature file of bchisto, whose images have a column {by}"
            )
        refuse_deadly([path])
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
        remedy = "numpy.savez(FILE, features=array, image_id=names) writes one (docs/embeddings.md)"
        no_file = f"{path}: embeddings are read from .npz and .h5 files; {remedy}"
        raise InputError(mistaken(path, "a file of embeddings (.npz, .h5)") or no_file)
    refuse_deadly([path])
    if not _is_store(path):
        return read_slides(path, [path], pooling)
    _refuse_pool(path, pool)
    with open_store(path) as store:
        columns = {"image_id": store.image_ids, "label": store.labels, "group": store.groups}
        return Embeddings.of(path, store.features(), columns, facts_of(store.header))


def _refuse_pool(path: Path, pool: str | None) -> None:
    """Refuse to pool rows of which nothing says which are of a slide."""
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
    """Return whether a source contains embeddings of another program, and not feature files."""
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
