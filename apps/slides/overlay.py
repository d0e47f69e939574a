"""The map of a slide: predictions of tiles in a grid, as a picture, a table and a page, and as QuPath imports them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import predict
from ...core import counted
from ...core.formats import Floats, Integers
from ...core.jobs import atomic_output, json_text
from ...core.models import bundle_lines
from ...evaluate import positive_mask, two_class_scores, write_predictions
from ...evaluate.report import render_page, thumbnail
from ..explain import outline
from .annotation_files import Colour
from .colours import Colouring
from .drawing import draw_heat, paint_tiles, with_legend, write_picture
from .slide import Slide
from .tiles import TileGrid
from .tissue import Tissue, find_tissue

if TYPE_CHECKING:
    from PIL import Image

_SURE = 0.5
"""Share of the colour of a class in that of a tile; the rest is the tissue."""

_UNSURE = 0.2
"""The same in an uncertain tile."""

_WHITE = (255, 255, 255)

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
    colouring : Colouring
    """

    slide: Slide
    grid: TileGrid
    area: float
    shown: predict.Tabulated
    tiles: Sequence[predict.SheetRow]
    colouring: Colouring = Colouring()

    @property
    def side(self) -> float:
        """Side of a tile, pixels of level 0."""
        return self.grid.pixels * self.grid.scale / self.slide.mpp

    @functools.cached_property
    def colours(self) -> dict[str, Colour]:
        """The colour of each class."""
        return self.colouring.of_classes(self.shown.table.classes)

    @property
    def heat(self) -> Floats:
        """What is drawn as heat of each tile, 0 to 1, float64 of shape (tiles,)."""
        mask = positive_mask(tuple(self.colours), self.colouring.heat)
        return two_class_scores(self.shown.raw, mask, rule=self.colouring.rule)

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

    @property
    def boxes(self) -> Integers:
        """Left, top, right and bottom of each tile on the slide, pixels of level 0, int64 of shape (tiles, 4)."""
        boxes = [(*self.point(x, y), *self.point(x + 1, y + 1)) for x, y in self.places.tolist()]
        return np.array(boxes, np.int64).reshape(-1, 4)

    def tile_features(self) -> Iterator[dict[str, Any]]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        marks = self.marks
        probabilities = self.shown.raw.tolist()
        tiles = zip(self.boxes.tolist(), self.tiles, strict=True)
        for number, ((left, top, right, bottom), tile) in enumerate(tiles):
            ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
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
            _, numbers, boxes, _ = cv2.connectedComponentsWithStats(is_of_class, connectivity=4)
            # the first is what is not of the class
            for number, (left, top, width, height, _) in enumerate(boxes[1:].tolist(), start=1):
                around = np.s_[top : top + height, left : left + width]
                inside = numbers[around] == number
                rings = [
                    [self.point(left + x, top + y) for x, y in ring] for ring in outline(inside)
                ]
                mean = float(self.shown.raw[lattice[around][inside], column].mean())
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

    def draw(self, tissue: Tissue) -> Image.Image:
        """Draw each tile in the colour of its class over the slide, with a legend below."""
        shares = np.array([_UNSURE if tile.uncertain else _SURE for tile in self.tiles])
        colours = np.array([self.colours[tile.predicted] for tile in self.tiles], np.uint8)
        pixels = paint_tiles(tissue, self.boxes, colours, shares)
        lines = [
            (f"{name}: {100 * share:.1f} %", self.colours[name])
            for name, share in self.shares.items()
        ]
        if "uncertain" in self.marks:
            unsure = sum(self.marks["uncertain"])
            lines.append((f"paler: {counted(unsure, 'uncertain tile')}", _WHITE))
        return with_legend(pixels, lines)

    def draw_heat(self, tissue: Tissue) -> Image.Image:
        """Draw the heat of each tile over the slide, with its colour bar below."""
        return draw_heat(tissue, self.boxes, self.heat, self.colouring.title)

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
    folder: Path,
    grid: TileGrid,
    results: predict.Results,
    model: predict.Predicted,
    point: Point,
    colouring: Colouring,
) -> TileMap:
    """Write the table, the pictures, the files for QuPath and the page of a slide.

    Parameters
    ----------
    folder : Path
    grid : TileGrid
    results : dict
        Of the tiles of all slides.
    model : Predicted
        The model, without images.
    point : OperatingPoint or None
    colouring : Colouring
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
        usable_grid = replace(grid, corners=usable)
        tile_map = TileMap(slide, usable_grid, tissue.area, shown, tiles, colouring)
        tile_map.write_tiles(folder / "tiles.csv")
        _write_features(folder / "tiles.geojson", tile_map.tile_features())
        _write_features(folder / "regions.geojson", tile_map.region_features())
        # the page at last, since it tells how all are coloured
        render_page(
            folder / "index.html",
            "map.html",
            package=__package__,
            style="cut.css",
            script="",
            tile_map=tile_map,
            picture=write_picture(folder / "map.png", tile_map.draw(tissue)),
            heat=write_picture(folder / "heat.png", tile_map.draw_heat(tissue)),
            facts=bundle_lines(model.bundle, model.sha256),
            thumbnail=thumbnail,
        )
    return tile_map


def _tabulate(predicted: predict.Predicted, slide: str, point: Point) -> predict.Tabulated:
    """Return the predictions of tiles with the banners of their slide."""
    shown = predict.tabulate(predicted, settings=predict.PredictSettings(), point=point)
    banners = [text.replace("IN TRAINING:", f"IN TRAINING: {slide}:") for text in shown.banners]
    if not any(shown.trained):
        banners.append(_UNKNOWN)
    return replace(shown, banners=tuple(banners))


def _write_features(path: Path, features: Iterable[Mapping[str, Any]]) -> None:
    """Write features as GeoJSON, one after the other, since there may be very many."""
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write('{"type": "FeatureCollection", "features": [')
        between = "\n"
        for feature in features:
            handle.write(f"{between}{json_text(feature)}")
            between = ",\n"
        handle.write("\n]}\n")


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
