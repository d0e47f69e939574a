"""The map of a slide: predictions of tiles in a grid, as a picture, a table and a page, and as QuPath imports them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core import Content, InputError, counted, few, one_of
from ...core.formats import Floats, Integers, Pixels
from ...core.jobs import geojson_feature, joined_boxes
from ...data import match_class
from ...evaluate import default_positive, positive_mask, two_class_scores
from ...evaluate.report import thumbnail
from ...predict import OperatingPoint, SheetRow, Tabulated
from ..explain import rendered, stacked, with_bar, write_image
from .annotation_files import Colour, class_colours, tile_feature
from .slide import Slide
from .tiles import MapSettings, TileGrid
from .tissue import Overview

_SURE = 0.5
"""Share of the colour of a class in that of a tile; the rest is the tissue."""

_UNSURE = 0.2
"""Share of the colour in an uncertain tile."""

_WHITE = (255, 255, 255)

Point = OperatingPoint | None


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
        The row of a report for each tile.
    colouring : Colouring
    """

    slide: Slide
    grid: TileGrid
    shown: Tabulated
    tiles: Sequence[SheetRow]
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
        """The value of each tile that is drawn as heat, 0 to 1, float64 of shape (tiles,)."""
        mask = positive_mask(tuple(self.colours), self.colouring.heat)
        return two_class_scores(self.shown.raw, mask, rule=self.colouring.rule)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the tiles of each class, 0 to 1."""
        predicted = self.shown.table.answers.predicted
        return {name: predicted.count(name) / max(1, len(predicted)) for name in self.colours}

    @property
    def marks(self) -> dict[str, list[bool]]:
        """Whether each tile is ``uncertain``, and ``unlike training``, if the model has a rule for it."""
        marks = {"uncertain": self.shown.table.answers.unsure}
        if self.shown.outliers is not None:
            marks["unlike training"] = self.shown.outliers.marked
        return {
            name: flags.tolist()
            for name, flags in marks.items()
            if self.tiles and flags is not None
        }

    @property
    def places(self) -> Integers:
        """Column and row of each tile, int64 of shape (tiles, 2)."""
        return np.rint(np.array(self.grid.corners).reshape(-1, 2) / self.side).astype(np.int64)

    @property
    def boxes(self) -> Integers:
        """Left, top, right and bottom of each tile on the slide, pixels of level 0, int64 of shape (tiles, 4)."""
        ends = (self.slide.width, self.slide.height)
        sides = np.hstack([self.places, self.places + 1]) * self.side
        return np.minimum(np.rint(sides), [*ends, *ends]).astype(np.int64)

    def tile_features(self) -> Iterator[Content]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        marks = self.marks
        names = [f"p {name}" for name in self.colours]
        tiles = zip(self.boxes.tolist(), self.tiles, self.shown.raw.tolist(), strict=True)
        for number, (box, tile, shares) in enumerate(tiles):
            numbers = dict(zip(names, shares, strict=True))
            numbers |= {name: float(flags[number]) for name, flags in marks.items()}
            label = {"name": tile.predicted, "color": self.colours[tile.predicted]}
            yield tile_feature(box, numbers, classification=label)

    def region_features(self) -> Iterator[Content]:
        """Yield each region of tiles of one class that share edges as a GeoJSON feature, with holes."""
        import shapely

        tree = shapely.STRtree(shapely.box(*self.boxes.T))
        for column, (name, colour) in enumerate(self.colours.items()):
            boxes = self.boxes[self.shown.table.answers.numbers == column]
            for region in shapely.get_parts(joined_boxes(boxes)):
                indices = np.sort(tree.query(region, predicate="covers"))
                mean = float(self.shown.raw[indices, column].mean())
                numbers = {"tiles": len(indices), "mean p": mean}
                label = {"name": name, "color": colour}
                yield geojson_feature("annotation", region, numbers, classification=label)

    def scores(self, point: Point) -> dict[str, Floats]:
        """Return the probabilities of the slide by each rule, float64 of shape (classes,); NaN without tiles.

        ``mean`` is the mean over the tiles. Two rules need positive classes. Their scores are the share of tiles that
        are positive at the operating point (``share``), and the largest score of a tile when each is the mean of itself
        and its up to eight neighbours (``peak``). Within the positive and the negative side, classes are as in `mean`.

        References
        ----------
        Coudray et al., Nat. Med. 24 (2018) 1559 (mean, share); Campanella et al., Nat. Med. 25 (2019) 1301 (largest).
        """
        from scipy.spatial import KDTree

        if not self.tiles:
            return {"mean": np.full(len(self.colours), np.nan)}
        raw = self.shown.raw
        mean = raw.mean(axis=0)
        scores = {"mean": mean}
        if point is None:
            return scores
        mask = positive_mask(point.classes, point.positive)
        # the share of each class in its side; the tiny number is for a side whose mean is 0
        sides = [np.where(side, mean + 1e-12, 0.0) for side in (mask, ~mask)]
        positive, negative = (side / side.sum() for side in sides)
        tile_scores = two_class_scores(raw, mask, rule=point.rule)
        share = point.is_positive(raw, self.shown.table.answers.numbers).mean()
        neighbours = KDTree(self.places).query_ball_point(self.places, 1, p=np.inf)
        peak = max(tile_scores[numbers].mean() for numbers in neighbours)
        for rule, score in (("share", share), ("peak", peak)):
            scores[rule] = score * positive + (1 - score) * negative
        return scores

    def draw(self, overview: Overview) -> Pixels:
        """Draw each tile in the colour of its class over the slide, with a legend below."""
        from matplotlib.patches import Patch

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

        calls = self.shown.predicted.bundle.calls
        if calls:
            lines.append((calls, _WHITE))

        def draw_legend(figure: Any) -> None:
            squares = [
                Patch(facecolor=f"#{bytes(colour).hex()}", label=line) for line, colour in lines
            ]
            figure.legend(
                handles=squares, loc="upper left", frameon=False, handleheight=1, handlelength=1
            )

        return stacked([pixels, rendered(draw_legend, 400, 30 * len(lines))])

    def write_tiles(self, path: Path) -> None:
        """Write the predictions of the tiles as a table, with their places."""
        table = self.shown.table
        corners = self.grid.corners
        columns = [
            *table.further,
            ("x", [str(x) for x, _ in corners]),
            ("y", [str(y) for _, y in corners]),
            ("size", [f"{self.side:.6g}"] * len(corners)),
        ]
        replace(table, further=columns).finish(path, overwrite=True)


_PALETTE = ("d55e00", "e69f00", "cc79a7", "f0e442", "6e6e6e", "009e73", "0072b2", "56b4e9")
"""Colours that people with any colour vision tell apart (Okabe and Ito 2008, jfly.uni-koeln.de/color), and grey, from
warm to cool."""


@dataclass(frozen=True)
class Colouring:
    """What the colours of maps mean; no prediction depends on it.

    Attributes
    ----------
    heat : tuple of str
        The classes whose probability is drawn.
    rule : str
        How that probability follows from those of the classes, see `bchisto.evaluate.two_class_scores`.
    warm : tuple of str
        The classes with warm colours.
    drawn : mapping of str to (int, int, int)
        Colours that a person gave to classes.
    """

    heat: tuple[str, ...]
    rule: str
    warm: tuple[str, ...]
    drawn: Mapping[str, Colour]

    @classmethod
    def of(cls, classes: Sequence[str], point: Point, settings: MapSettings) -> Colouring:
        """Return the colouring of the maps of a model.

        The positive classes are warm, and drawn as heat. If a model has none, its last class is, which is the positive
        one in most tables of two classes.

        Parameters
        ----------
        classes : sequence of str
        point : OperatingPoint or None
        settings : MapSettings
            Used are its class for the heat, and its file, or folder of files, with colours of classes.

        Raises
        ------
        InputError
            The model has no such class, or none that has a colour in the files.
        """
        rule = "sum"
        warm = point.positive if point else default_positive(classes)
        # with two classes both rules are the same
        if point is not None and len(classes) > 2:
            rule = point.rule
        heat = warm or tuple(classes[-1:])
        if settings.heat is not None:
            name = match_class(settings.heat, classes)
            if name is None:
                text = "{heat} {}: no class of this model; {}"
                raise InputError(text, settings.heat, one_of(settings.heat, classes))
            heat = (name,)
            rule = "sum"
        own: dict[str, Colour] = {}
        if settings.colours is not None:
            colours = class_colours(settings.colours)
            for label, colour in colours.items():
                name = match_class(label, classes)
                if name is not None:
                    own.setdefault(name, colour)
            if not own:
                text = "{colours} {}: no class of the model has a colour there, only: {}; give annotations of {}"
                raise InputError(text, settings.colours, few(colours) or "none", few(classes))
        return cls(heat, rule, warm or heat, own)

    @property
    def title(self) -> str:
        """What the heat shows."""
        names = " + ".join(self.heat)
        if self.rule == "sum":
            return f"probability of {names}"
        return f"score of {names} (rule {self.rule})"

    def of_classes(self, classes: Sequence[str]) -> dict[str, Colour]:
        """Return the colour of each class: the one that a person gave, else a free one of the palette if possible."""
        palette = [tuple(bytes.fromhex(code)) for code in _PALETTE]
        choices = [colour for colour in palette if colour not in self.drawn.values()] or palette
        warm = itertools.cycle(choices)
        cool = itertools.cycle(reversed(choices))
        colours = {}
        for name in classes:
            colours[name] = self.drawn.get(name) or next(warm if name in self.warm else cool)
        return colours


def heat_colours(values: Floats) -> Pixels:
    """Return the colours of probabilities, uint8 of shape (n, 3): the higher, the lighter, from blue to yellow.

    References
    ----------
    Nunez, Anderton and Renslow, PLoS ONE 13 (2018) e0199239: cividis, which is even to people with any colour vision.
    """
    import matplotlib as mpl

    return np.asarray(mpl.colormaps["cividis"](values, bytes=True)[..., :3], np.uint8)


_PICTURE = 1600
"""Longest side of a picture, in pixels."""


def paint_tiles(overview: Overview, boxes: Integers, colours: Pixels, shares: Floats) -> Pixels:
    """Return a picture of the slide in which tiles have colours.

    Parameters
    ----------
    overview : Overview
    boxes : ndarray, shape (tiles, 4)
        Left, top, right and bottom, pixels of level 0.
    colours : ndarray of uint8, shape (tiles, 3)
    shares : ndarray of float64, shape (tiles,)
        Share of its colour in each tile, 0 to 1; the rest is the tissue.
    """
    from PIL import Image, ImageOps

    zoom = max(1, _PICTURE // max(overview.picture.shape[:2]))
    pixels = np.array(ImageOps.scale(Image.fromarray(overview.picture), zoom))
    ends = np.rint(boxes * (zoom / overview.factor)).astype(np.int64)
    for (left, top, right, bottom), colour, share in zip(ends, colours, shares, strict=True):
        covered = pixels[top:bottom, left:right]
        covered[:] = np.rint(covered * (1 - share) + colour * share)
    return pixels


def draw_heat(overview: Overview, boxes: Integers, values: Floats, title: str) -> Pixels:
    """Draw a probability of each tile as its colour over the slide in grey, with the colour bar below.

    Tiles hide the tissue, so that their colours are those of the bar.

    Parameters
    ----------
    overview : Overview
    boxes : ndarray, shape (tiles, 4)
        As in `paint_tiles`.
    values : ndarray of float64, shape (tiles,)
    title : str
        What the values are.
    """
    from PIL import Image

    grey = np.array(Image.fromarray(overview.picture).convert("L").convert("RGB"))
    shares = np.ones(len(values))
    pixels = paint_tiles(overview._replace(picture=grey), boxes, heat_colours(values), shares)
    return with_bar(pixels, heat_colours(np.linspace(0, 1, 256)), (0, 1, 0.5), title=title)


def write_picture(path: Path, picture: Pixels) -> str:
    """Write a picture as PNG; return it as a data address."""
    write_image(path, picture)
    return thumbnail(picture, side=_PICTURE)
