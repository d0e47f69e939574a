"""Structures of breast tissue: stroma, fat, glands, ducts and nests of tumour cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .canvas import Canvas, Nuclei, Point

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
        canvas.paint(canvas.ring(cell, thickness=1.2), haem=0.06, eosin=0.45)


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
    canvas.paint(canvas.ring(outline, thickness=1.4), haem=0.1, eosin=0.8)
    content = 0.03 if canvas.rng.random() < 0.75 else 0.3  # empty, or with secretion
    canvas.paint(canvas.mask(_scaled(outline, lumen), blur=0.8), haem=0.0, eosin=content)
    _row(canvas, outline, 0.96, MYOEPITHELIUM, spacing=11.0, along=True)
    for layer in range(layers):
        depth = 0.9 - (0.9 - lumen) * (layer + 0.45) / max(layers, 1)
        _row(canvas, outline, depth, EPITHELIUM, spacing=6.6, along=False)


def _scaled(outline: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Return a contour scaled around its centre."""
    middle = outline.mean(axis=0)
    return np.asarray(middle + (outline - middle) * share)


def _row(
    canvas: Canvas, outline: npt.NDArray[np.float64], depth: float, kind: Nuclei, *, spacing: float, along: bool
) -> None:
    """Draw nuclei along a contour scaled by `depth`, parallel to it (`along`) or pointing inwards."""
    path, middle = _scaled(outline, depth), outline.mean(axis=0)
    closed = np.vstack([path, path[:1]])
    steps = np.hypot(*np.diff(closed, axis=0).T)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    for position in np.arange(canvas.rng.uniform(0, spacing), length[-1], spacing):
        position = position + canvas.rng.normal() * spacing * 0.15
        x, y = np.interp(position, length, closed[:, 0]), np.interp(position, length, closed[:, 1])
        inwards = np.arctan2(middle[1] - y, middle[0] - x)
        angle = inwards + (np.pi / 2 if along else 0.0) + canvas.rng.normal() * 0.2
        canvas.nucleus((x, y), kind, angle=angle)


def filled_duct(canvas: Canvas, centre: Point, radius: float, *, pattern: str) -> None:
    """Draw a duct that is filled with tumour cells and has an intact border: solid, comedo (necrosis) or cribriform."""
    outline = canvas.outline(centre, radius, roughness=0.12, stretch=canvas.rng.uniform(1.0, 1.35))
    canvas.paint(canvas.mask(_scaled(outline, 1.0 + 9.0 / radius), blur=2.0), haem=0.05, eosin=0.75)
    canvas.paint(canvas.mask(outline, blur=0.6), haem=0.3, eosin=0.5)
    canvas.paint(canvas.ring(outline, thickness=2.4), haem=0.12, eosin=1.1)
    cells = canvas.mask(_scaled(outline, 0.93)) > 0.5
    empty = np.zeros_like(cells)
    if pattern == "comedo":
        core = _scaled(outline, canvas.rng.uniform(0.35, 0.5))
        canvas.paint(canvas.mask(core, blur=3.0), haem=0.15, eosin=np.clip(0.8 + 0.25 * canvas.noise(3.0), 0.2, None))
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
    placed: list[Point] = []
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
