"""A canvas of stain concentrations, with coordinates in micrometres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Point = tuple[float, float]
Box = tuple[slice, slice]

_LANES = 64
"""Parts of the canvas begin and end at multiples of so many columns. This is more than any vector unit processes at
once, so that blurring a part rounds exactly as blurring the whole canvas."""


@dataclass(frozen=True)
class Nuclei:
    """Appearance of a population of nuclei.

    Attributes
    ----------
    length, width : float
        Mean axes, micrometres.
    spread : float
        Relative standard deviation of size and staining (pleomorphism).
    darkness : float
        Mean haematoxylin concentration.
    """

    length: float
    width: float
    spread: float
    darkness: float


class Canvas:
    """Haematoxylin and eosin concentrations over a field of view.

    Parameters
    ----------
    width, height : int
        Pixels.
    mpp : float
        Micrometres per pixel.
    rng : numpy.random.Generator
        The only source of randomness.
    """

    def __init__(self, width: int, height: int, *, mpp: float, rng: np.random.Generator) -> None:
        self.mpp, self.rng = mpp, rng
        self.width, self.height = width * mpp, height * mpp
        self.haem: Field = np.zeros((height, width), np.float32)
        self.eosin: Field = np.zeros((height, width), np.float32)

    def noise(self, size: float, *, stretch: float = 1.0, shape: tuple[int, int] | None = None) -> Field:
        """Return smooth noise of unit variance with structures of `size` micrometres, `stretch` times longer in x.

        It covers the canvas, or `shape` (rows and columns of pixels) if given.
        """
        import cv2

        rows, columns = shape or self.haem.shape
        cell = max(size / self.mpp, 1.0)
        grid = (int(rows / cell) + 3, int(columns / (cell * stretch)) + 3)
        coarse = self.rng.standard_normal(grid, dtype=np.float32)
        smooth: Field = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        return smooth

    def fibres(self, *, thickness: float, waviness: float) -> Field:
        """Return wavy bundles of fibres: stretched noise along a smoothly bent direction, with about unit variance."""
        import cv2

        rows, columns = self.haem.shape
        side = int(np.hypot(rows, columns)) + 2
        bundle = self.noise(thickness, stretch=12, shape=(side, side))
        angle = self.rng.uniform(0, np.pi)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        bend = self.noise(180.0) * (waviness / self.mpp)
        u = np.cos(angle) * x + np.sin(angle) * y + self.noise(220.0) * (waviness / self.mpp)
        v = -np.sin(angle) * x + np.cos(angle) * y + bend
        fibres: Field = cv2.remap(
            bundle,
            u.astype(np.float32),
            v.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        return fibres

    def scatter(self, distance: float, *, inside: npt.NDArray[np.bool_] | None = None) -> list[Point]:
        """Return points about `distance` micrometres apart (a jittered hexagonal grid), optionally inside a mask."""
        grid = [
            (x, y)
            for row, y in enumerate(_steps(-distance, self.height + distance, distance * 0.87))
            for x in _steps(-distance + (row % 2) * distance / 2, self.width + distance, distance)
        ]
        places = np.array(grid) + self.rng.uniform(-0.3, 0.3, size=(len(grid), 2)) * distance
        if inside is not None:
            columns, rows = (places / self.mpp).astype(np.int64).T
            visible = (rows >= 0) & (rows < inside.shape[0]) & (columns >= 0) & (columns < inside.shape[1])
            places = places[visible][inside[rows[visible], columns[visible]]]
        return [(x, y) for x, y in places.tolist()]

    def outline(
        self, centre: Point, radius: float, *, roughness: float, stretch: float = 1.0
    ) -> npt.NDArray[np.float64]:
        """Return a closed, irregular contour in micrometres, shape (points, 2)."""
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        r = np.ones_like(angle)
        for wave in range(2, 7):
            r += roughness / wave * self.rng.normal() * np.cos(wave * angle + self.rng.uniform(0, 2 * np.pi))
        r = radius * np.clip(r, 0.35, 1.8)
        points = np.stack([r * np.cos(angle) * np.sqrt(stretch), r * np.sin(angle) / np.sqrt(stretch)], axis=1)
        turn = self.rng.uniform(0, np.pi)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return np.asarray(points @ rotation + np.asarray(centre))

    def mask(self, outline: npt.NDArray[np.float64], *, blur: float = 0.0) -> Field:
        """Return a mask of the inside of a contour, 0 to 1, with an edge softened over `blur` micrometres."""
        import cv2

        sigma = blur / self.mpp
        box, inside = self._drawn(outline, pixels=math.ceil(4 * sigma) + 3)  # the blur ends at four sigma
        field: Field = np.zeros(self.haem.shape, np.float32)
        field[box] = cv2.GaussianBlur(inside, (0, 0), sigma) if sigma > 0.3 and inside.size else inside
        return field

    def ring(self, outline: npt.NDArray[np.float64], *, thickness: float) -> Field:
        """Return a mask of a line along a contour, 0 to 1."""
        width = max(1, round(thickness / self.mpp))
        box, line = self._drawn(outline, pixels=width + 3, width=width)
        field: Field = np.zeros(self.haem.shape, np.float32)
        field[box] = line
        return field

    def _drawn(self, outline: npt.NDArray[np.float64], *, pixels: int, width: int = 0) -> tuple[Box, Field]:
        """Draw a contour; return the box of its part of the canvas, `pixels` wider on each side, and a mask, 0 to 1.

        The columns of the part begin and end at multiples of `_LANES`. The contour is filled, or with `width` it is a
        line of so many pixels.
        """
        import cv2

        left, top = np.maximum(np.floor(outline.min(axis=0) / self.mpp).astype(int) - pixels, 0).tolist()
        right, bottom = np.maximum(np.ceil(outline.max(axis=0) / self.mpp).astype(int) + pixels + 1, 0).tolist()
        left = left // _LANES * _LANES
        box = slice(top, max(top, bottom)), slice(left, -(-right // _LANES) * _LANES)
        drawn = np.zeros(self.haem[box].shape, np.uint8)
        # coordinates in sixteenths of a pixel (shift=4 of OpenCV)
        points = np.rint(outline / self.mpp * 16).astype(np.int32) - np.array([left, top], np.int32) * 16
        if drawn.size and width:
            cv2.polylines(drawn, [points], True, 255, width, cv2.LINE_AA, 4)
        elif drawn.size:
            cv2.fillPoly(drawn, [points], 255, cv2.LINE_AA, 4)
        return box, drawn.astype(np.float32) / 255.0

    def paint(self, mask: Field, *, haem: float | Field, eosin: float | Field) -> None:
        """Replace both concentrations inside `mask`."""
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            high = slice(rows[0], rows[-1] + 1)
            columns = np.flatnonzero(mask[high].any(axis=0))
            box = high, slice(columns[0], columns[-1] + 1)
            haem, eosin = (value[box] if isinstance(value, np.ndarray) else value for value in (haem, eosin))
            self._blend(box, mask[box], haem, eosin)

    def paint_local(self, outline: npt.NDArray[np.float64], *, haem: float, eosin: float) -> None:
        """Replace both concentrations inside a small contour; faster than `paint` with a mask."""
        box, cover = self._drawn(outline, pixels=1)
        self._blend(box, cover, haem, eosin)

    def _blend(self, box: Box, cover: Field, haem: float | Field, eosin: float | Field) -> None:
        for field, value in ((self.haem, haem), (self.eosin, eosin)):
            field[box] += cover * (value - field[box])

    def nucleus(self, centre: Point, kind: Nuclei, *, angle: float) -> None:
        """Draw one nucleus: an ellipse with a darker membrane and clumped chromatin."""
        rng, scale = self.rng, 1.0 / self.mpp
        size = max(0.45, 1.0 + kind.spread * rng.normal())
        a = kind.length * size * scale / 2
        b = kind.width * size * max(0.6, 1.0 + 0.5 * kind.spread * rng.normal()) * scale / 2
        reach = int(max(a, b) * 1.3) + 2
        column, row = round(centre[0] * scale), round(centre[1] * scale)
        top, left = max(row - reach, 0), max(column - reach, 0)
        bottom, right = min(row + reach + 1, self.haem.shape[0]), min(column + reach + 1, self.haem.shape[1])
        if top >= bottom or left >= right:
            return
        dx = np.arange(left, right) - centre[0] * scale
        dy = np.arange(top, bottom)[:, np.newaxis] - centre[1] * scale
        cosine, sine = np.cos(angle), np.sin(angle)
        u, v = dx * cosine + dy * sine, -dx * sine + dy * cosine
        distance = np.hypot(u / a, v / b) * (
            1.0 + 0.3 * kind.spread * np.sin(3 * np.arctan2(v, u) + rng.uniform(0, 6.28))
        )
        cover = np.clip((1.0 - distance) * min(a, b) + 0.5, 0, 1).astype(np.float32)
        rim = np.exp(-(((distance - 0.85) / 0.18) ** 2))
        chromatin = rng.standard_normal(distance.shape).astype(np.float32) * 0.18
        dark = kind.darkness * max(0.5, 1.0 + 0.5 * kind.spread * rng.normal())
        value = dark * (0.72 + 0.4 * rim + chromatin)
        if kind.length > 8.5 and rng.random() < 0.6:  # a nucleolus in large nuclei
            value += 0.8 * dark * np.exp(-((u / (0.25 * a)) ** 2 + (v / (0.25 * a)) ** 2))
        self._blend((slice(top, bottom), slice(left, right)), cover, value.astype(np.float32), 0.25)


def _steps(start: float, end: float, step: float) -> Iterator[float]:
    while start < end:
        yield start
        start += step
