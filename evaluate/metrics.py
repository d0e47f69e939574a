"""Metrics of a prediction table, by scikit-learn's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from .abstain import abstention
from .calibration import calibration
from .class_metrics import class_metrics
from .known_metrics import list_metrics
from .predictions import PredictionTable
from .roc import fold_curves
from .two_class import DEFAULT_THRESHOLDS, positive_mask, two_class_scores
from .values import metric_values

__all__ = ["compute_metrics", "fold_accuracies"]

_ORDER = (
    "n", "protocol", "classes", "accuracy", "folds", "accuracy_per_fold", "accuracy_mean", "accuracy_std", "fold_notes",
    "balanced_accuracy", "confusion", "macro_f1", "per_class", "auc", "calibration", "abstention", "two_class",
)  # fmt: skip
"""Keys of ``metrics.json`` in the order of the first release; further metrics follow."""


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty where rows name no fold."""
    return _fold_shares(table, table.predicted == table.labels)


def _fold_shares(table: PredictionTable, hits: npt.NDArray[np.bool_]) -> list[float]:
    """Return the share of each fold that is right."""
    folds = table.fold_array
    return [float(hits[folds == fold].mean()) for fold in table.fold_numbers]


def compute_metrics(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> dict[str, Any]:
    """Compute the metrics of a table, JSON-ready.

    Parameters
    ----------
    table : PredictionTable
    positive : sequence of str
        Classes of the positive side of the two-class view; empty leaves it out.
    two_class : {"sum", "max"}
        Rule of the two-class score.
    thresholds : sequence of float
        Operating points; positive if score >= threshold.

    Returns
    -------
    dict
        ``n``, ``protocol``, ``classes``, ``accuracy``, ``folds``, ``accuracy_per_fold``, ``accuracy_mean``,
        ``accuracy_std`` (over folds, population), ``fold_notes`` (see `FoldNote`), ``balanced_accuracy``,
        ``confusion`` (rows true), ``macro_f1``, ``per_class`` (precision, recall, specificity, f1, auc, average
        precision), ``auc`` (one against the rest, mean over classes; null without probabilities or where a class has
        no image), ``calibration``, ``abstention``, and, where a side is positive, ``two_class``: ``positive``,
        ``rule``, ``auc``, ``accuracy``, ``accuracy_std`` (over folds), ``auc_per_fold`` (null where a fold tests one
        side only), ``auc_mean``, ``auc_std``, and per operating point ``sensitivity``, ``specificity`` and
        ``confusion`` (rows true, negative first). Then the metrics that other packages add, see `MetricSpec`.

    Raises
    ------
    InputError
        An unknown positive class.
    """
    from sklearn.metrics import confusion_matrix

    confusion = confusion_matrix(table.labels, table.predicted, labels=list(range(len(table.classes))))
    found: dict[str, Any] = {
        "n": len(table),
        "protocol": table.protocol,
        "classes": list(table.classes),
        "folds": table.fold_numbers,
        "fold_notes": [asdict(note) for note in table.fold_notes],
        "confusion": confusion.tolist(),
        "per_class": class_metrics(table, confusion),
        "calibration": calibration(table),
        "abstention": abstention(table),
    }
    for spec in list_metrics():
        found |= metric_values(spec, table)
    if positive:
        found["two_class"] = _two_class(table, positive=positive, rule=two_class, thresholds=thresholds)
    return {key: found[key] for key in sorted(found, key=_place)}


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _two_class(
    table: PredictionTable, *, positive: Sequence[str], rule: str, thresholds: Sequence[float]
) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    mask = positive_mask(table.classes, positive)
    truth = mask[table.labels]
    names = [name for name, chosen in zip(table.classes, mask, strict=True) if chosen]
    if table.probabilities is None:
        hits = mask[table.predicted] == truth
        return {
            "positive": names,
            "rule": "predicted class",
            "auc": None,
            "accuracy": float(hits.mean()),
            "accuracy_std": _fold_spread(table, hits),
            "auc_per_fold": [None] * len(table.fold_numbers),
            "auc_mean": None,
            "auc_std": None,
            "thresholds": [],
        }
    scores = two_class_scores(table.probabilities, mask, rule=rule)
    both = bool(truth.any() and not truth.all())
    hits = (scores >= 0.5) == truth
    per_fold = fold_curves(table, truth, scores).aucs
    known = [value for value in per_fold if value is not None]
    return {
        "positive": names,
        "rule": rule,
        "auc": float(roc_auc_score(truth, scores)) if both else None,
        "accuracy": float(hits.mean()),
        "accuracy_std": _fold_spread(table, hits),
        "auc_per_fold": per_fold,
        "auc_mean": float(np.mean(known)) if known else None,
        "auc_std": float(np.std(known)) if known else None,
        "thresholds": [_operating_point(truth, scores, threshold) for threshold in thresholds],
    }


def _fold_spread(table: PredictionTable, hits: npt.NDArray[np.bool_]) -> float | None:
    """Return the population standard deviation over folds of the share that is right."""
    shares = _fold_shares(table, hits)
    return float(np.std(shares)) if shares else None


def _operating_point(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], threshold: float) -> dict[str, Any]:
    called = scores >= threshold
    confusion = [[int((side & answer).sum()) for answer in (~called, called)] for side in (~truth, truth)]
    (true_negative, false_positive), (false_negative, true_positive) = confusion
    yes, no = false_negative + true_positive, true_negative + false_positive
    return {
        "threshold": threshold,
        "sensitivity": true_positive / yes if yes else None,
        "specificity": true_negative / no if no else None,
        "confusion": confusion,
    }
