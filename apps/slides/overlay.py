"""The map of a slide: predictions of tiles in a grid, as a picture, a table and a page, and as QuPath imports them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ... import predict
from ...core.jobs import atomic_output, write_json
from ...core.models import bundle_lines
from ...evaluate import positive_mask, two_class_scores, write_predictions
from ...evaluate.report import render_page, thumbnail
from ..explain import font_of, outline
from .grid import Tissue, find_tissue
from .slide import Slide
from .tiles import Results, TileGrid

_PALETTE = ("56b4e9", "d55e00", "009e73", "f0e442", "cc79a7", "0072b2", "e69f00", "6e6e6e")
"""Colours that people with any colour vision tell apart (Okabe and Ito 2008, jfly.uni-koeln.de/color), and grey."""

_SURE, _UNSURE = 0.5, 0.2
"""Shares of the colour of a class in that of a tile; the rest is the tissue."""

_SIZE, _STEP, _GAP = 20, 30, 10
"""Size of letters, height of a line, and margin of the legend, in pixels."""

_PICTURE = 1600
"""Longest side of the map on the page, in pixels."""

_UNKNOWN = (
    "NOT KNOWN TO BE NEW: other fields of this slide may have trained the model; "
    "keep slides that trained it apart"
)
"""The banner of a slide of which no tile is a field that trained the model."""

Point = predict.OperatingPoint | None


class TileMap(NamedTuple):
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

    @property
    def colours(self) -> dict[str, tuple[int, ...]]:
        """The colour of each class, RGB."""
        classes = self.shown.table.classes
        return {
            name: tuple(bytes.fromhex(_PALETTE[at % len(_PALETTE)]))
            for at, name in enumerate(classes)
        }

    @property
    def shares(self) -> dict[str, float]:
        """Share of the tiles of each class, 0 to 1."""
        predicted = self.shown.table.predicted
        return {name: predicted.count(name) / max(1, len(predicted)) for name in self.colours}

    @property
    def marks(self) -> dict[str, list[bool]]:
        """Whether each tile is ``uncertain``, and ``unlike training``; only what the model has rules for."""
        unsure = [bool(tile.unsure) for tile in self.tiles if tile.unsure is not None]
        unlike = [] if self.shown.outliers is None else self.shown.outliers.marked.tolist()
        return {
            name: marked
            for name, marked in (("uncertain", unsure), ("unlike training", unlike))
            if marked
        }

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Column and row of each tile, int64 of shape (tiles, 2)."""
        return np.rint(np.array(self.grid.corners).reshape(-1, 2) / self.side).astype(np.int64)

    @property
    def lattice(self) -> npt.NDArray[np.int64]:
        """The number of the tile in each row and column, -1 without one."""
        columns, rows = self.places.T
        numbers = np.full((rows.max(initial=0) + 1, columns.max(initial=0) + 1), -1)
        numbers[rows, columns] = range(len(rows))
        return numbers

    def point(self, column: int, row: int) -> tuple[int, int]:
        """Return where a column and a row begin, on the slide, pixels of level 0."""
        return min(round(column * self.side), self.slide.width), min(
            round(row * self.side), self.slide.height
        )

    def tile_features(self) -> Iterator[dict[str, Any]]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        marks, raw = self.marks, self.shown.raw
        for place, ((x, y), tile) in enumerate(zip(self.places.tolist(), self.tiles, strict=True)):
            ring = [self.point(x + a, y + b) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
            measured = {
                f"p {name}": share
                for name, share in zip(self.colours, raw[place].tolist(), strict=True)
            }
            measured |= {name: float(marked[place]) for name, marked in marks.items()}
            yield self._feature("tile", [ring], tile.predicted, measured)

    def region_features(self) -> Iterator[dict[str, Any]]:
        """Yield each region of tiles of one class that share edges as a GeoJSON feature, with holes."""
        import cv2

        lattice, predicted = self.lattice, np.array(self.shown.table.predicted)
        for kind, name in enumerate(self.colours):
            own = np.isin(lattice, np.flatnonzero(predicted == name)).astype(np.uint8)
            count, parts = cv2.connectedComponents(own, connectivity=4)
            for part in range(1, count):
                rings = [[self.point(x, y) for x, y in ring] for ring in outline(parts == part)]
                mean = float(self.shown.raw[lattice[parts == part], kind].mean())
                yield self._feature(
                    "annotation", rings, name, {"tiles": int((parts == part).sum()), "mean p": mean}
                )

    def _feature(
        self, kind: str, rings: Sequence[Any], name: str, measured: Mapping[str, float]
    ) -> dict[str, Any]:
        """Return a feature in QuPath's form; a class of QuPath needs both name and colour.

        References
        ----------
        RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
        """
        named = {"name": name, "color": self.colours[name]}
        properties = {"objectType": kind, "classification": named, "measurements": measured}
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": properties,
        }

    def scores(self, point: Point) -> dict[str, npt.NDArray[np.float64]]:
        """Return the probabilities of the slide by each rule, float64 of shape (classes,); NaN without tiles.

        ``mean`` is the mean over the tiles. Two rules need positive classes. Their scores are the share of tiles that
        are positive at the operating point (``share``), and the largest score of a tile when each is the mean of itself
        and its up to eight neighbours (``peak``). Within the positive and the negative side, classes are as in `mean`.

        References
        ----------
        Coudray et al., Nat. Med. 24 (2018) 1559 (mean, share); Campanella et al., Nat. Med. 25 (2019) 1301 (largest).
        """
        import cv2

        raw, lattice, there = self.shown.raw, self.lattice, (self.lattice >= 0).astype(np.float64)
        if not self.tiles:
            return {"mean": np.full(len(self.colours), np.nan)}
        scores = {"mean": raw.mean(axis=0)}
        if point is not None:
            mask = positive_mask(point.classes, point.positive)
            values = two_class_scores(raw, mask, rule=point.rule)[lattice] * there
            sums, counts = (
                cv2.blur(of, (3, 3), borderType=cv2.BORDER_CONSTANT) for of in (values, there)
            )
            share, peak = (
                point.is_positive(raw).mean(),
                (sums / np.maximum(counts, 1e-9))[lattice >= 0].max(),
            )
            sides = [np.where(side, scores["mean"] + 1e-12, 0.0) for side in (mask, ~mask)]
            positive, negative = (side / side.sum() for side in sides)
            scores |= {
                name: of * positive + (1 - of) * negative
                for name, of in (("share", share), ("peak", peak))
            }
        return scores

    def draw(self, tissue: Tissue, path: Path) -> str:
        """Draw the tiles over a picture of the slide, with a legend below, as PNG; return it as a data address."""
        from PIL import Image, ImageDraw

        picture, zoom = Image.fromarray(tissue.picture), max(1, _PICTURE // max(tissue.mask.shape))
        shown = np.array(picture.resize((picture.width * zoom, picture.height * zoom)), np.float32)
        for (x, y), tile in zip(self.places.tolist(), self.tiles, strict=True):
            ends = (*self.point(x, y), *self.point(x + 1, y + 1))
            left, top, right, bottom = (round(end * zoom / tissue.factor) for end in ends)
            covered = shown[top:bottom, left:right]
            covered += (_UNSURE if tile.unsure else _SURE) * (
                np.array(self.colours[tile.predicted]) - covered
            )
        lines, font = (
            [f"{name}: {100 * share:.1f} %" for name, share in self.shares.items()],
            font_of(_SIZE),
        )
        (height, width), words = shown.shape[:2], round(max(map(font.getlength, lines)))
        size = max(width, words + _STEP + 2 * _GAP), height + _STEP * len(lines) + 2 * _GAP
        page = Image.new("RGB", size, (255, 255, 255))
        page.paste(Image.fromarray(np.rint(shown).astype(np.uint8)), (0, 0))
        for place, (line, colour) in enumerate(zip(lines, self.colours.values(), strict=True)):
            top = height + _GAP + place * _STEP
            page.paste(colour, (_GAP, top, _GAP + _SIZE, top + _SIZE))
            ImageDraw.Draw(page).text((_GAP + _STEP, top - 2), line, fill=(0, 0, 0), font=font)
        with atomic_output(path) as temporary:
            page.save(temporary, format="PNG")
        return thumbnail(np.asarray(page), side=_PICTURE)


def write_map(
    folder: Path, grid: TileGrid, results: Results, of: predict.Predicted, point: Point
) -> TileMap:
    """Write ``tiles.csv``, ``map.png``, ``tiles.geojson``, ``regions.geojson`` and ``index.html`` of a slide.

    Parameters
    ----------
    folder : Path
    grid : TileGrid
    results : dict
        Of the tiles of all slides.
    of : Predicted
        The model, without images.
    point : OperatingPoint or None
    """
    names = [tile.image_id for tile in grid.records]
    predicted = of._replace(records=grid.records, results={name: results[name] for name in names})
    shown = predict.tabulate(predicted, settings=predict.PredictSettings(), point=point)
    banners = [text.replace("IN TRAINING:", f"IN TRAINING: {grid.name}:") for text in shown.banners]
    shown = replace(shown, banners=(*banners, *(() if any(shown.trained) else [_UNKNOWN])))
    tiles = sorted(predict.sheet_rows(shown, predicted), key=lambda tile: tile.place)
    usable = [
        corner
        for corner, name in zip(grid.corners, names, strict=True)
        if name not in shown.failures
    ]
    with Slide(grid.path, mpp=grid.mpp) as slide:
        tissue = find_tissue(slide)
        overlay = TileMap(slide, replace(grid, corners=usable), tissue.area, shown, tiles)
        drawn, facts = overlay.draw(tissue, folder / "map.png"), bundle_lines(of.bundle, of.sha256)
        values: dict[str, Any] = {
            "it": overlay,
            "picture": drawn,
            "facts": facts,
            "thumbnail": thumbnail,
        }
        render_page(
            folder / "index.html",
            "map.html",
            package=__package__,
            style="cut.css",
            script="",
            **values,
        )
    unsure = ["" if tile.unsure is None else "yes" if tile.unsure else "no" for tile in tiles]
    corners = [(name, [str(corner[axis]) for corner in usable]) for axis, name in enumerate("xy")]
    further = [
        *shown.table.further,
        ("uncertain", unsure),
        *corners,
        ("size", [f"{overlay.side:.6g}"] * len(usable)),
    ]
    replace(shown.table, further=further).finish(folder / "tiles.csv", overwrite=True)
    for name, features in (
        ("tiles", overlay.tile_features()),
        ("regions", overlay.region_features()),
    ):
        write_json(
            folder / f"{name}.geojson", {"type": "FeatureCollection", "features": list(features)}
        )
    return overlay


def write_table(
    path: Path, maps: Sequence[TileMap], point: Point, known: Sequence[Mapping[str, str]]
) -> None:
    """Write a row for each slide and rule, with the rule in the column ``model``, which `bchisto.evaluate` reads.

    Parameters
    ----------
    path : Path
    maps : sequence of TileMap
    point : OperatingPoint or None
    known : two mappings of str to str
        Labels, and groups, by the name of the slide. A row of a slide without tiles has no label: it is not evaluated.
        ``trained`` is empty if no tile is known, since other fields of the slide may have trained the model.
    """
    labels, groups = known
    rows = [
        (each.grid.name, each, rule, score)
        for each in maps
        for rule, score in each.scores(point).items()
    ]
    ids = [
        (name, labels.get(name, "") if each.tiles else "", groups[name], "")
        for name, each, _, _ in rows
    ]
    seen = {each.grid.name: "yes" if any(each.shown.trained) else "" for each in maps}
    cells = [
        (rule, seen[name], f"{each.area:.4g}", len(each.tiles)) for name, each, rule, _ in rows
    ]
    extra = list(
        zip(("model", "trained", "tissue_mm2", "tiles"), zip(*cells, strict=True), strict=True)
    )
    scores = np.array([score for *_, score in rows])
    write_predictions(path, classes=[*maps[0].colours], rows=ids, probabilities=scores, extra=extra)
