"""Values of metrics: of a table, of its folds, and of tables drawn from it.

One of our metrics that fails ends the command. One of another package is warned of and left out: what is evaluated may
have cost days, and one number less must not cost the others.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..errors import is_out_of_memory
from .known_metrics import OUR_METRICS
from .metric import MetricSpec, Weights
from .predictions import PredictionTable
from .resample import take_rows

_log = logging.getLogger(__name__)

T = TypeVar("T")


def metric_values(spec: MetricSpec, table: PredictionTable) -> dict[str, Any]:
    """Compute what a metric says of a table.

    Returns
    -------
    dict
        By `MetricSpec.keys`, JSON-ready: the value, and where it is wanted per fold, its mean and its spread; None
        where it is not defined.
    """
    found: dict[str, Any] = {spec.name: _value(spec, table, warn=True)}
    if not spec.per_fold:
        return found
    folds = table.fold_array
    per_fold = [_value(spec, take_rows(table, np.flatnonzero(folds == fold))) for fold in table.fold_numbers]
    known = [value for value in per_fold if value is not None]
    found[f"{spec.name}_per_fold"] = per_fold
    found[f"{spec.name}_mean"] = float(np.mean(known)) if known else None
    found[f"{spec.name}_std"] = float(np.std(known)) if known else None
    return found


def drawn_values(spec: MetricSpec, table: PredictionTable, weights: Weights) -> Weights | None:
    """Compute a metric of tables that are drawn from one, rows with replacement.

    Parameters
    ----------
    spec : MetricSpec
    table : PredictionTable
    weights : ndarray of float64, shape (replicates, rows)
        How often each row is drawn.

    Returns
    -------
    ndarray of float64, shape (replicates,), or None
        NaN where it is not defined; None where it is not for the table itself.
    """
    if spec.needs_probabilities and table.probabilities is None:
        return None
    if spec.weighted is not None:
        return _guarded(spec, table, lambda: _weighted(spec, table, weights), warn=True)
    if _value(spec, table) is None:
        return None
    rows = np.arange(len(table))
    values = [_value(spec, take_rows(table, np.repeat(rows, counts.astype(np.int64)))) for counts in weights]
    return np.array([np.nan if value is None else value for value in values])


def _value(spec: MetricSpec, table: PredictionTable, *, warn: bool = False) -> float | None:
    if spec.needs_probabilities and table.probabilities is None:
        return None
    return _guarded(spec, table, lambda: _computed(spec, table), warn=warn)


def _computed(spec: MetricSpec, table: PredictionTable) -> float | None:
    value = spec.compute(table)
    return None if value is None or not math.isfinite(value) else float(value)


def _weighted(spec: MetricSpec, table: PredictionTable, weights: Weights) -> Weights | None:
    found = None if spec.weighted is None else spec.weighted(table, weights)
    if found is None:
        return None
    if np.shape(found) != (len(weights),):
        raise ValueError(f"{np.shape(found)} values for {len(weights)} sets of weights")
    return np.asarray(found, dtype=np.float64)


def _guarded(spec: MetricSpec, table: PredictionTable, work: Callable[[], T | None], *, warn: bool) -> T | None:
    """Return what a metric gives; None where one of another package fails."""
    if spec.name in OUR_METRICS:
        return work()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of folds and draws in which a class is missing
            return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if warn:
            why = f"{type(error).__name__}: {error}"
            _log.warning("metric %s: failed on %s and is left out there (%s)", spec.name, table.name, why)
        return None
