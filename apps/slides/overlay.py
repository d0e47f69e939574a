"""The map of a slide: predictions of tiles in a grid, as a picture, a table and a page, and as QuPath imports them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import predict
from ...core.formats import Floats, Integers, Pixels
from ...core.jobs import atomic_output, write_json
from ...core.models import bundle_lines
from ...evaluate import positive_mask, two_class_scores, write_predictions
from ...evaluate.report import render_page, thumbnail
from ..explain import font_of, outline
from .slide import Slide
from .tiles import TileGrid
from .tissue import Tissue, find_tissue

if TYPE_CHECKING:
    from PIL import Image

_PALETTE = ("56b4e9", "d55e00", "009e73", "f0e442", "cc79a7", "0072b2", "e69f00", "6e6e6e")
"""Colours that people with any colour vision tell apart (Okabe and Ito 2008, jfly.uni-koeln.de/color), and grey."""

_SURE = 0.5
"""Share of the colour of a class in that of a tile; the rest is the tissue."""

_UNSURE = 0.2
"""The same in an uncertain tile."""

_LETTER = 20
"""Size of letters of the legend, in pixels."""

_LINE = 30
"""Height of a line of the legend, in pixels."""

_MARGIN = 10
"""Margin of the legend, in pixels."""

_PICTURE = 1600
"""Longest side of the map on the page, in pixels."""

_UNKNOWN = (
    "NOT KNOWN TO BE NEW: other fields of this slide may have trained the model; "
    "keep slides that trained it apart"
)
"""The banner of a slide of which no tile is a field that trained the model."""

Point = predict.OperatingPoint | None


@dataclass(frozen=True, eq=False)
class TileMap:
    """The predictions of the tiles of a slide.

    Attributes
    ----------
    slide : Slide
    grid : TileGrid
        The tiles that could be used.
    area : float
        Of tissue, mm2.
    shown : Tabulated
        The predictions.
    tiles : sequence of SheetRow
        What a report says of each tile.
    """

    slide: Slide
    grid: TileGrid
    area: float
    shown: predict.Tabulated
    tiles: Sequence[predict.SheetRow]

    @property
    def side(self) -> float:
        """Side of a tile, pixels of level 0."""
        return self.grid.pixels * self.grid.scale / self.slide.mpp

    @functools.cached_property
    def colours(self) -> dict[str, tuple[int, ...]]:
        """The colour of each class, RGB."""
        return {
            name: tuple(bytes.fromhex(_PALETTE[position % len(_PALETTE)]))
            for position, name in enumerate(self.shown.table.classes)
        }

    @property
    def shares(self) -> dict[str, float]:
        """Share of the tiles of each class, 0 to 1."""
        predicted = self.shown.table.answers.predicted
        return {name: predicted.count(name) / max(1, len(predicted)) for name in self.colours}

    @property
    def marks(self) -> dict[str, list[bool]]:
        """Whether each tile is ``uncertain``, and ``unlike training``; only what the model has rules for."""
        marks = {}
        unsure = self.shown.table.answers.unsure
        if self.tiles and unsure is not None:
            marks["uncertain"] = unsure.tolist()
        if self.tiles and self.shown.outliers is not None:
            marks["unlike training"] = self.shown.outliers.marked.tolist()
        return marks

    @property
    def places(self) -> Integers:
        """Column and row of each tile, int64 of shape (tiles, 2)."""
        return np.rint(np.array(self.grid.corners).reshape(-1, 2) / self.side).astype(np.int64)

    @property
    def lattice(self) -> Integers:
        """The number of the tile in each row and column, -1 without one."""
        columns, rows = self.places.T
        numbers = np.full((rows.max(initial=0) + 1, columns.max(initial=0) + 1), -1)
        numbers[rows, columns] = range(len(rows))
        return numbers

    def point(self, column: int, row: int) -> tuple[int, int]:
        """Return where a column and a row begin, on the slide, pixels of level 0."""
        x = min(round(column * self.side), self.slide.width)
        y = min(round(row * self.side), self.slide.height)
        return x, y

    def tile_features(self) -> Iterator[dict[str, Any]]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        marks = self.marks
        probabilities = self.shown.raw.tolist()
        for number, ((x, y), tile) in enumerate(zip(self.places.tolist(), self.tiles, strict=True)):
            corners = ((x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y))
            ring = [self.point(*corner) for corner in corners]
            measured = {
                f"p {name}": share
                for name, share in zip(self.colours, probabilities[number], strict=True)
            }
            measured |= {name: float(marked[number]) for name, marked in marks.items()}
            yield self._feature("tile", [ring], tile.predicted, measured)

    def region_features(self) -> Iterator[dict[str, Any]]:
        """Yield each region of tiles of one class that share edges as a GeoJSON feature, with holes."""
        import cv2

        lattice = self.lattice
        predicted = np.array(self.shown.table.answers.predicted)
        for column, name in enumerate(self.colours):
            is_of_class = np.isin(lattice, np.flatnonzero(predicted == name)).astype(np.uint8)
            count, numbers = cv2.connectedComponents(is_of_class, connectivity=4)
            for number in range(1, count):
                inside = numbers == number
                rings = [[self.point(x, y) for x, y in ring] for ring in outline(inside)]
                mean = float(self.shown.raw[lattice[inside], column].mean())
                measured = {"tiles": int(inside.sum()), "mean p": mean}
                yield self._feature("annotation", rings, name, measured)

    def _feature(
        self, kind: str, rings: Sequence[Any], name: str, measured: Mapping[str, float]
    ) -> dict[str, Any]:
        """Return a feature in QuPath's form; a class of QuPath needs both name and colour.

        References
        ----------
        RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
        """
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": kind,
                "classification": {"name": name, "color": self.colours[name]},
                "measurements": measured,
            },
        }

    def scores(self, point: Point) -> dict[str, Floats]:
        """Return the probabilities of the slide by each rule, float64 of shape (classes,); NaN without tiles.

        ``mean`` is the mean over the tiles. Two rules need positive classes. Their scores are the share of tiles that
        are positive at the operating point (``share``), and the largest score of a tile when each is the mean of itself
        and its up to eight neighbours (``peak``). Within the positive and the negative side, classes are as in `mean`.

        References
        ----------
        Coudray et al., Nat. Med. 24 (2018) 1559 (mean, share); Campanella et al., Nat. Med. 25 (2019) 1301 (largest).
        """
        if not self.tiles:
            return {"mean": np.full(len(self.colours), np.nan)}
        raw = self.shown.raw
        mean = raw.mean(axis=0)
        scores = {"mean": mean}
        if point is None:
            return scores
        mask = positive_mask(point.classes, point.positive)
        # what each class has of its side; a tiny number, so that a side whose mean is 0 has shares, too
        sides = [np.where(side, mean + 1e-12, 0.0) for side in (mask, ~mask)]
        positive, negative = (side / side.sum() for side in sides)
        of_tiles = two_class_scores(raw, mask, rule=point.rule)
        share = point.is_positive(raw, self.shown.table.answers.numbers).mean()
        peak = self._neighbour_means(of_tiles).max()
        for rule, score in (("share", share), ("peak", peak)):
            scores[rule] = score * positive + (1 - score) * negative
        return scores

    def _neighbour_means(self, values: Floats) -> Floats:
        """Return the mean of the value of each tile and those of its up to eight neighbours, row by row."""
        import cv2

        lattice = self.lattice
        has_tile = (lattice >= 0).astype(np.float64)
        sums, counts = (
            cv2.blur(cells, (3, 3), borderType=cv2.BORDER_CONSTANT)
            for cells in (values[lattice] * has_tile, has_tile)
        )
        means = sums / np.maximum(counts, 1e-9)
        return np.asarray(means[lattice >= 0])

    def draw(self, tissue: Tissue, path: Path) -> str:
        """Draw the tiles over a picture of the slide, with a legend below, as PNG; return it as a data address."""
        page = self._with_legend(self._coloured(tissue))
        with atomic_output(path) as temporary:
            page.save(temporary, format="PNG")
        return thumbnail(np.asarray(page), side=_PICTURE)

    def _coloured(self, tissue: Tissue) -> Pixels:
        """Return a picture of the slide in which each tile has the colour of its class."""
        from PIL import Image

        zoom = max(1, _PICTURE // max(tissue.mask.shape))
        picture = Image.fromarray(tissue.picture)
        picture = picture.resize((picture.width * zoom, picture.height * zoom))
        pixels = np.array(picture, np.float32)
        for (x, y), tile in zip(self.places.tolist(), self.tiles, strict=True):
            ends = (*self.point(x, y), *self.point(x + 1, y + 1))
            left, top, right, bottom = (round(end * zoom / tissue.factor) for end in ends)
            covered = pixels[top:bottom, left:right]
            share = _UNSURE if tile.uncertain else _SURE
            covered += share * (np.array(self.colours[tile.predicted]) - covered)
        return np.rint(pixels).astype(np.uint8)

    def _with_legend(self, pixels: Pixels) -> Image.Image:
        """Return a picture with the share of the tiles of each class below."""
        from PIL import Image, ImageDraw

        lines = [f"{name}: {100 * share:.1f} %" for name, share in self.shares.items()]
        font = font_of(_LETTER)
        words = round(max(map(font.getlength, lines)))
        height, width = pixels.shape[:2]
        size = (
            max(width, words + _LINE + 2 * _MARGIN),
            height + _LINE * len(lines) + 2 * _MARGIN,
        )
        page = Image.new("RGB", size, (255, 255, 255))
        page.paste(Image.fromarray(pixels), (0, 0))
        pen = ImageDraw.Draw(page)
        top = height + _MARGIN
        for line, colour in zip(lines, self.colours.values(), strict=True):
            page.paste(colour, (_MARGIN, top, _MARGIN + _LETTER, top + _LETTER))
            pen.text((_MARGIN + _LINE, top - 2), line, fill=(0, 0, 0), font=font)
            top += _LINE
        return page

    def write_tiles(self, path: Path) -> None:
        """Write the predictions of the tiles as a table, with their places."""
        table = self.shown.table
        corners = self.grid.corners
        further = [
            *table.further,
            ("x", [str(x) for x, _ in corners]),
            ("y", [str(y) for _, y in corners]),
            ("size", [f"{self.side:.6g}"] * len(corners)),
        ]
        replace(table, further=further).finish(path, overwrite=True)


def write_map(
    folder: Path, grid: TileGrid, results: predict.Results, model: predict.Predicted, point: Point
) -> TileMap:
    """Write ``tiles.csv``, ``map.png``, ``tiles.geojson``, ``regions.geojson`` and ``index.html`` of a slide.

    Parameters
    ----------
    folder : Path
    grid : TileGrid
    results : dict
        Of the tiles of all slides.
    model : Predicted
        The model, without images.
    point : OperatingPoint or None
    """
    names = [tile.image_id for tile in grid.records]
    predicted = model._replace(
        records=grid.records, results={name: results[name] for name in names}
    )
    shown = _tabulate(predicted, grid.name, point)
    tiles = sorted(predict.sheet_rows(shown), key=lambda tile: tile.place)
    usable = [
        corner
        for corner, name in zip(grid.corners, names, strict=True)
        if name not in shown.failures
    ]
    with Slide(grid.path, mpp=grid.mpp) as slide:
        tissue = find_tissue(slide, grid.mask)
        tile_map = TileMap(slide, replace(grid, corners=usable), tissue.area, shown, tiles)
        render_page(
            folder / "index.html",
            "map.html",
            package=__package__,
            style="cut.css",
            script="",
            tile_map=tile_map,
            picture=tile_map.draw(tissue, folder / "map.png"),
            facts=bundle_lines(model.bundle, model.sha256),
            thumbnail=thumbnail,
        )
    tile_map.write_tiles(folder / "tiles.csv")
    _write_features(folder / "tiles.geojson", tile_map.tile_features())
    _write_features(folder / "regions.geojson", tile_map.region_features())
    return tile_map


def _tabulate(predicted: predict.Predicted, slide: str, point: Point) -> predict.Tabulated:
    """Return the predictions of tiles with the banners of their slide."""
    shown = predict.tabulate(predicted, settings=predict.PredictSettings(), point=point)
    banners = [text.replace("IN TRAINING:", f"IN TRAINING: {slide}:") for text in shown.banners]
    if not any(shown.trained):
        banners.append(_UNKNOWN)
    return replace(shown, banners=tuple(banners))


def _write_features(path: Path, features: Iterable[Mapping[str, Any]]) -> None:
    write_json(path, {"type": "FeatureCollection", "features": list(features)})


def write_table(
    path: Path,
    maps: Sequence[TileMap],
    point: Point,
    labels: Mapping[str, str],
    groups: Mapping[str, str],
) -> None:
    """Write a row for each slide and rule, with the rule in the column ``model``, which `bchisto.evaluate` reads.

    Parameters
    ----------
    path : Path
    maps : sequence of TileMap
    point : OperatingPoint or None
    labels, groups : mapping of str to str
        By the name of the slide. A row of a slide without tiles has no label: it is not evaluated. ``trained`` is empty
        if no tile is known, since other fields of the slide may have trained the model.
    """
    rows = []
    probabilities = []
    further = []
    for tile_map in maps:
        name = tile_map.grid.name
        label = labels.get(name, "") if tile_map.tiles else ""
        trained = "yes" if any(tile_map.shown.trained) else ""
        for rule, scores in tile_map.scores(point).items():
            rows.append((name, label, groups[name], ""))
            probabilities.append(scores)
            further.append((rule, trained, f"{tile_map.area:.4g}", len(tile_map.tiles)))
    names = ("model", "trained", "tissue_mm2", "tiles")
    write_predictions(
        path,
        classes=[*maps[0].colours],
        rows=rows,
        probabilities=np.array(probabilities),
        extra=list(zip(names, zip(*further, strict=True), strict=True)),
    )
