"""Paired tests between two prediction tables over the same images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable
from .resample import bootstrap_mean, sampling_units

__all__ = ["compare_pairs", "compare_tables", "unlike_pairs"]


def compare_pairs(tables: Sequence[PredictionTable], *, replicates: int, seed: int = 0) -> list[dict[str, Any]]:
    """Compare every two tables that hold the same images in the same folds."""
    return [
        {"first": a.name, "second": b.name, **compare_tables(a, b, replicates=replicates, seed=seed)}
        for a, b in combinations(tables, 2)
        if _keys(a).keys() == _keys(b).keys()
    ]


def unlike_pairs(tables: Sequence[PredictionTable]) -> list[str]:
    """Say which two tables cannot be compared, and why: they hold different images or folds."""
    found = []
    for a, b in combinations(tables, 2):
        only_a, only_b = _keys(a).keys() - _keys(b).keys(), _keys(b).keys() - _keys(a).keys()
        if only_a or only_b:
            image, _, fold = min(only_a or only_b, key=str)
            where = f" in fold {fold}" if fold is not None else ""
            found.append(
                f"{a.name} and {b.name} are not compared: {len(only_a)} rows stand in the first only, {len(only_b)} in "
                f"the second only, for example {image}{where}"
            )
    return found


def _keys(table: PredictionTable) -> dict[tuple[str, str, int | None], int]:
    return {key: place for place, key in enumerate(table.keys)}


def compare_tables(
    first: PredictionTable, second: PredictionTable, *, replicates: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Test whether two tables differ in accuracy.

    Parameters
    ----------
    first, second : PredictionTable
        Over the same images and folds; rows may stand in another order.
    replicates : int
        Of the bootstrap; 0 leaves its interval out.
    seed : int

    Returns
    -------
    dict
        ``difference`` (accuracy of the second minus that of the first), ``interval`` (95 % bootstrap, over groups where
        known), ``mcnemar`` (``only_first``, ``only_second`` right, exact two-sided ``p``) and ``corrected_t`` (``t``,
        ``p`` over the folds of a partition; None with fewer than two folds, images tested twice, or no spread).

    References
    ----------
    McNemar 1947; Nadeau & Bengio 2003, sec. 3.3 (correction for overlapping training parts).
    """
    places = _keys(second)
    order = [places[key] for key in _keys(first)]
    a = first.predicted == first.labels
    b = (second.predicted == second.labels)[order]
    change = b.astype(np.float64) - a
    return {
        "difference": float(change.mean()),
        "interval": _interval(first, change, replicates=replicates, seed=seed) if replicates else None,
        "mcnemar": _mcnemar(int((a & ~b).sum()), int((b & ~a).sum())),
        "corrected_t": _corrected_t(first, change),
    }


def _interval(table: PredictionTable, change: npt.NDArray[np.float64], *, replicates: int, seed: int) -> list[float]:
    unit, _ = sampling_units(table)
    units = table.groups if unit == "group" else table.image_ids
    return list(bootstrap_mean(change, [str(name) for name in units], replicates=replicates, seed=seed))


def _mcnemar(only_first: int, only_second: int) -> dict[str, Any]:
    from scipy.stats import binomtest

    changed = only_first + only_second
    p = float(binomtest(only_second, changed, 0.5).pvalue) if changed else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": p}


def _corrected_t(table: PredictionTable, change: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Compute the corrected resampled t test over the folds of a partition."""
    from scipy.stats import t as student

    folds = table.fold_numbers
    if len(folds) < 2 or len(set(table.image_ids)) < len(table):
        return None
    member = table.fold_array
    differences = np.array([change[member == fold].mean() for fold in folds])
    spread = float(differences.var(ddof=1))
    if spread == 0.0:
        return None
    # Each fold tests 1/k of the images and trains on the rest.
    share = 1.0 / (len(folds) - 1)
    value = float(differences.mean() / np.sqrt((1.0 / len(folds) + share) * spread))
    return {"t": value, "p": float(2 * student.sf(abs(value), len(folds) - 1))}
