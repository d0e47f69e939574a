"""The map of a slide: predictions of tiles in a grid, as a picture over the slide, and as QuPath imports them."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.jobs import atomic_output
from ..explain import font_of, outline
from .tissue import Tissue

if TYPE_CHECKING:
    from PIL.Image import Image

_PALETTE = (
    (86, 180, 233), (213, 94, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (0, 114, 178), (230, 159, 0),
)  # fmt: skip
"""Colours that people of all kinds of colour vision tell apart (Okabe and Ito 2008, jfly.uni-koeln.de/color)."""

_SURE, _UNSURE = 0.5, 0.2
"""Shares of the colour of a class in that of a tile; the rest is the tissue."""

_SIZE, _STEP, _GAP = 20, 30, 10
"""Size of letters, height of a line, and margin of the legend, in pixels."""


def colours_of(classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return the colour of each class, RGB; of more than seven, the others are spread over the hues."""
    more = len(classes) - len(_PALETTE)
    hues = (colorsys.hsv_to_rgb(place / max(more, 1), 0.9, 0.6) for place in range(more))
    return [*_PALETTE[: len(classes)], *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues)]


@dataclass(frozen=True)
class TileMap:
    """The predictions of the tiles of a slide.

    Attributes
    ----------
    width, height : int
        Of the slide, pixels of level 0.
    side : float
        Of a tile, pixels of level 0.
    corners : ndarray of int64, shape (tiles, 2)
        x and y of the left upper corners, pixels of level 0.
    classes : tuple of str
    probabilities : ndarray of float64, shape (tiles, classes)
    confidence : sequence of float
        Calibrated probability of the predicted class of each tile.
    marks : mapping of str to sequence of bool
        ``uncertain`` and ``unlike training``, for each tile; a model may have no rule for them.
    """

    width: int
    height: int
    side: float
    corners: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    confidence: Sequence[float]
    marks: Mapping[str, Sequence[bool]]

    @property
    def predicted(self) -> list[int]:
        """Position of the most probable class of each tile."""
        return [int(place) for place in self.probabilities.argmax(axis=1)]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the tiles of each class, 0 to 1."""
        total = max(1, len(self.corners))
        return {name: self.predicted.count(place) / total for place, name in enumerate(self.classes)}

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Column and row of each tile, int64 of shape (tiles, 2)."""
        return np.asarray(np.rint(self.corners / self.side), np.int64)

    @property
    def lattice(self) -> npt.NDArray[np.int64]:
        """The number of the tile in each row and column, -1 without one."""
        columns, rows = self.places.T
        numbers = np.full((rows.max(initial=0) + 1, columns.max(initial=0) + 1), -1)
        numbers[rows, columns] = range(len(rows))
        return numbers

    def point(self, column: int, row: int) -> tuple[int, int]:
        """Return where a column and a row begin, on the slide, pixels of level 0."""
        return min(round(column * self.side), self.width), min(round(row * self.side), self.height)

    def tile_features(self) -> Iterator[dict[str, Any]]:
        """Yield each tile as a GeoJSON feature, with its probabilities as measurements."""
        predicted = self.predicted
        for place, (x, y) in enumerate(self.places.tolist()):
            ring = [self.point(x + a, y + b) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
            measured = {f"p {name}": share for name, share in zip(self.classes, self.probabilities[place], strict=True)}
            measured |= {"confidence": self.confidence[place]}
            measured |= {name: marked[place] for name, marked in self.marks.items()}
            yield self._feature("tile", [ring], predicted[place], measured)

    def region_features(self) -> Iterator[dict[str, Any]]:
        """Yield each region of tiles of one class that share edges as a GeoJSON feature, with holes."""
        import cv2

        lattice = self.lattice
        for kind in range(len(self.classes)):
            own = np.isin(lattice, np.flatnonzero(np.array(self.predicted) == kind))
            count, parts = cv2.connectedComponents(own.astype(np.uint8), connectivity=4)
            for part in range(1, count):
                rings = [[self.point(x, y) for x, y in ring] for ring in outline(parts == part)]
                members = lattice[parts == part]
                measured = {"tiles": len(members), "mean p": self.probabilities[members, kind].mean()}
                yield self._feature("annotation", rings, kind, measured)

    def _feature(self, kind: str, rings: Sequence[Any], of: int, measured: Mapping[str, float]) -> dict[str, Any]:
        """Return a feature in QuPath's form; a class of QuPath needs both name and colour."""
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": kind,
                "classification": {"name": self.classes[of], "color": colours_of(self.classes)[of]},
                "measurements": {name: float(value) for name, value in measured.items()},
            },
        }

    def draw(self, tissue: Tissue) -> Image:
        """Draw the tiles over a small picture of the slide, with a legend below."""
        from PIL import Image, ImageDraw

        shown, colours = tissue.picture.astype(np.float32), np.array(colours_of(self.classes), np.float32)
        unsure = self.marks.get("uncertain", [False] * len(self.corners))
        for (x, y), kind, pale in zip(self.places.tolist(), self.predicted, unsure, strict=True):
            (left, top), (right, bottom) = self.point(x, y), self.point(x + 1, y + 1)
            rows, columns = (
                slice(*(round(end / tissue.factor) for end in ends)) for ends in ((top, bottom), (left, right))
            )
            shown[rows, columns] += (_UNSURE if pale else _SURE) * (colours[kind] - shown[rows, columns])
        lines, font = (
            [f"{name}: {100 * share:.1f} %" for name, share in self.shares.items()],
            font_of(_SIZE),
        )
        height, width = tissue.mask.shape
        wide = max(width, round(max(map(font.getlength, lines))) + _STEP + 2 * _GAP)
        page = Image.new("RGB", (wide, height + _STEP * len(lines) + 2 * _GAP), (255, 255, 255))
        page.paste(Image.fromarray(np.rint(shown).astype(np.uint8)), (0, 0))
        draw = ImageDraw.Draw(page)
        for place, (line, colour) in enumerate(zip(lines, colours_of(self.classes), strict=True)):
            top = height + _GAP + place * _STEP
            draw.rectangle((_GAP, top, _GAP + _SIZE, top + _SIZE), fill=colour, outline=(0, 0, 0))
            draw.text((_GAP + _STEP, top - 2), line, fill=(0, 0, 0), font=font)
        return page


def write_features(path: Path, features: Iterator[dict[str, Any]]) -> None:
    """Write GeoJSON that QuPath imports (File, Import objects from file): pixels of level 0, from the upper left.

    References
    ----------
    RFC 7946; ``qupath.lib.io.QuPathTypeAdapters`` in the sources of QuPath.
    """
    content = {"type": "FeatureCollection", "features": list(features)}
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
