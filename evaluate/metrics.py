"""Metrics of a table of predictions, and its two-class view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, Parameter, Settings, as_numbers, option
from ..data import known_positive, match_class, order_classes
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
)
from .operating import called_point, fold_curves, wanted_point
from .predictions import PredictionTable, fold_notes
from .variance import Units

_BACH, _BACH_THRESHOLDS = ("Normal", "Benign", "InSitu", "Invasive"), (0.33, 0.5)
"""Operating points of the classes of BACH, the set points of Rakhlin et al. 2018, sec. 3."""

TWO_CLASS_RULES = ("sum", "max")
"""``sum`` adds the probabilities of the positive classes; ``max`` takes the largest of each side and
renormalises, as the published code of Rakhlin et al. 2018 does."""

PREDICTED_CLASS = "predicted class"
"""The rule of a table without probabilities, which none can be chosen for."""


def default_positive(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes of a known dataset, empty for any other.

    Examples
    --------
    >>> default_positive(["Normal", "Benign", "InSitu", "Invasive"])
    ('InSitu', 'Invasive')
    """
    for known in known_positive():
        try:
            matches = tuple(name for name in (match_class(k, classes) for k in known) if name is not None)
        except InputError:  # two classes fit one, so these are the user's own
            continue
        if len(matches) == len(known) < len(classes):
            return matches
    return ()


def default_thresholds(classes: Sequence[str]) -> tuple[float, ...]:
    """Return the operating points of a table that none were chosen for.

    Examples
    --------
    >>> default_thresholds(["normal", "benign", "in situ", "invasive"]), default_thresholds(["benign", "malignant"])
    ((0.33, 0.5), (0.5,))
    """
    return _BACH_THRESHOLDS if order_classes(classes) == _BACH else (0.5,)


def _above_zero(most: str) -> Callable[[Any, str], tuple[float, ...]]:
    """Return what takes shares above 0, up to or below 1."""

    def form(value: Any, name: str) -> tuple[float, ...]:
        shares = as_numbers(value, name)
        if strange := [share for share in shares if not 0.0 < share <= 1.0 or (share == 1.0 and most == "below")]:
            raise InputError("{} {}: give a fraction above 0, {} 1", Parameter(name), strange[0], most)
        return shares

    return form


@dataclass(frozen=True)
class TwoClassView(Settings):
    """What the two-class view of a table is made of; what is left open is as the run of the table had it."""

    positive: tuple[str, ...] = option(
        (),
        group="Evaluation",
        metavar="CLASS",
        help="Positive class of a two-class view; default: those of the run of a table, else of a known dataset.",
    )
    rule: str | None = option(
        None,
        flag="two-class",
        choices=TWO_CLASS_RULES,
        more=lambda: (*TWO_CLASS_RULES, PREDICTED_CLASS),
        help="Add the probabilities of a side, or take its largest and renormalise; default: as the run of a table "
        "did, else sum.",
    )
    thresholds: tuple[float, ...] = option(
        (),
        group="Evaluation",
        flag="threshold",
        least=0,
        most=1,
        help="Operating point of the two-class view; default: those of the run of a table, else 0.33 and 0.5 for the "
        "classes of BACH, else 0.5.",
    )
    sensitivities: tuple[float, ...] = option(
        (),
        group="Evaluation",
        flag="sensitivity",
        form=_above_zero("up to"),
        help="Target sensitivity: each fold gets a threshold fitted on the others.",
    )
    prevalences: tuple[float, ...] = option(
        (),
        flag="prevalence",
        form=_above_zero("below"),
        help="Prevalence in another population, for which predictive values are given too.",
    )

    def check(self, classes: Sequence[str]) -> None:
        """Refuse what cannot be computed of tables of these classes, before any work.

        Raises
        ------
        InputError
            A positive class that is not a class, or every class positive.
        """
        if self.positive:
            positive_mask(classes, self.positive)

    def recorded(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what ``metrics.json`` has of the view, so that evaluating the table again follows it."""
        return {
            "positive": list(self.positive or default_positive(classes)),
            "rule": self.rule or "sum",
            "thresholds": list(self.thresholds or default_thresholds(classes)),
            "sensitivities": list(self.sensitivities),
            "prevalences": list(self.prevalences),
        }

    def over(self, recorded: TwoClassView) -> TwoClassView:
        """Return the view of a table whose run recorded one."""
        return TwoClassView(
            **{field.name: getattr(self, field.name) or getattr(recorded, field.name) for field in fields(self)}
        )


def positive_mask(classes: Sequence[str], positive: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which classes are positive, bool of shape (classes,).

    Raises
    ------
    InputError
        A name that is not a class, or every class positive.
    """
    names = []
    for text in positive:
        match = match_class(text, classes)
        if match is None:
            raise InputError("{positive} {}: no such class; choose among {}", text, ", ".join(classes))
        names.append(match)
    mask = np.array([name in names for name in classes])
    if mask.all():
        raise InputError(Message("{positive}: every class is positive; leave at least one negative"))
    return mask


@dataclass(frozen=True)
class TwoSides:
    """The rows of a table in its two-class view.

    Attributes
    ----------
    truth : ndarray of bool, shape (n,)
        Which rows are truly positive.
    scores : ndarray of float64, shape (n,)
        1 or 0 if only the predicted class is known.
    tied : ndarray of bool, shape (n,)
        Rows of two classes with the score 0.5 that are predicted negative.
    """

    truth: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    tied: npt.NDArray[np.bool_]

    def called(self, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
        """Return which rows are positive: those with at least this score.

        Of two classes with the same probability the predicted one holds, so that the operating point 0.5 calls every
        row as the confusion matrix does.
        """
        return np.asarray((self.scores >= threshold) & ~(self.tied & (threshold == 0.5)))

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether a row is on its true side at 0.5, bool of shape (n,)."""
        return np.asarray(self.called() == self.truth)


def two_sides(table: PredictionTable, positive: Sequence[str], rule: str | None) -> TwoSides:
    """Return the two-class view of a table."""
    mask = positive_mask(table.classes, positive)
    called = mask[table.predicted]
    if table.probabilities is None:
        return TwoSides(mask[table.labels], called.astype(np.float64), np.zeros(len(table), dtype=np.bool_))
    scores = two_class_scores(table.probabilities, mask, rule=rule or "sum")
    return TwoSides(mask[table.labels], scores, ~called & (scores == 0.5) & (len(mask) == 2))


def two_class_scores(
    probabilities: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_], *, rule: str = "sum"
) -> npt.NDArray[np.float64]:
    """Return the score of the positive side, float64 of shape (n,).

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    positive : ndarray of bool, shape (classes,)
    rule : {"sum", "max"}
        See `TWO_CLASS_RULES`.

    Examples
    --------
    >>> two_class_scores(np.array([[0.5, 0.1, 0.25, 0.15]]), np.array([False, False, True, True]), rule="max")
    array([0.33333333])
    """
    if rule == "sum":
        total: npt.NDArray[np.float64] = probabilities[:, positive].sum(axis=1)
        return total
    yes, no = probabilities[:, positive].max(axis=1), probabilities[:, ~positive].max(axis=1)
    both = yes + no
    scores: npt.NDArray[np.float64] = np.divide(yes, both, out=np.full_like(both, 0.5), where=both > 0)
    return scores


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
