"""Combine the predictions of all folds, seeds and feature files; models that learnt nothing are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..crossval import LabelledImages
from ..evaluate import PaperTable, PredictionTable, nothing_learnt, paper_table, write_predictions
from .trees import Probabilities
from .units import FittedUnit, ModelUnit

_LEAF_ROWS = 20
"""LightGBM's default of ``min_data_in_leaf``."""

_LEAVES_PER_CLASS = 4
"""Number of leaves that the rows of the smallest class should be able to fill (bchisto's choice)."""


def models_without_split(
    units: Sequence[ModelUnit], fitted: Sequence[FittedUnit], *, augmentations: Mapping[str, int]
) -> dict[str, Any]:
    """Count the LightGBM models that have no split in any tree.

    A split needs two leaves of at least ``min_data_in_leaf`` rows each. With fewer than twice as many training rows,
    nothing can be learnt.

    Parameters
    ----------
    units, fitted
        Models and their results. Other classifiers are ignored.
    augmentations : mapping
        Name of a feature file to rows per image.

    Returns
    -------
    dict
        ``models``, ``without_split``, and the entries of `leaf_facts`; empty if every model has a split.
    """
    trees = [(unit, model) for unit, model in zip(units, fitted, strict=True) if unit.head == "lightgbm"]
    idle = [unit for unit, model in trees if model.constant]
    if not idle:
        return {}
    facts = [leaf_facts(unit.part.labels, params=unit.params, rows=augmentations[unit.part.store]) for unit in idle]
    fewest = min(facts, key=lambda fact: fact["suggested_min_data_in_leaf"] or fact["min_data_in_leaf"])
    rows = min(fact["training_rows"] for fact in facts)
    return {"models": len(trees), "without_split": len(idle), **fewest, "training_rows": rows}


def leaf_facts(labels: Sequence[int], *, params: Mapping[str, Any], rows: int = 1) -> dict[str, Any]:
    """Return numbers that explain why a model of these training images, with `rows` rows each, has no split.

    Returns
    -------
    dict
        ``training_rows``, ``min_data_in_leaf``, and ``suggested_min_data_in_leaf`` (None if a smaller value would not
        help).
    """
    needed = int(params.get("min_data_in_leaf", _LEAF_ROWS))
    rarest = int(np.unique(np.asarray(labels), return_counts=True)[1].min()) * rows
    suggested = max(1, rarest // _LEAVES_PER_CLASS)
    return {
        "training_rows": len(labels) * rows,
        "min_data_in_leaf": needed,
        "suggested_min_data_in_leaf": suggested if suggested < needed else None,
    }


def learning_banner(facts: Mapping[str, Any]) -> str:
    """Return the notice about models without a split, with a remedy.

    Parameters
    ----------
    facts : mapping
        Result of `models_without_split`.
    """
    notice = nothing_learnt(f"{facts['without_split']} of {facts['models']} LightGBM models")
    needed, suggested = facts["min_data_in_leaf"], facts["suggested_min_data_in_leaf"]
    if suggested is None:
        return f"{notice}, though leaves need {needed} rows only; look at the features."
    return (
        f"{notice}, since their trees have no split. A leaf needs {needed} rows (min_data_in_leaf), and as few as "
        f"{facts['training_rows']} train (images x augmentations); lower min_data_in_leaf to {suggested}, "
        "or extract features with more augmentations."
    )


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
