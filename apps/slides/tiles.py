"""Tiles of slides, of a size that suits a model, in blocks, which go through its predictor as any image does."""

from __future__ import annotations

import functools
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...core import InputError, Message, limited, option
from ...core.formats import Pixels
from ...core.jobs import Ticker, in_threads, key_of, read_pack, write_pack
from ...data import BACH_MPP, BACH_SIZE, ImageRecord
from ...predict import BoostedModel, Model, PredictBlock, Prediction, load_alike, predict_records
from .cut import CutSettings
from .files import Failures, SlideFile, SlideSettings, leaving_out
from .grid import find_tissue, positions, tissue_shares
from .slide import ALIKE, Slide

if TYPE_CHECKING:
    from ...featurize import View

_log = logging.getLogger(__name__)

_KIND = "tiles of a slide 1"
"""Prefix of the key of a block, to be changed whenever predictions would change."""

_MOST_TILES = 64
"""Tiles of a block, which a crash can lose."""

_AT_ONCE = 16
"""Tiles that are read while those before them are predicted, at most."""

_MOST_BYTES = 2**27
"""Largest size of the files of these tiles."""

_SIDES = {"bach": min(BACH_SIZE), "breakhis": 460}
"""Shorter sides of the images of published data sets, in pixels."""

Results = dict[str, Prediction | str]
"""Predictions by the name of the tile, or the reasons why tiles cannot be used."""


@dataclass(frozen=True, kw_only=True)
class MapSettings(SlideSettings):
    """Which tiles of a slide are predicted, and what is known of the slides."""

    field: float | None = option(
        None, group="Input", least=10, help="Micrometres of a side, as cut; default: a guess."
    )
    scale: float | None = option(
        None, group="Input", least=0.02, help="Micrometres a pixel; default: as in training."
    )
    labels: Path | None = option(
        None, group="Evaluation", decides=False, help="Table with columns slide and label."
    )


class TrainingScales(NamedTuple):
    """What a model file tells of the images that trained it.

    Attributes
    ----------
    dataset : str
        Their layout.
    scales : sequence of float
        Micrometres per pixel: the least and the largest, or those of views; empty if the file does not tell.
    views : sequence of View
        What the model looks at, if it is boosted.
    """

    dataset: str
    scales: Sequence[float]
    views: Sequence[View] = ()

    @classmethod
    def of(cls, model: Model) -> TrainingScales:
        """Read what the file of a model tells."""
        if not isinstance(model, BoostedModel):
            dataset = model.bundle.dataset
            return cls(dataset, [BACH_MPP] if dataset == "bach" else [])
        header = next(iter(model.bundle.stores.values()))
        views = [view for settings in model.settings.values() for view in settings.views]
        scales = [header[name] for name in ("mpp_least", "mpp_most") if name in header]
        if not scales:
            scales = [view.scale for view in views if view.unit]
        return cls(header["dataset"], scales, views)

    @property
    def is_of_one_scale(self) -> bool:
        """Whether their scale is known, and the same for all of them."""
        return bool(self.scales) and max(self.scales) / min(self.scales) <= 1 + ALIKE

    def scale(self) -> float:
        """Return their scale, rounded to two digits if it is then still alike, since `cut` was given such a number."""
        mean = CutSettings.scale
        if self.scales:
            mean = math.sqrt(min(self.scales) * max(self.scales))
        nominal = float(f"{mean:.2g}")
        if abs(mean / nominal - 1) <= ALIKE:
            return nominal
        return float(f"{mean:.3g}")

    def field(self, scale: float) -> float:
        """Return a side of a tile in micrometres: the shorter of a published data set, or that of the largest view."""
        if self.dataset in _SIDES:
            return _SIDES[self.dataset] * scale
        if not self.views:
            return CutSettings.field
        return math.ceil(max(view.crop / view.factor(scale) for view in self.views)) * scale


def tile_settings(model: Model, settings: MapSettings) -> CutSettings:
    """Return how fields are cut for a model. What its file does not tell is warned of.

    Tiles have the scale and the size of the training images, see `TrainingScales`.

    Raises
    ------
    InputError
        Tiles are too small for the model, or of too many pixels.
    """
    images = TrainingScales.of(model)
    scale = images.scale() if settings.scale is None else settings.scale
    field = images.field(scale) if settings.field is None else settings.field
    is_scale_guess = settings.scale is None and not images.is_of_one_scale
    is_field_guess = settings.field is None and images.dataset not in _SIDES
    if is_scale_guess or is_field_guess:
        text = "tiles have {field:{}} and {scale:{}}, a guess: give those of slides cut, which the model file lacks"
        _log.warning(Message(text, f"{field:.4g}", f"{scale:.4g}"))
    fields = CutSettings(field=field, scale=scale, tissue=settings.tissue, mpp=settings.mpp)
    tile = ImageRecord("", Path("a tile"), None, mpp=scale)
    for need in model.needs:
        misfit = need.misfit(tile, width=fields.pixels, height=fields.pixels)
        if misfit is not None:
            text = "{field:{}}: {}; give a larger {field}"
            raise InputError(text, f"{field:.4g}", limited(misfit, {"field"}))
    return fields


