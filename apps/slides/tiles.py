"""Tiles of slides in blocks, the units of a map: they go through the predictor of a model file as any image does."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core import ImageError, Message
from ...core.jobs import Ticker, in_threads, key_of, read_pack, write_pack
from ...data import ImageRecord
from ...predict import PredictBlock, Prediction, load_alike, predict_records
from .cut import CutSettings
from .files import SlideFile
from .grid import positions, tissue_shares
from .slide import Picture, Slide
from .tissue import find_tissue

_log = logging.getLogger(__name__)

_KIND = "tiles of a slide 1"
"""Prefix of the key of a block. Its number changes whenever predictions would change."""

_MOST_TILES = 64
"""Largest number of tiles in a block: the work that a crash can lose."""

_FIRST, _GROWTH, _MOST_BYTES = 4, 4, 2**27
"""Tiles that are read before the networks begin, and factor by which there are more each time: the next ones are read
meanwhile, which takes a fraction of the time. Largest size of their files."""

_KEPT = ("probabilities", "trained", "compared")

Results = dict[str, Prediction | str]
"""Predictions by the name of the tile, or the reasons why tiles cannot be used."""


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

    @classmethod
    def of(cls, file: SlideFile, settings: CutSettings) -> TileGrid:
        """Find the tiles of a slide that have enough tissue; those at its edges reach beyond it.

        Raises
        ------
        InputError
            OpenSlide cannot read the slide, or it is coarser than the tiles.
        ImageError
            A part of the slide is damaged.
        """
        with Slide(file.path, mpp=settings.mpp) as slide:
            scale = slide.nearest(settings.scale)
            side = settings.pixels * scale / slide.mpp
            corners = positions(slide.width, slide.height, side, edges=True)
            enough = tissue_shares(find_tissue(slide), corners, side) >= max(settings.tissue, 1e-9)
            if not enough.any():
                _log.warning(Message("{}: no tile has enough tissue ({tissue:{}})", file.path, settings.tissue))
            places = tuple((x, y) for x, y in corners[enough].tolist())
            return cls(file.name, file.path, slide.digest, settings.mpp, scale, settings.pixels, places)

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
    """Tiles that are predicted together, and the file of their predictions, which is named by their key."""

    grid: TileGrid
    file: Path

    def save(self, results: Results) -> None:
        """Save predictions, and the reasons why tiles cannot be used."""
        used = [result for result in results.values() if isinstance(result, Prediction)]
        unused = json.dumps({name: result for name, result in results.items() if isinstance(result, str)})
        arrays = {name: np.array([getattr(result, name) for result in used]) for name in _KEPT}
        write_pack(self.file, self.file.stem, arrays | {"unused": np.frombuffer(unused.encode(), np.uint8)})

    def load(self, *, skip_errors: bool) -> Results | None:
        """Return what was saved; None if there is nothing, or if tiles cannot be used and must."""
        arrays = read_pack(self.file, self.file.stem, {"trained": (None,), "unused": (None,)})
        unused: dict[str, str] = json.loads(arrays["unused"].tobytes()) if arrays else {}
        if arrays is None or (unused and not skip_errors):
            return None
        used = zip(*(arrays[name] for name in _KEPT), strict=True)
        names = [record.image_id for record in self.grid.records]
        return {name: unused[name] if name in unused else Prediction(*next(used)) for name in names}


def blocks_of(grid: TileGrid, folder: Path, **decides: Any) -> Iterator[TileBlock]:
    """Yield the tiles of a slide in blocks.

    Parameters
    ----------
    grid : TileGrid
    folder : Path
        Where predictions are saved.
    **decides : JSON-ready values
        All that changes a prediction, apart from scale, size and corners of the tiles.
    """
    decides |= {"digest": grid.digest, "scale": grid.scale, "pixels": grid.pixels}
    for start in range(0, len(grid.corners), _MOST_TILES):
        corners = grid.corners[start : start + _MOST_TILES]
        yield TileBlock(replace(grid, corners=corners), folder / f"{key_of(_KIND, **decides, corners=corners)}.npz")


def predict_tiles(by: PredictBlock, blocks: tuple[TileBlock, ...], ticker: Ticker) -> None:
    """Predict and save blocks, in any process.

    The predictor reads files, so tiles are written to a folder for temporary files, without compression, while those
    before them are predicted.

    Parameters
    ----------
    by : PredictBlock
        The model, and how it predicts.
    blocks : tuple of TileBlock
    ticker : Ticker

    Raises
    ------
    ImageError
        A part of a slide is damaged, or a tile cannot be used, and is not to be skipped.
    """
    model, skip = load_alike(by.file, by.computed_by), by.skip_errors
    for grid, block in ((block.grid, block) for block in blocks):
        results = Results()
        with Slide(grid.path, mpp=grid.mpp) as slide, tempfile.TemporaryDirectory(prefix="bchisto-") as folder:
            write = functools.partial(_write, slide, grid, Path(folder))
            for written in in_threads(lambda part: list(map(write, part)), _parts(grid), threads=1):  # noqa: B023
                records = [record for record, _ in written if record is not None]
                unread = dict(reason for record, reason in written if record is None)
                if unread and not skip:
                    raise ImageError(next(iter(unread.values())))
                ticker.tick(model.steps * len(unread))
                results |= unread
                results |= predict_records(model, records, ticker=ticker, skip_errors=skip, helpers=by.helpers)
                for record in records:
                    record.path.unlink()
        for name, reason in results.items():
            results[name] = reason.replace(f"{folder}/", "") if isinstance(reason, str) else reason
        block.save(results)


def _parts(grid: TileGrid) -> Iterator[range]:
    """Yield the places of tiles that are read together: few, and then more."""
    most = max(1, _MOST_BYTES // (3 * grid.pixels**2))
    start, count = 0, min(_FIRST, most)
    while start < len(grid.corners):
        yield range(start, min(start + count, len(grid.corners)))
        start, count = start + count, min(_GROWTH * count, most)


def _write(slide: Slide, grid: TileGrid, folder: Path, place: int) -> tuple[ImageRecord | None, tuple[str, str]]:
    """Write a tile as a file, and return its record; or, if it cannot be read, its name and the reason."""
    from PIL import Image

    record = grid.records[place]
    path = folder / f"{record.image_id}.bmp"
    try:
        Image.fromarray(grid.read(slide, place)).save(path)
    except ImageError as error:
        return None, (record.image_id, str(error))
    return replace(record, path=path), ("", "")
