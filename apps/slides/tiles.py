"""Blocks of tiles of slides: the units of a map. Tiles go through the predictor of a model file as any image does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core import ImageError, message_of
from ...core.jobs import Ticker, in_threads, key_of, read_pack, write_pack
from ...data import ImageRecord
from ...predict import ModelFile, Prediction, load_alike, predict_records
from .slide import Picture, Slide

_KIND = "tiles of a slide 1"
"""Prefix of the key of a block. Its number changes whenever predictions would change."""

_MOST_TILES = 64
"""Largest number of tiles in a block: the work that a crash can lose."""

_FIRST, _GROWTH, _MOST_BYTES = 4, 4, 2**27
"""Tiles that are read before the networks begin, and factor by which there are more each time: the next ones are read
meanwhile, which takes a fraction of the time. Largest size of their files."""

_KEPT = ("probabilities", "trained", "compared")


@dataclass(frozen=True)
class TileGrid:
    """Tiles of a slide.

    Attributes
    ----------
    name : str
        Name of the slide.
    path : Path
    digest : str
        See `Slide`.
    mpp : float, optional
        Micrometres per pixel of the slide, if it does not state them.
    scale : float
        Micrometres per pixel of a tile.
    pixels : int
        Side of a tile in its pixels.
    corners : tuple of (int, int)
        x and y of the left upper corners, pixels of level 0.
    """

    name: str
    path: Path
    digest: str
    mpp: float | None
    scale: float
    pixels: int
    corners: tuple[tuple[int, int], ...]

    @property
    def records(self) -> list[ImageRecord]:
        """The tiles as images, with the names of the fields that `cut` writes."""
        return [ImageRecord(f"{self.name}_{x}_{y}", self.path, None, mpp=self.scale) for x, y in self.corners]

    def read(self, slide: Slide, place: int) -> Picture:
        """Return the pixels of a tile.

        Raises
        ------
        ImageError
            This part of the slide is damaged.
        """
        return slide.read(*self.corners[place], self.pixels, self.pixels, self.scale)


@dataclass(frozen=True)
class TileBlock:
    """Tiles that are predicted together, and the key of their predictions."""

    grid: TileGrid
    key: str

    @property
    def file(self) -> str:
        """The name of the file with the predictions."""
        return f"{self.key}.npz"


def blocks_of(grid: TileGrid, **decides: Any) -> Iterator[TileBlock]:
    """Yield the tiles of a slide in blocks.

    Parameters
    ----------
    grid : TileGrid
    **decides : JSON-ready values
        All that changes a prediction, apart from scale, size and corners of the tiles.
    """
    for start in range(0, len(grid.corners), _MOST_TILES):
        corners = grid.corners[start : start + _MOST_TILES]
        key = key_of(_KIND, **decides, digest=grid.digest, scale=grid.scale, pixels=grid.pixels, corners=corners)
        yield TileBlock(replace(grid, corners=corners), key)


@dataclass(frozen=True)
class PredictTiles:
    """Predicts blocks of tiles in any process, and saves the predictions.

    The predictor reads files, so tiles are written to a folder for temporary files, without compression, while those
    before them are predicted.

    Attributes
    ----------
    file, computed_by, folder, skip_errors, helpers
        See `bchisto.predict.predicted.PredictBlock`.
    """

    file: ModelFile
    computed_by: Mapping[str, Any]
    folder: Path
    skip_errors: bool
    helpers: int = 1

    def __call__(self, blocks: tuple[TileBlock, ...], ticker: Ticker) -> None:
        """Predict each block.

        Raises
        ------
        ImageError
            A part of a slide is damaged, or a tile cannot be used, and `skip_errors` is False.
        """
        for block in blocks:
            save_block(self.folder, block, self._predict(block.grid, ticker))

    def _predict(self, grid: TileGrid, ticker: Ticker) -> dict[str, Prediction | str]:
        model, results = load_alike(self.file, self.computed_by), dict[str, Prediction | str]()
        with Slide(grid.path, mpp=grid.mpp) as slide, tempfile.TemporaryDirectory(prefix="bchisto-") as folder:

            def write(place: int) -> ImageRecord | str:
                return _write(slide, grid, place, Path(folder), skip_errors=self.skip_errors)

            for places, read in in_threads(lambda part: (part, list(map(write, part))), _parts(grid), threads=1):
                records = [record for record in read if isinstance(record, ImageRecord)]
                ticker.tick(model.steps * (len(read) - len(records)))
                skip, helpers = self.skip_errors, self.helpers
                predicted = predict_records(model, records, ticker=ticker, skip_errors=skip, helpers=helpers)
                for name, record in zip((grid.records[place].image_id for place in places), read, strict=True):
                    result = predicted[name] if isinstance(record, ImageRecord) else record
                    if isinstance(record, ImageRecord):
                        record.path.unlink()
                    results[name] = result.replace(f"{folder}/", "") if isinstance(result, str) else result
        return results


def _parts(grid: TileGrid) -> Iterator[range]:
    """Yield the places of tiles that are read together: few, and then more."""
    most = max(1, _MOST_BYTES // (3 * grid.pixels**2))
    start, count = 0, min(_FIRST, most)
    while start < len(grid.corners):
        yield range(start, min(start + count, len(grid.corners)))
        start, count = start + count, min(_GROWTH * count, most)


def _write(slide: Slide, grid: TileGrid, place: int, folder: Path, *, skip_errors: bool) -> ImageRecord | str:
    """Write a tile as a file and return its record, or the reason why it cannot be read."""
    from PIL import Image

    record = grid.records[place]
    record = replace(record, path=folder / f"{record.image_id}.bmp")
    try:
        Image.fromarray(grid.read(slide, place)).save(record.path)
    except ImageError as error:
        if not skip_errors:
            raise
        return str(message_of(error))
    return record


def save_block(folder: Path, block: TileBlock, results: Mapping[str, Prediction | str]) -> None:
    """Save the predictions of a block under its key, and the reasons why tiles cannot be used."""
    used = [result for result in results.values() if isinstance(result, Prediction)]
    unused = json.dumps({name: result for name, result in results.items() if isinstance(result, str)})
    arrays = {name: np.array([getattr(result, name) for result in used]) for name in _KEPT}
    write_pack(folder / block.file, block.key, arrays | {"unused": np.frombuffer(unused.encode(), np.uint8)})


def read_block(folder: Path, block: TileBlock, *, skip_errors: bool) -> dict[str, Prediction | str] | None:
    """Return the saved predictions of a block by tile; None if there are none, or if tiles cannot be used and must."""
    arrays = read_pack(folder / block.file, block.key, {"trained": (None,), "unused": (None,)})
    unused: dict[str, str] = json.loads(arrays["unused"].tobytes()) if arrays else {}
    if arrays is None or (unused and not skip_errors):
        return None
    used = (Prediction(row[0], bool(row[1]), row[2]) for row in zip(*(arrays[name] for name in _KEPT), strict=True))
    names = [record.image_id for record in block.grid.records]
    return {name: unused[name] if name in unused else next(used) for name in names}