@dataclass(frozen=True)
class TileGrid:
    """Tiles of a slide.

    Attributes
    ----------
    name : str
        Name of the slide.
    path : Path
    mpp : float
        Micrometres per pixel of the slide.
    scale : float
        Micrometres per pixel of a tile.
    pixels : int
        Side of a tile in its pixels.
    corners : sequence of (int, int)
        x and y of the left upper corners, pixels of level 0.
    file : Path
        Of a block: where its predictions are saved, named by their key.
    """

    name: str
    path: Path
    mpp: float
    scale: float
    pixels: int
    corners: Sequence[tuple[int, int]]
    file: Path = Path()

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
                text = "{}: no tile has enough tissue ({tissue:{}})"
                _log.warning(Message(text, file.path, settings.tissue))
            corners = corners[enough].tolist()
            return cls(file.name, file.path, slide.mpp, scale, settings.pixels, corners)

    @property
    def records(self) -> list[ImageRecord]:
        """The tiles as images, with the names of the fields that `cut` writes."""
        return [
            ImageRecord(f"{self.name}_{x}_{y}", self.path, None, mpp=self.scale)
            for x, y in self.corners
        ]

    def read(self, slide: Slide, number: int) -> Pixels:
        """Return the pixels of a tile.

        Raises
        ------
        ImageError
            This part of the slide is damaged.
        """
        return slide.read(*self.corners[number], self.pixels, self.pixels, self.scale)

    def save(self, results: Results) -> None:
        """Save predictions, and the reasons why tiles cannot be used."""
        # in the order of the tiles, in which `load` reads them
        in_order = [results[tile.image_id] for tile in self.records]
        predictions = [result for result in in_order if isinstance(result, Prediction)]
        unused = {name: result for name, result in results.items() if isinstance(result, str)}
        arrays = {
            name: np.array([getattr(prediction, name) for prediction in predictions])
            for name in Prediction._fields
        }
        arrays["unused"] = np.frombuffer(json.dumps(unused).encode(), np.uint8)
        write_pack(self.file, self.file.stem, arrays)

    def load(self, *, skip_errors: bool) -> Results | None:
        """Return what was saved; None if there is nothing, or if tiles cannot be used and must."""
        arrays = read_pack(self.file, self.file.stem, {"trained": (None,), "unused": (None,)})
        if arrays is None:
            return None
        unused = json.loads(arrays["unused"].tobytes())
        if unused and not skip_errors:
            return None
        predictions = zip(*(arrays[name] for name in Prediction._fields), strict=True)
        results: Results = {}
        for tile in self.records:
            name = tile.image_id
            results[name] = unused[name] if name in unused else Prediction(*next(predictions))
        return results


def blocks_of(grid: TileGrid, folder: Path, **decides: Any) -> Iterator[TileGrid]:
    """Yield the tiles of a slide in blocks, each a grid with a file.

    Parameters
    ----------
    grid : TileGrid
    folder : Path
        Where predictions are saved.
    **decides : JSON-ready values
        All that changes a prediction, apart from scales, size and corners of the tiles.
    """
    decides |= {"mpp": grid.mpp, "scale": grid.scale, "pixels": grid.pixels}
    for start in range(0, len(grid.corners), _MOST_TILES):
        corners = grid.corners[start : start + _MOST_TILES]
        key = key_of(_KIND, **decides, corners=corners)
        yield replace(grid, corners=corners, file=folder / f"{key}.npz")


def predict_tiles(
    prediction: PredictBlock, blocks: tuple[TileGrid, ...], ticker: Ticker
) -> Results:
    """Predict and save a block, in any process, and return what is saved.

    The predictor reads files, so tiles are written to a folder for temporary files, without compression, while those
    before them are predicted.

    Parameters
    ----------
    prediction : PredictBlock
        The model, and how it predicts.
    blocks : tuple of TileGrid
        The block.
    ticker : Ticker

    Raises
    ------
    ImageError
        A part of a slide is damaged, or a tile cannot be used, and is not to be skipped.
    """
    (block,) = blocks
    model = load_alike(prediction.file, prediction.computed_by)
    skip = prediction.skip_errors
    results: Results = {}
    count = max(1, min(_AT_ONCE, _MOST_BYTES // (3 * block.pixels**2)))
    parts = [
        replace(block, corners=block.corners[start : start + count])
        for start in range(0, len(block.corners), count)
    ]
    with (
        Slide(block.path, mpp=block.mpp) as slide,
        tempfile.TemporaryDirectory(prefix="bchisto-") as folder,
    ):
        write = functools.partial(_write, slide, Path(folder), skip=skip)
        for records, failures in in_threads(write, parts, threads=1):
            ticker.tick(model.steps * len(failures))
            results |= dict(failures)
            results |= predict_records(
                model, records, ticker=ticker, skip_errors=skip, helpers=prediction.helpers
            )
            for record in records:
                record.path.unlink()
    # reasons name a folder that is of this call
    results = {
        name: result.replace(f"{folder}/", "") if isinstance(result, str) else result
        for name, result in results.items()
    }
    block.save(results)
    return results


def _write(
    slide: Slide, folder: Path, tiles: TileGrid, *, skip: bool
) -> tuple[list[ImageRecord], Failures]:
    """Write tiles as files; return their records, and the tiles that cannot be read, with the reasons."""
    from PIL import Image

    records: list[ImageRecord] = []
    failures = Failures()
    for number, record in enumerate(tiles.records):
        path = folder / f"{record.image_id}.bmp"
        with leaving_out(record.image_id, failures, skip=skip):
            Image.fromarray(tiles.read(slide, number)).save(path)
            records.append(replace(record, path=path))
    return records, failures
