"""Metrics of a prediction table, by scikit-learn's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from .calibration import abstention, calibration, calibration_note, recalibration
from .known_metrics import list_metrics, mean_spread, metric_values
from .operating import decision_curve, fold_curves, operating_point, wanted_point
from .predictions import PredictionTable, sampling_units
from .two_class import PREDICTED_CLASS, TwoClassView, default_thresholds, positive_mask, two_sides
from .weighted import weighted_auc, weighted_precision

_ORDER = (
    "n", "protocol", "classes", "accuracy", "folds", "accuracy_per_fold", "accuracy_mean", "accuracy_std", "fold_notes",
    "balanced_accuracy", "confusion", "macro_f1", "per_class", "auc", "calibration", "calibration_note", "abstention",
    "two_class",
)  # fmt: skip
"""Keys of ``metrics.json`` in their order; further metrics follow."""


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty where rows name no fold."""
    return _fold_shares(table, table.predicted == table.labels)


def _fold_shares(table: PredictionTable, hits: npt.NDArray[np.bool_]) -> list[float]:
    """Return the share of each fold that is right."""
    return [float(hits[inside].mean()) for _, inside in table.fold_rows()]


def compute_metrics(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = (),
    sensitivities: Sequence[float] = (),
    prevalences: Sequence[float] = (),
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
        Operating points; positive if score >= threshold. By default those of `default_thresholds`.
    sensitivities : sequence of float
        Wanted sensitivities, for each of which a threshold is fitted.
    prevalences : sequence of float
        Shares of positives elsewhere, for which predictive values are given too.

    Returns
    -------
    dict
        ``n``, ``unlabelled`` (rows of the file that have no label, where there are any), ``tested`` (see
        `PredictionTable`), ``protocol``, ``classes``, ``accuracy``, ``folds``,
        ``accuracy_per_fold``, ``accuracy_mean``, ``accuracy_std`` (over folds, population), ``trained_per_fold``
        (images; null where unknown), ``fold_notes`` (see `FoldNote`), ``balanced_accuracy``,
        ``confusion`` (rows true), ``macro_f1``, ``per_class`` (precision, recall, specificity, f1, auc, average
        precision), ``auc`` (one against the rest, mean over classes; null without probabilities or where a class has
        no image), ``calibration``, ``calibration_note``, ``abstention``, and, where a side is positive, ``two_class``:
        ``positive``, ``rule``, ``auc``, ``accuracy``, ``accuracy_std`` (over folds), ``auc_per_fold`` (null where a
        fold tests one side only), ``auc_mean``, ``auc_std``, ``prevalence`` (share of positive rows), ``thresholds``
        (see `operating_point`), ``wanted`` (see `wanted_point`), ``decision_curve``, and what
        `recalibration` says of the score. Then the metrics that other packages add, see `MetricSpec`.

    Raises
    ------
    InputError
        An unknown positive class.
    """
    from sklearn.metrics import confusion_matrix

    confusion = confusion_matrix(table.labels, table.predicted, labels=list(range(len(table.classes))))
    found: dict[str, Any] = {
        "n": len(table),
        **({"unlabelled": table.unlabelled} if table.unlabelled else {}),
        "tested": table.tested,
        "protocol": table.protocol,
        "classes": list(table.classes),
        "folds": table.fold_numbers,
        "trained_per_fold": list(table.trained) or None,
        "fold_notes": [asdict(note) for note in table.fold_notes],
        "names": {"row": table.row_is, "image": table.image_is, "group": table.group_is},
        "confusion": confusion.tolist(),
        "per_class": _of_classes(table, confusion),
        "calibration": calibration(table),
        "calibration_note": calibration_note(table),
        "abstention": abstention(table),
    }
    for spec in list_metrics():
        found |= metric_values(spec, table)
    if positive:
        view = TwoClassView(
            tuple(positive), two_class, tuple(thresholds) or default_thresholds(table.classes), tuple(sensitivities),
            tuple(prevalences),
        )  # fmt: skip
        found["two_class"] = _two_class(table, view)
    return {key: found[key] for key in sorted(found, key=_place)}


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _of_classes(table: PredictionTable, confusion: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Compute the metrics of each class against the rest, and its rows ``n``."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        table.labels, table.predicted, labels=list(range(len(table.classes))), zero_division=0.0
    )
    others = confusion.sum() - confusion.sum(axis=1)  # rows of other classes, and those called this class
    miscalled = confusion.sum(axis=0) - confusion.diagonal()
    found: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(table.classes):
        truth = table.labels == k
        ranks: list[float | None] = [None, None]
        if table.probabilities is not None and truth.any() and not truth.all():
            case = truth, table.probabilities[:, k], np.ones((1, len(table)))
            ranks = [float(formula(*case)[0]) for formula in (weighted_auc, weighted_precision)]
        specificity = float(1.0 - miscalled[k] / others[k]) if others[k] else None
        auc, average_precision = ranks
        found[name] = {
            "precision": float(precision[k]),
            "recall": float(recall[k]),
            "specificity": specificity,
            "f1": float(f1[k]),
            "auc": auc,
            "average_precision": average_precision,
            "n": int(support[k]),
        }
    return found


def _two_class(table: PredictionTable, view: TwoClassView) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    mask = positive_mask(table.classes, view.positive)
    truth, scores = two_sides(table, view.positive, view.rule)
    auc: float | None = None
    per_fold: list[float | None] = [None] * len(table.fold_numbers)
    if table.probabilities is None:  # no score, so no ranks and no thresholds
        view = TwoClassView(view.positive, PREDICTED_CLASS)
    else:
        auc = float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None
        per_fold = fold_curves(table, truth, scores).aucs
    hits = (scores >= 0.5) == truth
    auc_mean, auc_std = mean_spread(per_fold)
    claimless = calibration_note(table) is not None
    return {
        "positive": [name for name, chosen in zip(table.classes, mask, strict=True) if chosen],
        "rule": view.rule,
        "auc": auc,
        "accuracy": float(hits.mean()),
        "accuracy_std": mean_spread(_fold_shares(table, hits))[1],
        "auc_per_fold": per_fold,
        "auc_mean": auc_mean,
        "auc_std": auc_std,
        "prevalence": float(truth.mean()),
        "thresholds": [
            operating_point(truth, scores >= value, threshold=value, prevalences=view.prevalences)
            for value in view.thresholds
        ],
        "wanted": [
            point
            for wanted in view.sensitivities
            if (point := wanted_point(table, truth, scores, wanted, prevalences=view.prevalences))
        ],
        **({"without_positives": list(view.sensitivities)} if view.sensitivities and not truth.any() else {}),
        "decision_curve": None if claimless else decision_curve(truth, scores),
        **({} if claimless else recalibration(scores, truth, units=sampling_units(table)[1])),
    }
