"""Files of embeddings: NPZ, HDF5 of other programs, and tables of labels.

TRIDENT and CLAM write one file per slide, named after it: ``features`` float32 (tiles, d) and ``coords`` (tiles, 2).
bchisto treats a slide as one image, and its embedding is the mean over its tiles. TRIDENT's slide encoders write
``features`` of shape (d,). Its newer releases name the network in the attribute ``encoder`` of ``features``. STAMP
names the dataset ``feats``, and the network in the attribute ``extractor`` of the file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE, InputError, MissingInputError, StoreError, few
from ..core.formats import (
    FEATURES,
    GROUP,
    IMAGE,
    LABEL,
    check_zip,
    checked_dataset,
    choose_column,
    limits,
    open_for_reading,
    read_csv,
    reading,
    refuse_deadly,
)
from ..core.jobs import atomic_output, save_arrays
from ..data import join_groups, match_names, report_findings
from .embeddings import COLUMNS, Embeddings, choose_known, facts_of, read_facts
from .store import KIND, open_store, read_texts


def read_npz(path: Path) -> Embeddings:
    """Read features, ids, labels and groups from an NPZ file; `bchisto.core.formats.columns` lists the names of arrays.

    Raises
    ------
    InputError
        The file is damaged, too large, without features or ids, or has Python objects; or see `Embeddings.of`.
    """
    with reading(path, "not an NPZ file, or damaged ({})"):
        check_zip(path, members=limits.EMBEDDING_ARRAYS)
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if sum(names.values()) > limits.EMBEDDING_BYTES:
            raise InputError(f"{path}: unpacks to more than {limits.EMBEDDING_BYTES // 1024**3} GiB; split it")
        with np.load(path, allow_pickle=False) as file:
            features = choose_column(file.files, FEATURES, where=path, values=lambda _: ())
            if features is None:
                raise InputError(
                    f"{path}: has no array features (or embeddings, X); it has {sorted(names)[:10]}; name embeddings "
                    "so, or save images in it as PNG files for bchisto featurize"
                )
            array = _array(path, file, features)
            columnar = [name for name in file.files if name not in (features, "bchisto")]
            columns, unread = choose_known(path, columnar, lambda name: _column(path, _array(path, file, name), name))
            about = str(_array(path, file, "bchisto")) if "bchisto" in file.files else ""
    return Embeddings.of(path, array, columns, read_facts(path, about) if about else None, unread=unread)


def _array(path: Path, file: Any, name: str) -> Any:
    """Return an array of the file; refuse one of Python objects."""
    try:
        return file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{path}: {name} holds Python objects, which only pickle reads; save it as plain numbers or text, "
            "for example np.array(ids, dtype=str)"
        ) from error


def _column(path: Path, values: npt.NDArray[Any], name: str) -> list[Any]:
    whole = values.dtype.kind == "f" and bool(np.all(np.isnan(values) | (values == np.round(values))))
    if values.ndim != 1 or not (values.dtype.kind in "USiub" or whole):
        raise InputError(f"{path}: {name} is {values.dtype} of shape {values.shape}; it must be one text per image")
    texts: list[Any] = values.tolist()
    return texts


def write_npz(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings as NPZ. Equal embeddings give equal bytes."""
    buffer = io.BytesIO()
    columns = {name: np.array(column, dtype=np.str_) for name, column in embeddings.columns.items()}
    save_arrays(buffer, {"features": embeddings.plain, **columns, "bchisto": np.array(embeddings.about)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


_log = logging.getLogger(__name__)

_AT_ONCE = 4096  # tiles read into memory at a time

_FEATURES = ("features", "feats")
"""Names of the dataset with the embeddings of a slide."""


def is_store(path: Path) -> bool:
    """Return whether an HDF5 file is a feature file: anything not recognised as embeddings of another program."""
    try:
        file, _ = open_for_reading(path)
    except StoreError:
        return True  # opening it later reports the reason
    with file:
        try:
            return "kind" in file.attrs or not (_has_features(file) or any(_slides(file)))
        except DAMAGE:
            return True


def _has_features(group: Any) -> bool:
    return not set(_FEATURES).isdisjoint(group.keys())


def _has_ids(file: Any) -> bool:
    return any(IMAGE.matching(set(file.keys()) - {"coords"}))


def _slides(file: Any) -> Iterator[str]:
    """Yield the names of the groups at the root that contain features; each is one slide."""
    import h5py

    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            item = file.get(name)
            if isinstance(item, h5py.Group) and _has_features(item):
                yield name


def read_h5(path: Path) -> Embeddings:
    """Read a feature file, a file of many images, a file of one slide, or a file with a group for each slide.

    Raises
    ------
    InputError
        The file contains no embeddings, or links to other files; or see `Embeddings.of`.
    StoreError
        The file cannot be opened, or is a damaged feature file.
    """
    refuse_deadly([path])
    file, _ = open_for_reading(path)
    with file, reading(path):
        if file.attrs.get("kind") == KIND:
            file.close()
            with open_store(path) as store:
                columns = dict(zip(COLUMNS, (store.image_ids, store.labels, store.groups), strict=True))
                return Embeddings.of(path, store.features(), columns, facts_of(store.header))
        if _has_features(file) and _has_ids(file):
            return _of_table(path, file)
        if _has_features(file):
            return _of_slides(path, [(path.stem, *_slide(file))])
        names = list(_slides(file))
        if not names:
            raise InputError(
                f"{path}: has no embeddings: no dataset features, no group with one, only {few(file) or 'nothing'}"
            )
        if len(names) > limits.EMBEDDING_SLIDES:
            raise InputError(f"{path}: holds more than {limits.EMBEDDING_SLIDES} slides; split it")
        return _of_slides(path, [(name, *_slide(file[name])) for name in names])


def read_slides(folder: Path, files: list[Path]) -> Embeddings:
    """Read a folder with one file per slide. A slide has the name of its file.

    Raises
    ------
    InputError, StoreError
        See `read_h5`; or slides are of different lengths or encoders, or a file is not that of a slide.
    """
    refuse_deadly(files)
    slides: list[tuple[str, npt.NDArray[np.float32], int, str]] = []
    empty: list[str] = []
    for path in files:
        file, _ = open_for_reading(path)
        with file, reading(path):
            if file.attrs.get("kind") == KIND:
                raise InputError(
                    "a feature file of bchisto, not the embeddings of one slide; give the file, not its folder"
                )
            if not _has_features(file) or _has_ids(file):
                raise InputError("not the embeddings of one slide, as the other files of its folder; take it out")
            if _features(file).shape[-2:-1] == (0,):  # as TRIDENT writes for slides without tissue
                empty.append(path.stem)
            else:
                slides.append((path.stem, *_slide(file)))
    if empty:
        _log.warning(
            "%s: %d of %d slides hold no tile and are left out: %s", folder, len(empty), len(files), few(empty)
        )
    if not slides:
        raise InputError(f"{folder}: no slide in it holds a tile")
    return _of_slides(folder, slides)


def _slide(group: Any) -> tuple[npt.NDArray[np.float32], int, str]:
    """Return the embedding of a slide, its number of tiles (0: the file has one for the slide), and its encoder."""
    features = _features(group)
    encoder = _attribute(features, "encoder") or _attribute(group, "encoder") or _attribute(group, "extractor")
    named = "" if encoder == "None" else encoder
    shape = features.shape
    if len(shape) == 1:
        return features[:].astype(np.float32), 0, named
    if len(shape) == 3 and shape[0] != 1:
        raise InputError(f"features have the shape {shape}; those of a slide are (tiles, d), (1, tiles, d) or (d,)")
    if "coords" not in group and shape[-2] > 1:
        raise InputError(
            f"features of shape {shape} come with neither image_id nor coords, so nobody knows what a row is"
        )
    tiles = int(shape[-2])
    if tiles == 0:
        raise InputError("has no tile; leave this slide out")
    total = np.zeros(shape[-1])
    for start in range(0, tiles, _AT_ONCE):
        at = np.s_[start : start + _AT_ONCE]
        rows = features[at] if len(shape) == 2 else features[0, at]
        total += rows.astype(np.float64).sum(axis=0)
    return (total / tiles).astype(np.float32), tiles, named


def _features(group: Any) -> Any:
    """Return the dataset of features, which may have one to three axes.

    Raises
    ------
    StoreError
        See `checked_dataset`.
    """
    errors: list[StoreError] = []
    name = next(name for name in _FEATURES if name in group.keys())  # noqa: SIM118 - keys() does not follow links
    for axes in (2, 1, 3):
        try:
            features = checked_dataset(group, name, holds="float", shape=(None,) * axes)
        except StoreError as error:
            errors.append(error)
            continue
        if features.size * features.dtype.itemsize > limits.EMBEDDING_BYTES:
            raise StoreError(f"features take more than {limits.EMBEDDING_BYTES // 1024**3} GiB")
        return features
    raise next((error for error in errors if " axes" not in str(error)), errors[0])


def _of_slides(path: Path, slides: list[tuple[str, npt.NDArray[np.float32], int, str]]) -> Embeddings:
    lengths = {len(row): name for name, row, _, _ in reversed(slides)}
    if len(lengths) > 1:
        (length, first), (other, second) = sorted(lengths.items())[:2]
        raise InputError(f"{path}: {first} has {length} numbers and {second} has {other}; they are not of one encoder")
    encoders = sorted({encoder for *_, encoder in slides})
    if len(encoders) > 1:
        raise InputError(f"{path}: slides of several encoders: {', '.join(name or 'unnamed' for name in encoders[:3])}")
    tiles = [count for _, _, count, _ in slides if count]
    pooled = ""
    if tiles:
        span = f"{min(tiles)} to {max(tiles)}" if len(set(tiles)) > 1 else str(tiles[0])
        pooled = f"mean of {span} tile{'' if span == '1' else 's'}"
    return Embeddings.of(
        path,
        np.stack([row for _, row, _, _ in slides]),
        {"image_id": [name for name, *_ in slides]},
        {"encoder": encoders[0], "pooled": pooled},
    )


def _of_table(path: Path, file: Any) -> Embeddings:
    features = _features(file)
    names = [name for name in file if name not in (*_FEATURES, "coords")]
    columns, unread = choose_known(path, names, lambda name: _texts(file, name))
    about = _attribute(file, "bchisto")
    facts = read_facts(path, about) if about else {"encoder": _attribute(file, "encoder")}
    return Embeddings.of(path, features[:], columns, facts, unread=unread)


def _texts(file: Any, name: str) -> list[Any]:
    """Return a column of whole numbers, or of texts of variable or fixed length."""
    for holds in ("bytes", "whole"):
        with contextlib.suppress(StoreError):
            values: list[Any] = checked_dataset(file, name, holds=holds, shape=(None,))[:].tolist()
            return values
    return list(read_texts(file, name))


def _attribute(holder: Any, name: str) -> str:
    """Return an attribute that is text; otherwise an empty text."""
    value = holder.attrs.get(name, "")
    value = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    return value if isinstance(value, str) else ""


def write_h5(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings into one file: ``features``, ``image_id``, ``label``, ``group``.

    Texts have a fixed length. HDF5 keeps texts of variable length in a heap, and a damaged heap can make it search
    forever.
    """
    import h5py

    with atomic_output(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        file.create_dataset("features", data=embeddings.plain)
        for name, column in embeddings.columns.items():
            texts = [text.encode() for text in column]
            kind = h5py.string_dtype("utf-8", max(1, *map(len, texts)))
            file.create_dataset(name, data=np.array(texts, dtype=kind))
        file.attrs["bchisto"] = np.bytes_(embeddings.about)
        if "encoder" in embeddings.facts:
            file.attrs["encoder"] = np.bytes_(embeddings.facts["encoder"].encode())


_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


@dataclass(frozen=True)
class LabelTable:
    """Labels and groups of images.

    Attributes
    ----------
    path : Path
    labels, groups : dict of str to str
        Image id to label or group; empty if unknown.
    columns : dict of str to dict of str to str
        Further columns: name to a mapping from image id to value.
    """

    path: Path
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def named_as(self, images: Collection[str]) -> LabelTable:
        """Return the table with the names of images in place of slide files, such as ``a`` for ``a.svs``.

        Parameters
        ----------
        images : collection of str
            Names of embeddings. TRIDENT, CLAM and STAMP name them after the slide file without its suffix.
        """
        names, findings = match_names(self.labels, images, where=str(self.path))
        report_findings(findings)

        def renamed(cells: Mapping[str, str]) -> dict[str, str]:
            return {names.get(row, row): cell for row, cell in cells.items()}

        columns = {name: renamed(cells) for name, cells in self.columns.items()}
        return LabelTable(self.path, renamed(self.labels), renamed(self.groups), columns)


def read_labels(path: Path) -> LabelTable:
    """Read a table of labels, see `read_csv`.

    Parameters
    ----------
    path : Path
        A CSV file with columns for the image id (``image_id``, or ``slide_id`` as in CLAM), the label and, if any, the
        group; see `bchisto.core.formats.columns`.

    Raises
    ------
    InputError
        There is no such file or column, an id is empty or repeated, or there are no rows.
    """
    if not path.is_file():
        raise MissingInputError("{labels} {}: no such table; it has the columns {}", path, _EXPECTED)
    table = read_csv(path, needed=(LABEL, IMAGE), expected=_EXPECTED)
    ids = table.choose(IMAGE)
    label = table.choose(LABEL, without=[ids])
    group = table.choose(GROUP, without=[ids, label])
    table.log_columns({IMAGE: ids, LABEL: label, GROUP: group})
    if table.overlong:
        raise InputError(f"{path}: line {table.overlong[0]} has more cells than the header; put a cell that holds a "
                         "comma in quotes")  # fmt: skip
    names, joined = join_groups((row.get(group) or None for _, row in table.rows), where=str(path))
    report_findings(joined)
    lines: dict[str, int] = {}
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}
    for number, row in table.rows:
        image = row[ids]
        if not image or image in lines:
            why = f"{image} is already in line {lines[image]}" if image else f"an empty {table.columns[ids]}"
            raise InputError(f"{path}: line {number}: {why}; remove the row")
        lines[image] = number
        labels[image], groups[image] = row[label], names.get(row.get(group, "")) or ""
        for name, cell in row.items():
            if cell and name not in (ids, label):
                columns.setdefault(name, {})[image] = cell
    if not labels:
        raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
    return LabelTable(path, labels, groups, columns)
