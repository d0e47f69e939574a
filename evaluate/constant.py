"""Models that give all images the same probabilities: how they are recognised, and the sentence for every output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable

NOTHING_LEARNT = "NOTHING LEARNT"
"""How the sentence begins."""

_SAME = 1e-9
"""Probabilities that differ by less than this differ only by rounding."""


def nothing_learnt(models: str) -> str:
    """Return the sentence for every output.

    Examples
    --------
    >>> nothing_learnt("3 of 3 models")
    'NOTHING LEARNT: 3 of 3 models give all images the same probabilities'
    """
    return f"{NOTHING_LEARNT}: {models} give all images the same probabilities"


def constant_folds(table: PredictionTable) -> str | None:
    """Return the sentence for a table in which every image of a fold, of several, has the same probabilities."""
    if table.probabilities is None:
        return None
    images, folds = np.array(table.image_ids), np.array([-1 if fold is None else fold for fold in table.folds])
    tested = [folds == fold for fold in np.unique(folds)]
    same = sum(len(set(images[rows])) > 1 and is_constant(table.probabilities[rows]) for rows in tested)
    if not same:
        return None
    return nothing_learnt("the models" if len(tested) == 1 else f"the models of {same} of {len(tested)} folds")


def is_constant(probabilities: npt.NDArray[Any]) -> bool:
    """Whether all rows hold the same probabilities."""
    return bool((np.ptp(probabilities, axis=0) <= _SAME).all())
