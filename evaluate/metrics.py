"""Metrics of a prediction table, by scikit-learn's definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .calibration import calibration, calibration_note, recalibration
from .influence import auc_part
from .known_metrics import (
    by_patient,
    class_aucs,
    class_parts,
    list_metrics,
    mean_spread,
    metric_values,
    ranks_within_folds,
)  # fmt: skip
from .operating import called_point, fold_curves, wanted_point
from .predictions import PredictionTable, fold_notes
from .two_class import PREDICTED_CLASS, TwoClassView, positive_mask, two_sides
from .variance import Units


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty where rows name no fold."""
    return _fold_shares(table, table.predicted == table.labels)


def _fold_shares(table: PredictionTable, hits: npt.NDArray[np.bool_]) -> list[float]:
    """Return the share of each fold that is right."""
    return [float(hits[inside].mean()) for _, inside in table.fold_rows()]


def compute_metrics(table: PredictionTable, view: TwoClassView | None = None) -> dict[str, Any]:
    """Compute the metrics of a table, JSON-ready.

    Parameters
    ----------
    table : PredictionTable
    view : TwoClassView, optional
        Without positive classes, there is no two-class view.

    Returns
    -------
    dict
        ``n``, ``unlabelled`` (rows of the file that have no label, where there are any), ``tested`` (see
        `PredictionTable`), ``protocol``, ``classes``, ``accuracy``, ``folds``,
        ``accuracy_per_fold``, ``accuracy_mean``, ``accuracy_std`` (over folds, population), ``trained_per_fold``
        (images of each class; null where unknown), ``fold_notes`` (see `fold_notes`), ``balanced_accuracy``,
        ``confusion`` (rows true), ``macro_f1``, ``per_class`` (precision, recall, specificity, f1, auc; null
        where not defined), ``auc`` (one against the rest, mean over classes, of pairs within folds;
        null without probabilities or where a class has no image), ``auc_pooled`` (of all pairs; if ``auc`` is of pairs
        within folds), ``chance`` (``largest_class``, its share of the rows; ``by_group``, the largest mean over groups
        of the share of a class, and ``class_by_group``, that class; ``balanced``, one over the classes that have rows),
        ``calibration``, ``calibration_note``, and, where a side is positive, ``two_class``:
        ``positive``, ``rule``, ``auc``, ``accuracy``, ``accuracy_std`` (over folds), ``auc_per_fold`` (null where a
        fold tests one side only), ``auc_mean``, ``auc_std``, ``prevalence`` (share of positive rows), ``thresholds``
        (see `called_point`), ``wanted`` (see `wanted_point`), and what `recalibration`
        says of the score. Then the metrics that other packages add, see `MetricSpec`.

    Raises
    ------
    InputError
        An unknown positive class.
    """
    from sklearn.metrics import confusion_matrix

    confusion = confusion_matrix(table.labels, table.predicted, labels=list(range(len(table.classes))))
    metrics: dict[str, Any] = {
        "n": len(table),
        **({"unlabelled": table.unlabelled} if table.unlabelled else {}),
        "tested": table.tested,
        "protocol": table.protocol,
        "classes": list(table.classes),
        "folds": table.fold_numbers,
        "trained_per_fold": list(map(list, table.trained)) or None,
        "fold_notes": fold_notes(table),
        "names": {"row": table.row_is, "image": table.image_is, "group": table.group_is},
        "confusion": confusion.tolist(),
        "per_class": {
            name: {figure: part and part.value for figure, part in class_parts(table, k).items()}
            | {"n": int(confusion[k].sum())}
            for k, name in enumerate(table.classes)
        },
        "calibration": calibration(table),
        "calibration_note": calibration_note(table),
    }
    for spec in list_metrics():
        metrics |= metric_values(spec, table)
    counts = confusion.sum(axis=1)
    metrics["chance"] = {"largest_class": float(counts.max() / counts.sum()), "balanced": float(1 / (counts > 0).sum())}
    if metrics["patient_recognition_rate"] is not None:
        shares = [by_patient(table, table.labels == k).value for k in range(len(table.classes))]
        metrics["chance"] |= {"by_group": max(shares), "class_by_group": table.classes[int(np.argmax(shares))]}
    if metrics["auc"] is not None and ranks_within_folds(table):
        metrics["auc_pooled"] = float(np.mean([part.value for part in class_aucs(table, pooled=True) if part]))
    if view is not None and view.positive:
        metrics["two_class"] = _two_class(table, TwoClassView(**view.recorded(table.classes)))
    return metrics


def _two_class(table: PredictionTable, view: TwoClassView) -> dict[str, Any]:
    mask = positive_mask(table.classes, view.positive)
    sides = two_sides(table, view.positive, view.rule)
    truth, scores = sides.truth, sides.scores
    within = pooled = None
    per_fold: list[float | None] = [None] * len(table.fold_numbers)
    if table.probabilities is None:  # no score, so no ranks and no thresholds
        view = TwoClassView(view.positive, PREDICTED_CLASS)
    else:
        within, pooled = auc_part(truth, scores, table.fold_array), auc_part(truth, scores)
        per_fold = fold_curves(table, truth, scores)[0]
    auc, (auc_mean, auc_std) = within or pooled, mean_spread(per_fold)
    claimless = calibration_note(table) is not None
    return {
        "positive": [name for name, chosen in zip(table.classes, mask, strict=True) if chosen],
        "rule": view.rule,
        "auc": auc and auc.value,
        **({"auc_pooled": pooled.value} if within and pooled and per_fold[1:] else {}),
        "accuracy": float(sides.right.mean()),
        "accuracy_std": mean_spread(_fold_shares(table, sides.right))[1],
        "auc_per_fold": per_fold,
        "auc_mean": auc_mean,
        "auc_std": auc_std,
        "prevalence": float(truth.mean()),
        "thresholds": [
            called_point(table, truth, sides.called(value), value, view.prevalences) for value in view.thresholds
        ],
        "wanted": [
            point
            for wanted in view.sensitivities
            if (point := wanted_point(table, truth, scores, wanted, prevalences=view.prevalences))
        ],
        **({} if claimless else recalibration(scores, truth, units=Units.of(table))),
    }
