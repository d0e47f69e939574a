"""The map of a slide: predictions of tiles in a grid, as a picture, a table and a page, and as QuPath imports them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import predict
from ...core import counted
from ...core.formats import Floats, Integers, Pixels
from ...core.jobs import atomic_output, json_text
from ...evaluate import positive_mask, two_class_scores
from ..explain import geojson_feature, joined
from .annotation_files import Colour, tile_feature
from .colours import Colouring
from .drawing import paint_tiles, with_legend
from .slide import Slide
from .tiles import TileGrid
from .tissue import Overview

_SURE = 0.5
"""Share of the colour of a class in that of a tile; the rest is the tissue."""

_UNSURE = 0.2
"""The same in an uncertain tile."""

_WHITE = (255, 255, 255)

Point = predict.OperatingPoint | None


@dataclass(frozen=True, eq=False)
class TileMap:
    """The predictions of the tiles of a slide.

    Attributes
    ----------
    slide : Slide
    grid : TileGrid
        The tiles that could be used.
    shown : Tabulated
        The predictions.
    tiles : sequence of SheetRow
        What a report says of each tile.
    colouring : Colouring
    """

    slide: Slide
    grid: TileGrid
    shown: predict.Tabulated
    tiles: Sequence[predict.SheetRow]
    colouring: Colouring

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

    def on_slide(self, places: Integers) -> Integers:
        """Return where columns and rows begin, on the slide, pixels of level 0; both of shape (places, 2)."""
        ends = (self.slide.width, self.slide.height)
        return np.asarray(np.minimum(np.rint(places * self.side), ends), np.int64)

    @property
    def boxes(self) -> Integers:
        """Left, top, right and bottom of each tile on the slide, pixels of level 0, int64 of shape (tiles, 4)."""
        places = self.places
        return np.hstack([self.on_slide(places), self.on_slide(places + 1)])

    def tile_features(self) -> Iterator[dict[str, Any]]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        marks = self.marks
        names = [f"p {name}" for name in self.colours]
        tiles = zip(self.boxes.tolist(), self.tiles, self.shown.raw.tolist(), strict=True)
        for number, (box, tile, shares) in enumerate(tiles):
            measured = dict(zip(names, shares, strict=True))
            measured |= {name: float(marked[number]) for name, marked in marks.items()}
            named = {"name": tile.predicted, "color": self.colours[tile.predicted]}
            yield tile_feature(box, measured, classification=named)

    def region_features(self) -> Iterator[dict[str, Any]]:
        """Yield each region of tiles of one class that share edges as a GeoJSON feature, with holes."""
        import shapely

        tree = shapely.STRtree(shapely.box(*self.boxes.T))
        for column, (name, colour) in enumerate(self.colours.items()):
            own = self.boxes[self.shown.table.answers.numbers == column]
            for region in shapely.get_parts(joined(own)):
                inside = np.sort(tree.query(region, predicate="covers"))
                mean = float(self.shown.raw[inside, column].mean())
                measured = {"tiles": len(inside), "mean p": mean}
                named = {"name": name, "color": colour}
                yield geojson_feature("annotation", region, measured, classification=named)

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
        has_tile = lattice >= 0
        sums, counts = (
            cv2.blur(cells * has_tile, (3, 3), borderType=cv2.BORDER_CONSTANT)[has_tile]
            for cells in (values[lattice], np.ones(lattice.shape))
        )
        return np.asarray(sums / counts)

    def draw(self, overview: Overview) -> Pixels:
        """Draw each tile in the colour of its class over the slide, with a legend below."""
        shares = np.array([_UNSURE if tile.uncertain else _SURE for tile in self.tiles])
        colours = np.array([self.colours[tile.predicted] for tile in self.tiles], np.uint8)
        pixels = paint_tiles(overview, self.boxes, colours, shares)
        lines = [
            (f"{name}: {100 * share:.1f} %", self.colours[name])
            for name, share in self.shares.items()
        ]
        if "uncertain" in self.marks:
            unsure = sum(self.marks["uncertain"])
            lines.append((f"paler: {counted(unsure, 'uncertain tile')}", _WHITE))
        return with_legend(pixels, lines)

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


def write_features(path: Path, features: Iterable[Mapping[str, Any]]) -> None:
    """Write features as GeoJSON, one after the other, since there may be very many."""
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write('{"type": "FeatureCollection", "features": [')
        between = "\n"
        for feature in features:
            handle.write(f"{between}{json_text(feature)}")
            between = ",\n"
        handle.write("\n]}\n")
