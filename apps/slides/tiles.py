"""Tiles of slides, of a size that suits a model, in blocks, which go through its predictor as any image does."""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core import InputError, Message, OptionalPath, limited, option
from ...core.formats import ImageHeader, Pixels, file_sha256
from ...core.jobs import Ticker, in_threads, key_of, read_pack, write_pack
from ...data import ImageRecord, given_record
from ...predict import (
    Model,
    PredictBlock,
    Prediction,
    Results,
    TrainingLooks,
    helpers_of,
    load_alike,
    predict_records,
)
from .cut import CutSettings
from .files import Failures, SlideFile, SlideSettings, leaving_out
from .regions import positions
from .slide import ALIKE, Slide
from .tissue import Areas, find_tissue, tissue_shares

_log = logging.getLogger(__name__)

_KIND = "tiles of a slide 2"
"""Prefix of the key of a block, to be changed whenever predictions would change."""

_MOST_TILES = 64
"""Tiles of a block, which a crash can lose."""

_AT_ONCE = 16
"""Tiles that are read while those before them are predicted, at most."""

_MOST_BYTES = 2**27
"""Largest size of these tiles."""


@dataclass(frozen=True, kw_only=True)
class MapSettings(SlideSettings):
    """Which tiles of a slide are predicted, and what is known of the slides."""

    field: float | None = option(
        None, group="Input", least=10, help="Micrometres of a side; default: as in training."
    )
    scale: float | None = option(
        None, group="Input", least=0.02, help="Micrometres a pixel; default: as in training."
    )
    labels: OptionalPath = option(
        None, group="Evaluation", decides=False, help="Table with columns slide and label."
    )
    heat: str | None = option(
        None,
        group="Output",
        metavar="CLASS",
        decides=False,
        help="Class whose probability heat.png shows; default: the positive ones.",
    )
    colours: OptionalPath = option(
        None,
        group="Output",
        decides=False,
        help="Colours of classes: annotations of slides cut, a file or a folder.",
    )


def tile_settings(model: Model, settings: MapSettings) -> CutSettings:
    """Return how tiles are cut for a model, by default like its training images; warn of another size, and of a guess.

    Raises
    ------
    InputError
        Tiles have another scale than all training images, are too small for the model, or of too many pixels.
    """
    training = TrainingLooks(model)
    if settings.scale and _is_outside(training, "mpp", settings.scale):
        text = (
            "{scale:{}}: the training images have {} micrometres a pixel; leave it out, or train on fields of this "
            "{scale}"
        )
        raise InputError(text, f"{settings.scale:g}", _in_words(training, "mpp"))
    field, scale = _field_and_scale(training, settings)
    fields = CutSettings(field=field, scale=scale, tissue=settings.tissue)
    header = ImageHeader("tile", fields.pixels, fields.pixels, "RGB", pages=1)
    tile = ImageRecord("a tile", Path("a tile"), None, mpp=scale, header=header)
    # in micrometres or, if those of training are unknown, in pixels
    what, unit = "field", "micrometres"
    if what not in training.ends:
        what, unit = "short", "pixels"
    side = getattr(tile.look, what)
    if settings.field and _is_outside(training, what, side):
        text = "tiles have {} {} a side, and the training images {}; leave {field} out, or train on such fields"
        _log.warning(Message(text, f"{side:.3g}", unit, _in_words(training, what)))
    for need in model.needs:
        misfit = need.misfit(tile, width=fields.pixels, height=fields.pixels)
        if misfit is not None:
            raise InputError(
                "{field:{}}: {}; give a larger {field}", f"{field:.4g}", limited(misfit, {"field"})
            )
    return fields


def _field_and_scale(training: TrainingLooks, settings: MapSettings) -> tuple[float, float]:
    """Return the micrometres of a tile's side and pixel, by default as in training; warn of a guess."""
    scales = training.ends.get("mpp", ())
    scale = settings.scale or _scale(scales)
    field, is_known = _field(training, scale)
    field = settings.field or field
    is_of_one_scale = bool(scales) and max(scales) / min(scales) <= 1 + ALIKE
    if not (settings.scale or is_of_one_scale) or not (settings.field or is_known):
        text = (
            "tiles have {field:{}} and {scale:{}}, a guess (training images: {} micrometres a side, {} a pixel); "
            "give those of slides cut"
        )
        looks = [_in_words(training, what) for what in ("field", "mpp")]
        _log.warning(Message(text, f"{field:.4g}", f"{scale:.4g}", *looks))
    return field, scale


def _is_outside(training: TrainingLooks, what: str, value: float) -> bool:
    """Return whether a value is below or above those of training by more than `ALIKE`; False if these are unknown."""
    least, most = training.ends.get(what, (value, value))
    return value < least * (1 - ALIKE) or value > most * (1 + ALIKE)


def _in_words(training: TrainingLooks, what: str) -> str:
    """Return the least and the largest value of training."""
    ends = training.ends.get(what, ())
    return " to ".join(dict.fromkeys(f"{end:.3g}" for end in ends)) or "unknown"


