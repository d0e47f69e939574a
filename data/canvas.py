"""Structures of breast tissue on a canvas of stain concentrations in micrometres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Contour = npt.NDArray[np.float64]
"""Points in micrometres, shape (points, 2)."""

Point = tuple[float, float]
Box = tuple[slice, slice]

_LANES = 64
"""Parts of the canvas begin and end at multiples of so many columns. This is more than any vector unit processes at
once, so that blurring a part rounds exactly as blurring the whole canvas."""


class Nuclei(NamedTuple):
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
        self.mpp = mpp
        self.rng = rng
        self.width = width * mpp
        self.height = height * mpp
        self.haem: Field = np.zeros((height, width), np.float32)
        self.eosin: Field = np.zeros((height, width), np.float32)

    def noise(
        self, size: float, *, stretch: float = 1.0, shape: tuple[int, int] | None = None
    ) -> Field:
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

    def scatter(
        self, distance: float, *, inside: npt.NDArray[np.bool_] | None = None
    ) -> list[Point]:
        """Return points about `distance` micrometres apart (a jittered hexagonal grid), optionally inside a mask."""
        grid = [
            (x, y)
            for row, y in enumerate(_steps(-distance, self.height + distance, distance * 0.87))
            for x in _steps(-distance + (row % 2) * distance / 2, self.width + distance, distance)
        ]
        places = np.array(grid) + self.rng.uniform(-0.3, 0.3, size=(len(grid), 2)) * distance
        if inside is not None:
            columns, rows = (places / self.mpp).astype(np.int64).T
            visible = (
                (rows >= 0)
                & (rows < inside.shape[0])
                & (columns >= 0)
                & (columns < inside.shape[1])
            )
            places = places[visible][inside[rows[visible], columns[visible]]]
        return [(x, y) for x, y in places.tolist()]

    def outline(
        self, centre: Point, radius: float, *, roughness: float, stretch: float = 1.0
    ) -> Contour:
        """Return a closed, irregular contour in micrometres, shape (points, 2)."""
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        r = np.ones_like(angle)
        for wave in range(2, 7):
            r += (
                roughness
                / wave
                * self.rng.normal()
                * np.cos(wave * angle + self.rng.uniform(0, 2 * np.pi))
            )
        r = radius * np.clip(r, 0.35, 1.8)
        points = np.stack(
            [r * np.cos(angle) * np.sqrt(stretch), r * np.sin(angle) / np.sqrt(stretch)], axis=1
        )
        turn = self.rng.uniform(0, np.pi)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return np.asarray(points @ rotation + np.asarray(centre))

    def mask(self, outline: Contour, *, blur: float = 0.0, line: float = 0.0) -> Field:
        """Return a mask of the inside of a contour, 0 to 1, with an edge softened over `blur` micrometres.

        With `line`, the mask is of a line of so many micrometres along the contour.
        """
        import cv2

        sigma = blur / self.mpp
        width = max(1, round(line / self.mpp)) if line else 0
        reach = width or math.ceil(4 * sigma)  # the blur ends at four sigma
        box, drawn = self._drawn(outline, pixels=reach + 3, width=width)
        field = np.zeros(self.haem.shape, np.float32)
        if sigma > 0.3 and drawn.size:
            drawn = cv2.GaussianBlur(drawn, (0, 0), sigma)
        field[box] = drawn
        return field

    def _drawn(self, outline: Contour, *, pixels: int, width: int = 0) -> tuple[Box, Field]:
        """Draw a contour; return the box of its part of the canvas, `pixels` wider on each side, and a mask, 0 to 1.

        The columns of the part begin and end at multiples of `_LANES`. The contour is filled, or with `width` it is a
        line of so many pixels.
        """
        import cv2

        left, top = np.maximum(
            np.floor(outline.min(axis=0) / self.mpp).astype(int) - pixels, 0
        ).tolist()
        right, bottom = np.maximum(
            np.ceil(outline.max(axis=0) / self.mpp).astype(int) + pixels + 1, 0
        ).tolist()
        left = left // _LANES * _LANES
        box = slice(top, max(top, bottom)), slice(left, -(-right // _LANES) * _LANES)
        drawn = np.zeros(self.haem[box].shape, np.uint8)
        # coordinates in sixteenths of a pixel (shift=4 of OpenCV)
        points = (
            np.rint(outline / self.mpp * 16).astype(np.int32) - np.array([left, top], np.int32) * 16
        )
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
            haem, eosin = (
                value[box] if isinstance(value, np.ndarray) else value for value in (haem, eosin)
            )
            self._blend(box, mask[box], haem, eosin)

    def paint_local(self, outline: Contour, *, haem: float, eosin: float) -> None:
        """Replace both concentrations inside a small contour; faster than `paint` with a mask."""
        box, cover = self._drawn(outline, pixels=1)
        self._blend(box, cover, haem, eosin)

    def _blend(self, box: Box, cover: Field, haem: float | Field, eosin: float | Field) -> None:
        for field, value in ((self.haem, haem), (self.eosin, eosin)):
            field[box] += cover * (value - field[box])

    def nucleus(self, centre: Point, kind: Nuclei, *, angle: float) -> None:
        """Draw one nucleus: an ellipse with a darker membrane and clumped chromatin."""
        rng = self.rng
        scale = 1.0 / self.mpp
        size = max(0.45, 1.0 + kind.spread * rng.normal())
        a = kind.length * size * scale / 2
        b = kind.width * size * max(0.6, 1.0 + 0.5 * kind.spread * rng.normal()) * scale / 2
        reach = int(max(a, b) * 1.3) + 2
        column = round(centre[0] * scale)
        row = round(centre[1] * scale)
        top = max(row - reach, 0)
        left = max(column - reach, 0)
        bottom = min(row + reach + 1, self.haem.shape[0])
        right = min(column + reach + 1, self.haem.shape[1])
        if top >= bottom or left >= right:
            return
        dx = np.arange(left, right) - centre[0] * scale
        dy = np.arange(top, bottom)[:, np.newaxis] - centre[1] * scale
        cosine = np.cos(angle)
        sine = np.sin(angle)
        u = dx * cosine + dy * sine
        v = -dx * sine + dy * cosine
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


EPITHELIUM = Nuclei(length=7.5, width=5.5, spread=0.12, darkness=1.35)
MYOEPITHELIUM = Nuclei(length=7.0, width=2.6, spread=0.15, darkness=1.45)
FIBROBLAST = Nuclei(length=13.0, width=2.4, spread=0.25, darkness=1.25)
LYMPHOCYTE = Nuclei(length=5.5, width=5.2, spread=0.10, darkness=1.9)
TUMOUR = Nuclei(length=11.0, width=8.5, spread=0.30, darkness=1.25)


def stroma(canvas: Canvas, *, density: float, waviness: float) -> None:
    """Fill the field with collagen: wavy eosinophilic bundles with clefts between them."""
    bundles = canvas.fibres(thickness=4.0, waviness=waviness)
    sheets = canvas.noise(90.0)
    fine = canvas.fibres(thickness=1.5, waviness=waviness)
    eosin = density * np.clip(1.0 + 0.28 * bundles + 0.16 * sheets + 0.12 * fine, 0.15, None)
    clefts = np.clip((canvas.fibres(thickness=5.0, waviness=waviness) - 1.35) * 2.5, 0, 1)
    canvas.eosin[:] = eosin * (1.0 - 0.9 * clefts)
    canvas.haem[:] = 0.07 * (1.0 - clefts) * np.clip(1.0 + 0.3 * canvas.noise(40.0), 0, None)


def fat(canvas: Canvas, *, share: float) -> None:
    """Turn about `share` of the field into fat: large empty cells with thin walls."""
    if share <= 0:
        return
    field = canvas.noise(260.0)
    region = field > np.quantile(field, 1.0 - share)
    for centre in canvas.scatter(62.0, inside=region):
        cell = canvas.outline(centre, 29.0 * canvas.rng.uniform(0.9, 1.1), roughness=0.10)
        canvas.paint(canvas.mask(cell, blur=0.6), haem=0.0, eosin=0.02)
        canvas.paint(canvas.mask(cell, line=1.2), haem=0.06, eosin=0.45)


def spindles(canvas: Canvas, *, distance: float) -> None:
    """Scatter fibroblast nuclei through the stroma, roughly parallel within a neighbourhood."""
    direction = canvas.noise(200.0)
    for x, y in canvas.scatter(distance):
        row = int(np.clip(y / canvas.mpp, 0, direction.shape[0] - 1))
        column = int(np.clip(x / canvas.mpp, 0, direction.shape[1] - 1))
        if canvas.eosin[row, column] > 0.2:
            angle = direction[row, column] * 1.2 + canvas.rng.normal() * 0.25
            canvas.nucleus((x, y), FIBROBLAST, angle=angle)


def lymphocytes(canvas: Canvas, *, clusters: int) -> None:
    """Scatter small clusters of lymphocytes."""
    for _ in range(clusters):
        centre = canvas.rng.uniform(0, 1, size=2) * (canvas.width, canvas.height)
        for _ in range(int(canvas.rng.integers(8, 40))):
            x, y = centre + canvas.rng.normal(size=2) * 22.0
            canvas.nucleus((x, y), LYMPHOCYTE, angle=canvas.rng.uniform(0, np.pi))


def gland(
    canvas: Canvas,
    centre: Point,
    radius: float,
    *,
    lumen: float,
    layers: int,
    roughness: float,
    stretch: float,
) -> None:
    """Draw an open gland: a basement membrane, rows of regular nuclei, and a lumen of relative size `lumen`."""
    outline = canvas.outline(centre, radius, roughness=roughness, stretch=stretch)
    canvas.paint(canvas.mask(outline, blur=0.8), haem=0.22, eosin=0.48)
    canvas.paint(canvas.mask(outline, line=1.4), haem=0.1, eosin=0.8)
    content = 0.03 if canvas.rng.random() < 0.75 else 0.3  # empty, or with secretion
    canvas.paint(canvas.mask(_scaled(outline, lumen), blur=0.8), haem=0.0, eosin=content)
    _row(canvas, outline, 0.96, MYOEPITHELIUM, spacing=11.0, along=True)
    for layer in range(layers):
        depth = 0.9 - (0.9 - lumen) * (layer + 0.45) / max(layers, 1)
        _row(canvas, outline, depth, EPITHELIUM, spacing=6.6, along=False)


def _scaled(outline: Contour, share: float) -> Contour:
    """Return a contour scaled around its centre."""
    middle = outline.mean(axis=0)
    return np.asarray(middle + (outline - middle) * share)


def _row(
    canvas: Canvas,
    outline: Contour,
    depth: float,
    kind: Nuclei,
    *,
    spacing: float,
    along: bool,
) -> None:
    """Draw nuclei along a contour scaled by `depth`, parallel to it (`along`) or pointing inwards."""
    path = _scaled(outline, depth)
    middle = outline.mean(axis=0)
    closed = np.vstack([path, path[:1]])
    steps = np.hypot(*np.diff(closed, axis=0).T)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    for position in np.arange(canvas.rng.uniform(0, spacing), length[-1], spacing):
        position = position + canvas.rng.normal() * spacing * 0.15
        x = np.interp(position, length, closed[:, 0])
        y = np.interp(position, length, closed[:, 1])
        inwards = np.arctan2(middle[1] - y, middle[0] - x)
        angle = inwards + (np.pi / 2 if along else 0.0) + canvas.rng.normal() * 0.2
        canvas.nucleus((x, y), kind, angle=angle)


def filled_duct(canvas: Canvas, centre: Point, radius: float, *, pattern: str) -> None:
    """Draw a duct that is filled with tumour cells and has an intact border: solid, comedo (necrosis) or cribriform."""
    outline = canvas.outline(centre, radius, roughness=0.12, stretch=canvas.rng.uniform(1.0, 1.35))
    canvas.paint(canvas.mask(_scaled(outline, 1.0 + 9.0 / radius), blur=2.0), haem=0.05, eosin=0.75)
    canvas.paint(canvas.mask(outline, blur=0.6), haem=0.3, eosin=0.5)
    canvas.paint(canvas.mask(outline, line=2.4), haem=0.12, eosin=1.1)
    cells = canvas.mask(_scaled(outline, 0.93)) > 0.5
    empty = np.zeros_like(cells)
    if pattern == "comedo":
        core = _scaled(outline, canvas.rng.uniform(0.35, 0.5))
        canvas.paint(
            canvas.mask(core, blur=3.0),
            haem=0.15,
            eosin=np.clip(0.8 + 0.25 * canvas.noise(3.0), 0.2, None),
        )
        empty = canvas.mask(core) > 0.5
    elif pattern == "cribriform":
        for hole in canvas.scatter(radius * 0.5, inside=canvas.mask(_scaled(outline, 0.75)) > 0.5):
            edge = canvas.outline(hole, radius * canvas.rng.uniform(0.1, 0.16), roughness=0.08)
            canvas.paint(canvas.mask(edge, blur=0.6), haem=0.0, eosin=0.03)
            empty |= canvas.mask(edge) > 0.5
    for point in canvas.scatter(10.5, inside=cells & ~empty):
        canvas.nucleus(point, TUMOUR, angle=canvas.rng.uniform(0, np.pi))
    if pattern == "comedo":  # nuclear dust in the necrosis
        for point in canvas.scatter(16.0, inside=empty):
            canvas.nucleus(point, Nuclei(3.0, 2.6, 0.4, 1.8), angle=0.0)


def nest(canvas: Canvas, centre: Point, *, cells: int, cord: bool) -> None:
    """Draw an invasive nest or cord of tumour cells, without a border."""
    heading = canvas.rng.uniform(0, 2 * np.pi)
    x, y = centre
    placed = []
    for _ in range(cells):
        placed.append((x, y))
        if cord:
            heading += canvas.rng.normal() * 0.3
            x, y = x + 10.0 * np.cos(heading), y + 10.0 * np.sin(heading)
        else:
            start = placed[int(canvas.rng.integers(len(placed)))]
            heading = canvas.rng.uniform(0, 2 * np.pi)
            x, y = start[0] + 10.0 * np.cos(heading), start[1] + 10.0 * np.sin(heading)
    for point in placed:
        body = canvas.outline(point, 8.5, roughness=0.25)
        canvas.paint_local(body, haem=0.24, eosin=0.55)
    for point in placed:
        canvas.nucleus(point, TUMOUR, angle=canvas.rng.uniform(0, np.pi))
