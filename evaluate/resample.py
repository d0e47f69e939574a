"""Resampling of a prediction table: what is drawn, and how often; and the interval of a share of few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable

__all__ = ["bootstrap_counts", "bootstrap_mean", "sampling_units", "take_rows", "wilson"]

_CHUNK = 500
"""Replicates at a time: bounds memory to a few hundred MB for 100,000 images (ours)."""


def sampling_units(table: PredictionTable) -> tuple[str, npt.NDArray[np.int64]]:
    """Return what is drawn, ``group`` where every row names one and else ``image``, and the unit of each row from 0."""
    grouped = all(group is not None for group in table.groups)
    keys = np.array([str(key) for key in (table.groups if grouped else table.image_ids)])
    _, member = np.unique(keys, return_inverse=True)
    return "group" if grouped else "image", member


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


def bootstrap_counts(units: int, *, replicates: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield how often each unit is drawn, float64 of shape (some replicates, units), until all are made."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, _CHUNK):
        size = min(_CHUNK, replicates - start)
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


def wilson(right: int, total: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share of few rows, for which a bootstrap is too narrow at its ends; None of none.

    References
    ----------
    Wilson 1927.
    """
    from scipy.stats import binomtest

    if not total:
        return None
    found = binomtest(right, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
