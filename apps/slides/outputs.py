"""What is written of each slide: its map, table and page; and the table of all slides, which `evaluate` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.jobs import atomic_output
from ...core.models import bundle_lines, bundle_view
from ...evaluate import positive_mask, two_class_scores, write_predictions
from ...evaluate.report import render_page, thumbnail
from ...predict import Model, ModelFile, Predicted, Prediction, PredictSettings, choose_point, sheet_rows, tabulate
from ...predict.settings import OperatingPoint
from .overlay import TileMap, write_features
from .slide import Slide
from .tiles import TileGrid
from .tissue import find_tissue

_PICTURE, _SHOWN, _TILE = 1600, 6, 200
"""Longest side of the map on the page; number of the most and of the least certain tiles there, and their side."""


@dataclass(frozen=True)
class SlideOutputs:
    """What was written of a slide.

    Attributes
    ----------
    name : str
    page : Path
    tissue : float
        Area in mm2.
    overlay : TileMap
    scores : dict of str to ndarray of float64, shape (classes,)
        See `slide_scores`.
    trained : bool
        Whether a tile is known to have trained a model.
    failures : dict of str to str
        Tiles that were left out, and why.
    banners : tuple of str
        Warnings that every reader must see.
    """

    name: str
    page: Path
    tissue: float
    overlay: TileMap
    scores: dict[str, npt.NDArray[np.float64]]
    trained: bool
    failures: dict[str, str]
    banners: tuple[str, ...]


def write_slide(
    folder: Path, grid: TileGrid, results: Mapping[str, Prediction | str], *, file: ModelFile, model: Model
) -> SlideOutputs:
    """Write ``tiles.csv``, ``map.png``, ``tiles.geojson``, ``regions.geojson`` and ``index.html`` of a slide."""
    bundle = model.bundle
    point = choose_point(*bundle_view(file.path), threshold=None, sensitivity=None, bundle=file.path)
    predicted = Predicted(grid.records, results, bundle, file.path, file.sha256)
    shown = tabulate(predicted, settings=PredictSettings(), point=point)
    rows = sheet_rows(shown, predicted)
    tiles = sorted(rows, key=lambda row: row.place)
    usable = [isinstance(results[record.image_id], Prediction) for record in grid.records]
    grid = replace(grid, corners=tuple(corner for corner, used in zip(grid.corners, usable, strict=True) if used))
    marks = {} if bundle.unsure is None else {"uncertain": [bool(row.unsure) for row in tiles]}
    if shown.outliers is not None:
        marks["unlike training"] = shown.outliers.marked.tolist()
    with Slide(grid.path, mpp=grid.mpp) as slide:
        tissue, corners = find_tissue(slide), np.array(grid.corners, np.int64).reshape(-1, 2)
        side, confidence = grid.pixels * grid.scale / slide.mpp, [row.confidence for row in tiles]
        classes = tuple(bundle.classes)
        overlay = TileMap(slide.width, slide.height, side, corners, classes, shown.raw, confidence, marks)
        extreme = {"least": rows[:_SHOWN], "most": rows[_SHOWN:][: -_SHOWN - 1 : -1]}
        places = [row.place for each in extreme.values() for row in each]
        pictures = {place: thumbnail(grid.read(slide, place), side=_TILE) for place in places}
    further = [
        ("uncertain", ["yes" if unsure else "no" for unsure in marks.get("uncertain", [])] or [""] * len(tiles)),
        *((name, [str(corner[axis]) for corner in grid.corners]) for axis, name in enumerate("xy")),
        ("size", [f"{side:.6g}"] * len(tiles)),
    ]
    replace(shown.table, further=[*shown.table.further, *further]).finish(folder / "tiles.csv", overwrite=True)
    write_features(folder / "tiles.geojson", overlay.tile_features())
    write_features(folder / "regions.geojson", overlay.region_features())
    picture = overlay.draw(tissue)
    with atomic_output(folder / "map.png") as temporary, temporary.open("wb") as handle:
        picture.save(handle, format="PNG")
    render_page(
        folder / "index.html",
        "map.html",
        package=__package__,
        style="cut.css",
        script="",
        goal="map",
        title=f"Map of {grid.name}",
        banners=shown.banners,
        grid=grid,
        overlay=overlay,
        tissue=tissue.area,
        picture=thumbnail(np.asarray(picture), side=_PICTURE),
        tiles=extreme,
        pictures=pictures,
        facts=bundle_lines(bundle, file.sha256),
        failures=shown.failures,
    )
    trained, scores = any(shown.trained), slide_scores(overlay, point)
    page = folder / "index.html"
    return SlideOutputs(grid.name, page, tissue.area, overlay, scores, trained, shown.failures, shown.banners)


def slide_scores(overlay: TileMap, point: OperatingPoint | None) -> dict[str, npt.NDArray[np.float64]]:
    """Return the probabilities of a slide by each rule; NaN without tiles.

    ``mean`` is the mean over the tiles. Two rules need positive classes. Their scores are the share of tiles that are
    positive at the operating point (``share``), and the largest score of a tile when each is the mean of itself and its
    up to eight neighbours (``peak``). Within the positive and within the negative side, classes are as in the mean.

    References
    ----------
    Coudray et al., Nat. Med. 24 (2018) 1559 (mean, share); Campanella et al., Nat. Med. 25 (2019) 1301 (largest).
    """
    import cv2

    if not len(overlay.corners):
        return {"mean": np.full(len(overlay.classes), np.nan)}
    mean = overlay.probabilities.mean(axis=0)
    scores = {"mean": mean}
    if point is not None:
        mask, lattice = positive_mask(overlay.classes, point.positive), overlay.lattice
        values = two_class_scores(overlay.probabilities, mask, rule=point.rule)
        sums, counts = (
            cv2.blur(np.where(lattice >= 0, of, 0.0), (3, 3), borderType=cv2.BORDER_CONSTANT)
            for of in (values[lattice], np.ones(lattice.shape))
        )
        peak = float((sums / np.maximum(counts, 1e-9))[lattice >= 0].max())
        for name, score in (("share", float(point.is_positive(overlay.probabilities).mean())), ("peak", peak)):
            sides = [np.where(side, mean + 1e-12, 0.0) for side in (mask, ~mask)]
            scores[name] = score * sides[0] / sides[0].sum() + (1 - score) * sides[1] / sides[1].sum()
    return scores


def write_table(
    path: Path, slides: Sequence[SlideOutputs], *, labels: Mapping[str, str], groups: Mapping[str, str]
) -> None:
    """Write a row for each slide and rule, which `bchisto.evaluate` reads; rules are in the column ``model``."""
    rules = dict.fromkeys(rule for slide in slides for rule in slide.scores)
    rows = [(slide, rule) for rule in rules for slide in slides if rule in slide.scores]
    columns = {
        "model": [rule for _, rule in rows],
        "trained": ["yes" if slide.trained else "no" for slide, _ in rows],
        "tissue_mm2": [f"{slide.tissue:.4g}" for slide, _ in rows],
        "tiles": [len(slide.overlay.corners) for slide, _ in rows],
        **{mark: [sum(slide.overlay.marks[mark]) for slide, _ in rows] for mark in slides[0].overlay.marks},
    }
    write_predictions(
        path,
        classes=slides[0].overlay.classes,
        rows=[(slide.name, labels.get(slide.name, ""), groups[slide.name], "") for slide, _ in rows],
        probabilities=np.array([slide.scores[rule] for slide, rule in rows]),
        extra=list(columns.items()),
    )
