"""Slides of other programs: HDF5 files with a row for each tile.

TRIDENT and CLAM write one file per slide, named after it: ``features`` float32 (tiles, d) and ``coords`` (tiles, 2).
bchisto treats a slide as one image, and its embedding is the mean over its tiles. TRIDENT's slide encoders write
``features`` of shape (d,). Its newer releases name the network in the attribute ``encoder`` of ``features``. STAMP
names the dataset ``feats``, and the network in the attribute ``extractor`` of the file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import DAMAGE, InputError, StoreError, counted, few
from ...core.formats import checked_dataset, limits, open_for_reading, reading, refuse_deadly
from .table import Embeddings

_log = logging.getLogger(__name__)

_AT_ONCE = 4096  # tiles read into memory at a time

_FEATURES = ("features", "feats")
"""Names of the dataset with the embeddings of a slide."""


def slide_files(folder: Path) -> list[Path]:
    """Return the ``.h5`` files of a folder, or of its subfolder ``h5_files``, where CLAM puts them."""
    return sorted(folder.glob("*.h5")) or sorted(folder.glob("h5_files/*.h5"))


def is_store(path: Path) -> bool:
    """Return whether an HDF5 file is a feature file: anything that is not recognised as a slide."""
    try:
        with open_for_reading(path) as file:
            return "kind" in file.attrs or set(_FEATURES).isdisjoint(file.keys())
    except DAMAGE:
        return True  # opening it later reports the reason


def read_slides(path: Path, files: Sequence[Path]) -> Embeddings:
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
