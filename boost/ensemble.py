"""The folds x seeds x stores of one protocol: units, and their predictions put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import FoldPlan
from ..evaluate import PaperTable, PredictionTable, paper_table, write_predictions
from .presets import Preset, model_params
from .sources import Sources
from .units import ModelUnit

__all__ = ["Ensemble", "gather", "plan_units"]

Probabilities = npt.NDArray[np.float64]


def plan_units(
    sources: Sources, plan: FoldPlan, *, preset: Preset, seeds: int, classes: Sequence[str], folder: Path
) -> list[ModelUnit]:
    """Return the models of a protocol, ordered by store, seed and fold."""
    position = {image: place for place, image in enumerate(sources.image_ids)}
    order = {label: place for place, label in enumerate(classes)}
    units = []
    for store, path in sources.paths.items():
        for seed in range(seeds):
            for fold_position, fold in enumerate(plan.folds):
                train = [position[image] for image in plan.images(fold, "train")]
                tested = plan.images(fold, "test")
                units.append(
                    ModelUnit(
                        store=store,
                        path=path,
                        seed=seed,
                        fold=fold,
                        train=tuple(train),
                        test=tuple(position[image] for image in tested),
                        labels=tuple(order[sources.labels[place]] for place in train),
                        test_ids=tuple(tested),
                        params=model_params(preset, classes=len(classes), seed=seed, fold_position=fold_position),
                        rounds=preset.rounds,
                        model=folder / "models" / store / f"seed{seed}-fold{fold}.txt",
                    )
                )
    return units


@dataclass(frozen=True)
class Ensemble:
    """The assembled predictions of a protocol.

    Attributes
    ----------
    fusion : PredictionTable
        Mean over stores, seeds and augmentations.
    stores : dict of str to PredictionTable
        Mean over seeds and augmentations.
    paper : PaperTable
    """

    fusion: PredictionTable
    stores: dict[str, PredictionTable]
    paper: PaperTable


def gather(
    units: Sequence[ModelUnit],
    predictions: Sequence[Probabilities],
    *,
    sources: Sources,
    classes: Sequence[str],
    protocol: str,
    folder: Path,
) -> Ensemble:
    """Put the predictions of all units together and write both prediction tables.

    Parameters
    ----------
    units, predictions
        Units and their probabilities, in the same order.
    sources : Sources
    classes : sequence of str
    protocol : str
    folder : Path
        Gets ``predictions.csv`` and ``predictions-by-model.csv``.
    """
    label = dict(zip(sources.image_ids, sources.labels, strict=True))
    group = dict(zip(sources.image_ids, sources.groups, strict=True))
    seeds = sorted({unit.seed for unit in units})
    keys = sorted({(unit.fold, image) for unit in units for image in unit.test_ids})
    place = {key: row for row, key in enumerate(keys)}
    names = list(sources.paths)
    cube = np.full((len(names), len(seeds), len(keys), len(classes)), np.nan)
    for unit, probabilities in zip(units, predictions, strict=True):
        rows = [place[unit.fold, image] for image in unit.test_ids]
        cube[names.index(unit.store), seeds.index(unit.seed), rows] = probabilities

    def table(name: str, probabilities: Probabilities) -> PredictionTable:
        return PredictionTable.from_probabilities(
            name=name,
            classes=classes,
            image_ids=[image for _, image in keys],
            labels=[label[image] for _, image in keys],
            probabilities=probabilities,
            folds=[fold for fold, _ in keys],
            groups=[group[image] for _, image in keys],
            protocol=protocol,
        )

    by_seed = {name: [table(name, cube[i, j]) for j in range(len(seeds))] for i, name in enumerate(names)}
    averaged = {name: table(name, cube[i].mean(axis=0)) for i, name in enumerate(names)}
    fusion = table("fusion", cube.mean(axis=(0, 1)))
    written: list[tuple[str, str, str | None, int | str]] = [(i, label[i], group[i], fold) for fold, i in keys]
    write_predictions(folder / "predictions.csv", classes=classes, rows=written, probabilities=cube.mean(axis=(0, 1)))
    count = len(names) * len(seeds)
    extra: list[tuple[str, list[Any]]] = [
        ("store", [name for name in names for _ in range(len(seeds) * len(keys))]),
        ("seed", [seed for _ in names for seed in seeds for _ in keys]),
    ]
    write_predictions(
        folder / "predictions-by-model.csv",
        classes=classes,
        rows=written * count,
        probabilities=cube.reshape(count * len(keys), len(classes)),
        extra=extra,
    )
    return Ensemble(fusion, averaged, paper_table(by_seed, averaged, fusion))
