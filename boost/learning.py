"""Report models that learnt nothing, and so give all images the same probabilities: how many, why, and a remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluate import nothing_learnt
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
