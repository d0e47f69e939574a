"""Whether LightGBM learnt anything: models whose trees have no split, why, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .lightgbm_model import count_splits
from .units import ModelUnit

_LEAF_ROWS = 20
"""LightGBM's default of ``min_data_in_leaf``."""

_LEAVES_PER_CLASS = 4
"""Leaves that the rows of the smallest class shall be able to fill (ours)."""


def models_without_split(units: Sequence[ModelUnit], *, augmentations: Mapping[str, int]) -> dict[str, Any]:
    """Count the LightGBM models that say the same of every image, since none of their trees has a split.

    A tree splits rows in two leaves of at least ``min_data_in_leaf`` rows each, so that with fewer than twice as many
    training rows nothing can be learnt.

    Parameters
    ----------
    units : sequence of ModelUnit
        Trained; those of other heads are left out.
    augmentations : mapping
        Store name to rows per image.

    Returns
    -------
    dict
        ``models``, ``without_split``, ``training_rows`` (fewest of a model without a split), ``min_data_in_leaf``, and
        ``suggested_min_data_in_leaf`` (None where a smaller one would not help); empty where every model has a split.
    """
    trees = [unit for unit in units if unit.head == "lightgbm"]
    idle = [unit for unit in trees if count_splits(unit.model.read_text(encoding="utf-8")) == 0]
    if not idle:
        return {}
    fewest = min(len(unit.labels) * augmentations[unit.store] for unit in idle)
    rarest = min(int(np.unique(unit.labels, return_counts=True)[1].min()) * augmentations[unit.store] for unit in idle)
    needed = int(idle[0].params.get("min_data_in_leaf", _LEAF_ROWS))
    suggested = max(1, rarest // _LEAVES_PER_CLASS)
    return {
        "models": len(trees),
        "without_split": len(idle),
        "training_rows": fewest,
        "min_data_in_leaf": needed,
        "suggested_min_data_in_leaf": suggested if suggested < needed else None,
    }


def learning_banner(found: Mapping[str, Any]) -> str:
    """Return what a reader of any number must know of models without a split, and what to do."""
    some = (
        f"{found['without_split']} of {found['models']} LightGBM models have no split and say the same of every image"
    )
    if found["suggested_min_data_in_leaf"] is None:
        rows = found["min_data_in_leaf"]
        return f"NOTHING LEARNT: {some}, though leaves need {rows} rows only; look at the descriptors."
    return (
        f"NOTHING LEARNT: {some}. A leaf needs {found['min_data_in_leaf']} rows (min_data_in_leaf), and as few as "
        f"{found['training_rows']} train (images x augmentations); lower "
        f"min_data_in_leaf to {found['suggested_min_data_in_leaf']}, or describe the images with more augmentations."
    )
