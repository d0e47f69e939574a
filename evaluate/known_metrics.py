"""Metrics by name: those of bchisto, and those that other packages add."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ..errors import BchistoError, InputError
from ..extensions import extension_names, load_extension
from .metric import MetricSpec, Weights
from .predictions import PredictionTable

__all__ = ["ENTRY_POINT_GROUP", "OUR_METRICS", "class_auc", "list_metrics", "weighted_auc"]

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.metrics"

_TAKEN = frozenset(
    {
        "n", "protocol", "classes", "folds", "fold_notes", "confusion", "per_class", "calibration", "abstention",
        "two_class", "intervals", "unit", "units", "replicates", "warning", "table", "low", "high",
    }
)  # fmt: skip
"""What stands beside metrics in ``metrics.json`` and ``tables.csv``."""


def _hits(table: PredictionTable) -> npt.NDArray[np.bool_]:
    return np.asarray(table.predicted == table.labels)


def _accuracy(table: PredictionTable) -> float:
    return float(_hits(table).mean())


def _weighted_accuracy(table: PredictionTable, weights: Weights) -> Weights:
    return np.asarray(weights @ _hits(table).astype(np.float64) / weights.sum(axis=1))


def _balanced_accuracy(table: PredictionTable) -> float:
    return _mean_over_present(table, 1)


def _macro_f1(table: PredictionTable) -> float:
    return _mean_over_present(table, 2)


def _mean_over_present(table: PredictionTable, which: int) -> float:
    """Return the mean of precision (0), recall (1) or F1 (2) over the classes that have rows."""
    from sklearn.metrics import precision_recall_fscore_support

    places = list(range(len(table.classes)))
    found = precision_recall_fscore_support(table.labels, table.predicted, labels=places, zero_division=0.0)
    return float(found[which][found[3] > 0].mean())


def _weighted_balanced_accuracy(table: PredictionTable, weights: Weights) -> Weights:
    one_hot = np.eye(len(table.classes))[table.labels]
    support = weights @ one_hot
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = (weights * _hits(table).astype(np.float64)) @ one_hot / support
    return np.asarray(np.where(support > 0, recall, 0).sum(axis=1) / (support > 0).sum(axis=1))


def class_auc(table: PredictionTable, place: int) -> float | None:
    """Return the AUC of one class against the rest; None without probabilities, or where one side has no row."""
    from sklearn.metrics import roc_auc_score

    truth = table.labels == place
    if table.probabilities is None or truth.all() or not truth.any():
        return None
    return float(roc_auc_score(truth, table.probabilities[:, place]))


def _auc(table: PredictionTable) -> float | None:
    """Return the mean over classes of the one-against-the-rest AUC; None where one is not defined."""
    known = [value for place in range(len(table.classes)) if (value := class_auc(table, place)) is not None]
    return float(np.mean(known)) if len(known) == len(table.classes) else None


def _weighted_mean_auc(table: PredictionTable, weights: Weights) -> Weights | None:
    one_hot = np.eye(len(table.classes))[table.labels]
    if table.probabilities is None or not one_hot.any(axis=0).all():
        return None
    parts = [weighted_auc(one_hot[:, k] > 0, table.probabilities[:, k], weights) for k in range(one_hot.shape[1])]
    return np.asarray(np.mean(parts, axis=0))


def weighted_auc(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], weights: Weights) -> Weights:
    """Return the AUC under many sets of case weights.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)
    weights : ndarray of float64, shape (replicates, n)

    Returns
    -------
    ndarray of float64, shape (replicates,)
        NaN where a replicate has no positive or no negative case.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    yes = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    no = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(no, axis=1) - no / 2.0  # ties count half
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((yes * below).sum(axis=1) / (yes.sum(axis=1) * no.sum(axis=1)))


_BUILT_IN = (
    MetricSpec(
        "accuracy", "accuracy", _accuracy, _weighted_accuracy, unit="percent", shown=("value", "interval", "folds")
    ),
    MetricSpec(
        "balanced_accuracy", "balanced accuracy", _balanced_accuracy, _weighted_balanced_accuracy, per_fold=False,
        unit="percent", shown=("value",),
    ),
    MetricSpec("macro_f1", "macro F1", _macro_f1, interval=False, per_fold=False, unit="percent", shown=()),
    MetricSpec(
        "auc", "AUC", _auc, _weighted_mean_auc, needs_probabilities=True, per_fold=False, shown=("value",),
    ),
)  # fmt: skip
"""None is shown as a line: the first sentence of a table's section gives its accuracy, ``metrics.json`` the others."""

OUR_METRICS = frozenset(spec.name for spec in _BUILT_IN)
"""Names of the metrics of bchisto."""


def list_metrics() -> tuple[MetricSpec, ...]:
    """Return all metrics: ours, then those that other packages add, by name.

    One of another package that cannot be loaded is left out with a warning, since it must cost nobody's results.
    """
    return (*_BUILT_IN, *_plug_ins(tuple(sys.path)))


@functools.lru_cache(maxsize=4)
def _plug_ins(path: tuple[str, ...]) -> tuple[MetricSpec, ...]:
    """Load what packages on Python's search path add, once for each state of it."""
    found: list[MetricSpec] = []
    taken = set(_TAKEN).union(*map(_written, _BUILT_IN))
    for name in extension_names(ENTRY_POINT_GROUP):
        try:
            spec = load_extension(ENTRY_POINT_GROUP, name, MetricSpec, what="metric")
            if spec is not None:
                _check(spec, name, taken)
        except BchistoError as error:
            _log.warning("%s; it is left out", error)
            continue
        if spec is not None:
            taken |= _written(spec)
            found.append(spec)
    return tuple(found)


def _written(spec: MetricSpec) -> set[str]:
    """Return the keys and columns that a metric fills."""
    return {*spec.keys, *spec.bounds}


def _check(spec: MetricSpec, name: str, taken: Iterable[str]) -> None:
    """Refuse a metric that fills what another one does."""
    clash = sorted(_written(spec) & set(taken))
    if clash:
        raise InputError(f"metric {name}: {clash[0]} is taken already; its package must call it otherwise")
