"""Metrics of a prediction table, by scikit-learn's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from .abstain import abstention
from .calibration import calibration, calibration_note
from .class_metrics import class_metrics
from .known_metrics import list_metrics
from .operating import decision_curve, operating_point, wanted_point
from .predictions import PredictionTable
from .recalibration import recalibration, unit_of_rows
from .roc import fold_curves
from .two_class import TwoClassView, default_thresholds, positive_mask, two_class_scores
from .values import metric_values

_ORDER = (
    "n", "protocol", "classes", "accuracy", "folds", "accuracy_per_fold", "accuracy_mean", "accuracy_std", "fold_notes",
    "balanced_accuracy", "confusion", "macro_f1", "per_class", "auc", "calibration", "calibration_note", "abstention",
    "two_class",
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
        "per_class": class_metrics(table, confusion),
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


def _two_class(table: PredictionTable, view: TwoClassView) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    mask = positive_mask(table.classes, view.positive)
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
            "prevalence": float(truth.mean()),
            "thresholds": [],
            "wanted": [],
            "decision_curve": None,
        }
    scores = two_class_scores(table.probabilities, mask, rule=view.rule)
    both = bool(truth.any() and not truth.all())
    claimless = calibration_note(table) is not None
    hits = (scores >= 0.5) == truth
    per_fold = fold_curves(table, truth, scores).aucs
    known = [value for value in per_fold if value is not None]
    return {
        "positive": names,
        "rule": view.rule,
        "auc": float(roc_auc_score(truth, scores)) if both else None,
        "accuracy": float(hits.mean()),
        "accuracy_std": _fold_spread(table, hits),
        "auc_per_fold": per_fold,
        "auc_mean": float(np.mean(known)) if known else None,
        "auc_std": float(np.std(known)) if known else None,
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
        **({} if claimless else recalibration(scores, truth, units=unit_of_rows(table))),
    }


def _fold_spread(table: PredictionTable, hits: npt.NDArray[np.bool_]) -> float | None:
    """Return the population standard deviation over folds of the share that is right."""
    shares = _fold_shares(table, hits)
    return float(np.std(shares)) if shares else None
