"""The folds x seeds x stores of one protocol: predictions of its units put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..crossval import Tested
from ..evaluate import PaperTable, PredictionTable, paper_table, write_predictions
from .arrays import Probabilities
from .blend import blend_weights
from .units import ModelUnit, read_inner


def blend(units: Sequence[ModelUnit]) -> dict[int, dict[str, float]]:
    """Return per fold the weight of each member of a stack, fitted on held-out training images of that fold."""
    by_fold: dict[int, list[ModelUnit]] = {}
    for unit in units:
        by_fold.setdefault(unit.fold, []).append(unit)
    weights = {}
    for fold, members in sorted(by_fold.items()):
        held = np.array([read_inner(unit) for unit in members])
        shares = blend_weights(held, np.array(members[0].labels, dtype=np.int64)).tolist()
        weights[fold] = dict(zip([unit.member for unit in members], shares, strict=True))
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
    predictions: Sequence[Probabilities],
    *,
    images: Tested,
    stores: Collection[str],
    protocol: str,
    folder: Path,
) -> Ensemble:
    """Put the predictions of all units together and write both prediction tables.

    Parameters
    ----------
    units, predictions
        Units and their probabilities, in the same order.
    images : Tested
    stores : collection of str
    protocol : str
    folder : Path
        Gets ``predictions.csv`` and ``predictions-by-model.csv``.
    """
    seeds = sorted({unit.seed for unit in units})
    trained = images.trained({unit.fold: unit.labels for unit in units})
    keys = sorted({(image, unit.fold) for unit in units for image in unit.test_ids}, key=lambda key: key[::-1])
    place = {key: row for row, key in enumerate(keys)}
    names = list(dict.fromkeys(unit.member for unit in units))
    cube = np.full((len(names), len(seeds), len(keys), len(images.classes)), np.nan)
    for unit, probabilities in zip(units, predictions, strict=True):
        rows = [place[image, unit.fold] for image in unit.test_ids]
        cube[names.index(unit.member), seeds.index(unit.seed), rows] = probabilities

    def fuse(stores: Collection[str]) -> tuple[Probabilities, dict[int, dict[str, float]]]:
        """Return the mean over the models of some stores; in a stack weighted, with the weights."""
        some = [unit for unit in units if unit.store in stores]
        chosen = [name for name in names if any(unit.member == name for unit in some)]
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
