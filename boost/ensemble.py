"""Combine the predictions of all folds, seeds and feature files of one cross-validation scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..crossval import LabelledImages
from ..evaluate import PaperTable, PredictionTable, paper_table, write_predictions
from .arrays import Probabilities
from .units import FittedUnit, ModelUnit


@dataclass(frozen=True)
class Ensemble:
    """Combined predictions of a cross-validation scheme.

    Attributes
    ----------
    fusion : PredictionTable
        Mean over feature files, seeds and augmentations.
    stores : dict of str to PredictionTable
        Per feature file, the mean over seeds and augmentations.
    by_seed : sequence of PredictionTable
        Per seed, the mean over feature files and augmentations.
    paper : PaperTable
        Results in the layout of the paper.
    """

    fusion: PredictionTable
    stores: dict[str, PredictionTable]
    by_seed: Sequence[PredictionTable]
    paper: PaperTable


def gather(
    units: Sequence[ModelUnit],
    fitted: Sequence[FittedUnit],
    *,
    images: LabelledImages,
    protocol: str,
    folder: Path,
) -> Ensemble:
    """Combine the predictions of all units, and write both prediction tables.

    Parameters
    ----------
    units, fitted
        Models and their results, in the same order.
    images : LabelledImages
    protocol : str
        Name of the cross-validation scheme.
    folder : Path
        Folder for ``predictions.csv`` and ``predictions-by-model.csv``.
    """
    seeds = sorted({unit.seed for unit in units})
    trained = {unit.fold: unit.part.labels for unit in units}
    keys = sorted({(image, unit.fold) for unit in units for image in unit.part.test_ids}, key=lambda key: key[::-1])
    position = {key: row for row, key in enumerate(keys)}
    names = list(dict.fromkeys(unit.part.store for unit in units))
    cube = np.full((len(names), len(seeds), len(keys), len(images.classes)), np.nan)
    for unit, result in zip(units, fitted, strict=True):
        rows = [position[image, unit.fold] for image in unit.part.test_ids]
        cube[names.index(unit.part.store), seeds.index(unit.seed), rows] = result.tests

    def table(name: str, probabilities: Probabilities) -> PredictionTable:
        return images.table(name, keys, probabilities, protocol=protocol, trained=trained)

    by_seed = {name: [table(name, cube[i, j]) for j in range(len(seeds))] for i, name in enumerate(names)}
    whole = [table("fusion", cube[:, j].mean(axis=0)) for j in range(len(seeds))]
    averaged = {name: table(name, cube[i].mean(axis=0)) for i, name in enumerate(names)}

    fused = np.asarray(cube.mean(axis=(0, 1)))
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
    return Ensemble(fusion, averaged, whole, paper)
