"""Resampling of a prediction table: what is drawn, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable

_CELLS = 2_000_000
"""Weights of rows at a time, which draws make: 16 MB in each of the few arrays of a figure (ours)."""


def sampling_units(table: PredictionTable) -> tuple[str, npt.NDArray[np.int64]]:
    """Return what is drawn, ``group`` where rows name one and else ``image``, and the unit of each row from 0.

    A row without a group in a table that has groups is drawn with the other rows of its image.
    """
    keys = [(group is None, group or image) for group, image in zip(table.groups, table.image_ids, strict=True)]
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    unit = "group" if ungrouped(table) < len(table) else "image"
    return unit, np.array([places[key] for key in keys], dtype=np.int64)


def ungrouped(table: PredictionTable) -> int:
    """Return the rows that name no group."""
    return sum(group is None for group in table.groups)


def ungrouped_note(table: PredictionTable) -> str | None:
    """Say how many rows lack a group, where others have one; None where all or none do."""
    without = ungrouped(table)
    if without in (0, len(table)):
        return None
    names, counts = ("names", "its image counts") if without == 1 else ("name", "each of their images counts")
    return (
        f"{table.name}: {without} of {len(table)} rows {names} no group; {counts} as a unit of its own, which makes "
        "intervals too narrow where images share a patient"
    )


def take_rows(table: PredictionTable, rows: npt.NDArray[np.int64]) -> PredictionTable:
    """Return a table of some rows of another, in this order; a row may stand in it several times.

    Parameters
    ----------
    table : PredictionTable
    rows : ndarray of int, shape (n,)
        Positions.
    """
    places = rows.tolist()
    return replace(
        table,
        image_ids=tuple(map(table.image_ids.__getitem__, places)),
        labels=table.labels[rows],
        probabilities=None if table.probabilities is None else table.probabilities[rows],
        predicted=table.predicted[rows],
        folds=tuple(map(table.folds.__getitem__, places)),
        groups=tuple(map(table.groups.__getitem__, places)),
        patches=None if table.patches is None else tuple(map(table.patches.__getitem__, places)),
    )


def bootstrap_counts(units: int, *, replicates: int, seed: int, rows: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """Yield how often each unit is drawn, float64 of shape (some replicates, units), until all are made.

    Parameters
    ----------
    units, replicates, seed : int
    rows : int
        Rows that the units hold: of many few replicates come at a time, which are the same replicates.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // max(rows, units))
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        yield rng.multinomial(units, np.full(units, 1.0 / units), size=size).astype(np.float64)


def bootstrap_mean(
    values: npt.NDArray[np.float64], units: Sequence[str], *, replicates: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean over rows.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    units : sequence of str
        What is drawn: rows of the same unit (image, group) are drawn together.
    replicates, seed : int
    """
    _, member = np.unique(np.array(units), return_inverse=True)
    total, size = np.bincount(member, weights=values), np.bincount(member)
    draws = [
        (counts @ total) / (counts @ size) for counts in bootstrap_counts(len(size), replicates=replicates, seed=seed)
    ]
    low, high = np.percentile(np.concatenate(draws), [2.5, 97.5])
    return float(low), float(high)
