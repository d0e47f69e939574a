"""Slides of other programs: HDF5 files with a row for each tile.

TRIDENT and CLAM write one file per slide, named after it: ``features`` float32 (tiles, d) and ``coords`` (tiles, 2).
bchisto treats a slide as one image, and pools its tiles, by their mean unless another `TilePool` is chosen. TRIDENT's
slide encoders write ``features`` of shape (d,). Its newer releases name the network in the attribute ``encoder`` of
``features``. STAMP names the dataset ``feats``, and the network in the attribute ``extractor`` of the file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import InputError, StoreError, few
from ...core.formats import (
    Array,
    Floats32,
    checked_dataset,
    limits,
    open_for_reading,
    reading,
    refuse_deadly,
)
from .pools import MEAN, TilePool
from .table import Embeddings

_log = logging.getLogger(__name__)

FEATURE_NAMES = ("features", "feats")
"""Names of the dataset with the embeddings of a slide."""


class SlideEmbedding(NamedTuple):
    """A slide as its file has it.

    Attributes
    ----------
    row : ndarray of float32, shape (d,)
        Its embedding.
    tiles : int
        Number of tiles that were pooled to it; 0 if the file has only the embedding of the slide.
    encoder : str
        Name of the network; empty if it is not named.
    """

    row: Floats32
    tiles: int
    encoder: str


def read_slides(path: Path, files: Sequence[Path], pool: TilePool = MEAN) -> Embeddings:
    """Read slides, each from a file of its name, and pool their tiles.

    Raises
    ------
    InputError, StoreError
        Slides are of different lengths or encoders; or a file is damaged, or not that of a slide; or it holds no tiles,
        but the embedding of the slide, which only the mean leaves as it is.
    """
    refuse_deadly(files)
    slides = {}
    empty = []  # as TRIDENT writes for slides without tissue
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
    _refuse_several_encoders(path, slides)
    first = next(iter(slides.values()))
    return Embeddings.of(
        path,
        np.stack([slide.row for slide in slides.values()]),
        {"image_id": list(slides)},
        {"encoder": first.encoder, "pooled": _pooling(slides.values(), pool)},
    )


def _refuse_several_encoders(path: Path, slides: Mapping[str, SlideEmbedding]) -> None:
    """Refuse slides that were not all encoded by one network, as far as their files tell."""
    examples = {
        f"{slide.encoder or 'unnamed'}, {len(slide.row)} numbers": name
        for name, slide in slides.items()
    }
    if len(examples) > 1:
        kinds = few([f"{name} ({kind})" for kind, name in examples.items()])
        raise InputError(f"{path}: slides of several encoders: {kinds}")


def _pooling(slides: Iterable[SlideEmbedding], pool: TilePool) -> str:
    """Describe how tiles were pooled to slides; empty if the files have no tiles."""
    tiles = [slide.tiles for slide in slides if slide.tiles > 0]
    if not tiles:
        return ""
    return pool.describe(tiles, "tile")


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
        encoder = _text_attribute(holder, name)
        if encoder == "None":  # as programs write that know none
            return ""
        if encoder:
            return encoder
    return ""


def _text_attribute(holder: Any, name: str) -> str:
    """Return an attribute that is text; otherwise an empty text."""
    value = holder.attrs.get(name, "")
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else ""
