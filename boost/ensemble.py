"""The folds x seeds x stores of one protocol: predictions of its units put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..crossval import LabelledImages
from ..evaluate import PaperTable, PredictionTable, paper_table, write_predictions
from .arrays import Probabilities
from .blend import blend_weights
from .units import FittedUnit, ModelUnit


def blend(models: Sequence[tuple[ModelUnit, FittedUnit]]) -> dict[int, dict[str, float]]:
    """Return per fold the weight of each member of a stack, fitted on held-out training images of that fold."""
    by_fold: dict[int, list[tuple[ModelUnit, FittedUnit]]] = {}
    for unit, fitted in models:
        by_fold.setdefault(unit.fold, []).append((unit, fitted))
    weights = {}
    for fold, members in sorted(by_fold.items()):
        held_out = np.array([fitted.inner for _, fitted in members])
        shares = blend_weights(held_out, np.array(members[0][0].part.labels, dtype=np.int64)).tolist()
        weights[fold] = dict(zip([unit.member for unit, _ in members], shares, strict=True))
    return weights


@dataclass(frozen=True)
class Ensemble:
    """The assembled predictions of a protocol.

    Attributes
    ----------
    fusion : PredictionTable
        Mean over stores, seeds and augmentations; in a stack the weighted mean.
    stores : dict of str to PredictionTable
        Mean over seeds and augmentations.
    by_seed : sequence of PredictionTable
        As `fusion`, by the models of one seed each.
    paper : PaperTable
    weights : dict of int to dict
        Per fold the weight of each member of a stack; empty for other heads.
    fused : callable
        Returns the fusion of some stores alone; in a stack with weights of its own.
    """

    fusion: PredictionTable
    stores: dict[str, PredictionTable]
    by_seed: Sequence[PredictionTable]
    paper: PaperTable
    weights: dict[int, dict[str, float]]
    fused: Callable[[Collection[str]], PredictionTable]


def gather(
    units: Sequence[ModelUnit],
    fitted: Sequence[FittedUnit],
    *,
    images: LabelledImages,
    stores: Collection[str],
    protocol: str,
    folder: Path,
) -> Ensemble:
    """Put the predictions of all units together and write both prediction tables.

    Parameters
    ----------
    units, fitted
        Models and what training left of each, in the same order.
    images : LabelledImages
    stores : collection of str
    protocol : str
    folder : Path
        Gets ``predictions.csv`` and ``predictions-by-model.csv``.
    """
    seeds = sorted({unit.seed for unit in units})
    trained = {unit.fold: unit.part.labels for unit in units}
    keys = sorted({(image, unit.fold) for unit in units for image in unit.part.test_ids}, key=lambda key: key[::-1])
    position = {key: row for row, key in enumerate(keys)}
    names = list(dict.fromkeys(unit.member for unit in units))
    cube = np.full((len(names), len(seeds), len(keys), len(images.classes)), np.nan)
    models = list(zip(units, fitted, strict=True))
    for unit, result in models:
        rows = [position[image, unit.fold] for image in unit.part.test_ids]
        cube[names.index(unit.member), seeds.index(unit.seed), rows] = result.tests

    def fuse(stores: Collection[str]) -> tuple[Probabilities, dict[int, dict[str, float]]]:
        """Return the mean over the models of some stores; in a stack weighted, with the weights."""
        some = [(unit, result) for unit, result in models if unit.part.store in stores]
        chosen = [name for name in names if any(unit.member == name for unit, _ in some)]
        mine = cube[[names.index(name) for name in chosen]]
        if not units[0].inner:
            return mine.mean(axis=(0, 1)), {}
        weights = blend(some)
        share = np.array([[weights[fold][name] for _, fold in keys] for name in chosen])
        return (share[:, :, np.newaxis] * mine.mean(axis=1)).sum(axis=0), weights

    def table(name: str, probabilities: Probabilities) -> PredictionTable:
        return images.table(name, keys, probabilities, protocol=protocol, trained=trained)

    by_seed = {name: [table(name, cube[i, j]) for j in range(len(seeds))] for i, name in enumerate(names)}
    whole = [table("fusion", cube[:, j].mean(axis=0)) for j in range(len(seeds))]
    averaged = {name: table(name, cube[i].mean(axis=0)) for i, name in enumerate(names)}
    fused, weights = fuse(stores)
    fusion = table("fusion", fused)
    written = images.rows(keys)
    write_predictions(folder / "predictions.csv", classes=images.classes, rows=written, probabilities=fused)
    count = len(names) * len(seeds)
    write_predictions(
        folder / "predictions-by-model.csv",
        classes=images.classes,
        rows=written * count,
        probabilities=cube.reshape(count * len(keys), -1),
        extra=[
            ("store", [name for name in names for _ in range(len(seeds) * len(keys))]),
            ("seed", [seed for _ in names for seed in seeds for _ in keys]),
        ],
    )
    paper = paper_table(by_seed, averaged, fusion)
    return Ensemble(fusion, averaged, whole, paper, weights, lambda stores: table("fusion", fuse(stores)[0]))
