"""Metrics of each class against the rest: one entry each, for ``metrics.json``, ``per-class`` and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .predictions import PredictionTable
from .weighted import weighted_auc, weighted_precision


@dataclass(frozen=True)
class _Class:
    """One class of a table, and what scikit-learn counts of it."""

    table: PredictionTable
    place: int
    confusion: npt.NDArray[np.int64]
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassMetric:
    """A number of a class against the rest.

    Attributes
    ----------
    name : str
        Its key and column.
    title : str
        What a report calls it.
    unit : {"percent", "number"}
    compute : callable
        Takes one class; returns a float, or None where it is not defined.
    """

    name: str
    title: str
    unit: str
    compute: Callable[[_Class], float | None]


def class_metrics(table: PredictionTable, confusion: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Compute the metrics of each class, and its rows ``n``.

    Parameters
    ----------
    table : PredictionTable
    confusion : ndarray of int, shape (classes, classes)
        Rows true.
    """
    from sklearn.metrics import precision_recall_fscore_support

    places = list(range(len(table.classes)))
    precision, recall, f1, support = precision_recall_fscore_support(
        table.labels, table.predicted, labels=places, zero_division=0.0
    )
    found = {}
    for k, name in enumerate(table.classes):
        one = _Class(table, k, confusion, float(precision[k]), float(recall[k]), float(f1[k]))
        found[name] = {**{metric.name: metric.compute(one) for metric in CLASS_METRICS}, "n": int(support[k])}
    return found


def _specificity(one: _Class) -> float | None:
    """Return the share of other classes' images that are not called this class."""
    others = np.delete(one.confusion, one.place, axis=0)
    return float(1.0 - others[:, one.place].sum() / others.sum()) if others.sum() else None


def _of_scores(one: _Class, formula: Callable[..., npt.NDArray[np.float64]]) -> float | None:
    truth = one.table.labels == one.place
    if one.table.probabilities is None or truth.all() or not truth.any():
        return None
    return float(formula(truth, one.table.probabilities[:, one.place], np.ones((1, len(truth))))[0])


CLASS_METRICS = (
    ClassMetric("precision", "precision", "percent", lambda one: one.precision),
    ClassMetric("recall", "recall", "percent", lambda one: one.recall),
    ClassMetric("specificity", "specificity", "percent", _specificity),
    ClassMetric("f1", "F1", "percent", lambda one: one.f1),
    ClassMetric("auc", "AUC", "number", lambda one: _of_scores(one, weighted_auc)),
    ClassMetric("average_precision", "average precision", "number", lambda one: _of_scores(one, weighted_precision)),
)
"""In the order of the tables."""