def _scale(scales: Sequence[float]) -> float:
    """Return the mean scale of training, with two digits if it stays `ALIKE`, since `cut` was given such a number."""
    mean = CutSettings.scale
    if scales:
        mean = math.sqrt(min(scales) * max(scales))
    nominal = float(f"{mean:.2g}")
    if abs(mean / nominal - 1) <= ALIKE:
        return nominal
    return float(f"{mean:.3g}")


def _field(training: TrainingLooks, scale: float) -> tuple[float, bool]:
    """Return the side of a tile in micrometres, and whether all training images have it as their shorter side."""
    if "short" not in training.ends:
        return CutSettings.field, False
    least, most = training.ends["short"]
    scales = training.ends.get("mpp", (scale,))
    # between two scales nobody knows which field is meant
    is_of_training = any(abs(scale / end - 1) <= ALIKE for end in scales)
    if least == most and is_of_training:
        return least * scale, True
    if "field" in training.ends:
        narrowest, widest = training.ends["field"]
        if widest / narrowest <= 1 + ALIKE:
            return narrowest, True
    return least * scale, False


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
        For a block, the file of its predictions, named by their key.
    mask : Path, optional
        A file of outlines of the tissue.
    areas : Areas
        Areas of the slide.
    """

    name: str
    path: Path
    mpp: float
    scale: float
    pixels: int
    corners: Sequence[tuple[int, int]]
    file: Path = Path()
    mask: Path | None = None
    areas: Areas = Areas(0)

    @classmethod
    def of(cls, file: SlideFile, settings: CutSettings) -> TileGrid:
        """Find the tiles of a slide that have enough tissue; those at its edges reach beyond it.

        Raises
        ------
        InputError
            The slide cannot be read, or it is coarser than the tiles; or outlines of its tissue do not fit.
        ImageError
            A part of the slide is damaged.
        """
        with file.open() as slide:
            scale = slide.nearest(settings.scale)
            side = settings.pixels * scale / slide.mpp
            corners = positions(slide.width, slide.height, side, edges=True)
            tissue = find_tissue(slide, file.mask)
            corners = corners[tissue_shares(tissue, corners, side) >= settings.tissue]
            if not len(corners):
                _log.warning(
                    Message(
                        "{}: no tile has enough tissue ({tissue:{}})", file.path, settings.tissue
                    )
                )
            return cls(
                file.name,
                file.path,
                slide.mpp,
                scale,
                settings.pixels,
                corners.tolist(),
                mask=file.mask,
                areas=tissue.areas,
            )

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
        """Return what was saved; None if there is nothing, or if a tile cannot be used and errors are not skipped."""
        arrays = read_pack(self.file, self.file.stem, {"trained": (None,), "unused": (None,)})
        if arrays is None:
            return None
        unused = json.loads(arrays["unused"].tobytes())
        if unused and not skip_errors:
            return None
        names = [tile.image_id for tile in self.records if tile.image_id not in unused]
        columns = [arrays[name] for name in Prediction._fields]
        return {**unused, **dict(zip(names, map(Prediction, *columns), strict=True))}


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
    if grid.mask is not None:
        # the map of other outlines is another one, even of the same tiles
        decides["tissue"] = file_sha256(grid.mask)
    for start in range(0, len(grid.corners), _MOST_TILES):
        corners = grid.corners[start : start + _MOST_TILES]
        key = key_of(
            _KIND,
            mpp=grid.mpp,
            scale=grid.scale,
            pixels=grid.pixels,
            corners=corners,
            **decides,
        )
        yield replace(grid, corners=corners, file=folder / f"{key}.npz")


def first_tile(grids: Sequence[TileGrid]) -> Iterator[ImageRecord]:
    """Yield the first tile of each slide as an image."""
    for grid in grids:
        with Slide(grid.path, mpp=grid.mpp) as slide:
            first = replace(grid, corners=grid.corners[:1])
            records, _ = _read(slide, first, skip=True)
        yield from records


def predict_tiles(
    prediction: PredictBlock, blocks: tuple[TileGrid, ...], ticker: Ticker
) -> Results:
    """Predict and save a block, in any process, and return what is saved.

    Tiles are read while those before them are predicted.

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
    with Slide(block.path, mpp=block.mpp) as slide:
        reader = functools.partial(_read, slide, skip=skip)
        helpers = helpers_of(model)
        for records, failures in in_threads(reader, parts, threads=1):
            ticker.tick(model.steps * len(failures))
            results |= dict(failures)
            results |= predict_records(
                model, records, ticker=ticker, skip_errors=skip, helpers=helpers
            )
    block.save(results)
    return results


def _read(slide: Slide, tiles: TileGrid, *, skip: bool) -> tuple[list[ImageRecord], Failures]:
    """Return tiles as images, and the tiles that cannot be read, with the reasons."""
    records = []
    failures = Failures()
    for number, record in enumerate(tiles.records):
        name = record.image_id
        with leaving_out(name, failures, skip=skip):
            image = given_record(tiles.read(slide, number), name)
            records.append(replace(image, mpp=tiles.scale))
    return records, failures
