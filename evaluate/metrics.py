"""Metrics of a table of predictions, with their intervals, and its two-class view."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, Parameter, Settings, converted, option, plural
from ..data import known_positive, match_class, order_classes
from .calibration import calibration, calibration_note, recalibration
from .influence import LEVEL, Part, auc_part, confusion, spread
from .known_metrics import (
    by_patient,
    class_aucs,
    class_parts,
    list_metrics,
    mean_spread,
    metric_values,
    parts_of,
)
from .operating import called_point, fold_curves, wanted_point
from .predictions import PredictionTable, fold_notes
from .variance import Units, interval

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
            matches = tuple(
                name for name in (match_class(k, classes) for k in known) if name is not None
            )
        except InputError:  # two classes fit one, so these are the user's own
            continue
        if len(matches) == len(known) < len(classes):
            return matches
    return ()


def _above_zero(value: Any, name: str, *, most: str) -> tuple[float, ...]:
    """Take shares above 0, up to or below 1."""
    shares = converted(value, name, tuple[float, ...])
    if strange := [
        share for share in shares if not 0.0 < share <= 1.0 or (share == 1.0 and most == "below")
    ]:
        raise InputError("{} {}: give a fraction above 0, {} 1", Parameter(name), strange[0], most)
    return shares


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
        form=functools.partial(_above_zero, most="up to"),
        help="Target sensitivity: each fold gets a threshold fitted on the others.",
    )
    prevalences: tuple[float, ...] = option(
        (),
        flag="prevalence",
        form=functools.partial(_above_zero, most="below"),
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
        """Return what ``metrics.json`` has of the view, so that evaluating the table again follows it.

        Examples
        --------
        >>> TwoClassView().recorded(["normal", "benign", "in situ", "invasive"])["thresholds"]
        [0.33, 0.5]
        """
        usual = _BACH_THRESHOLDS if order_classes(classes) == _BACH else (0.5,)
        return {
            "positive": list(self.positive or default_positive(classes)),
            "rule": self.rule or "sum",
            "thresholds": list(self.thresholds or usual),
            "sensitivities": list(self.sensitivities),
            "prevalences": list(self.prevalences),
        }

    def over(self, recorded: TwoClassView) -> TwoClassView:
        """Return the view of a table whose run recorded one."""
        return TwoClassView(
            **{
                field.name: getattr(self, field.name) or getattr(recorded, field.name)
                for field in fields(self)
            }
        )


def positive_mask(classes: Sequence[str], positive: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which classes are positive, bool of shape (classes,).

    Raises
    ------
    InputError
        A name that is not a class, or every class positive.
    """
    names = [match_class(text, classes) for text in positive]
    if None in names:
        strange = positive[names.index(None)]
        raise InputError(
            "{positive} {}: no such class; choose among {}", strange, ", ".join(classes)
        )
    mask = np.array([name in names for name in classes])
    if mask.all():
        raise InputError(
            Message("{positive}: every class is positive; leave at least one negative")
        )
    return mask


class TwoSides(NamedTuple):
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
        return TwoSides(
            mask[table.labels], called.astype(np.float64), np.zeros(len(table), dtype=np.bool_)
        )
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
        return np.asarray(probabilities[:, positive].sum(axis=1))
    yes, no = probabilities[:, positive].max(axis=1), probabilities[:, ~positive].max(axis=1)
    both = yes + no
    return np.asarray(np.divide(yes, both, out=np.full_like(both, 0.5), where=both > 0))


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty where rows name no fold."""
    hits = table.predicted == table.labels
    return [float(hits[inside].mean()) for _, inside in table.fold_rows()]


ESTIMAND = (
    "the trained models on new {units} of the same kind; models and folds are taken as they are"
)
"""What an interval is about; see ``docs/evaluation.md``."""

PRECISE = 0.05
"""Half of the width of the interval that `units_needed` plans for: 5 percentage points, as is usual."""

_HEADLINES = ("accuracy", "patient_recognition_rate")


def measure(
    table: PredictionTable, view: TwoClassView | None = None, *, bootstrap: int = 2000
) -> dict[str, Any]:
    """Compute the metrics of a table with their 95 % intervals, JSON-ready.

    Images are the units, or groups where they are known, since images of one patient are not independent. Figures have
    the intervals of `variance.interval`; a metric of another package without influences has the percentile bootstrap.

    Parameters
    ----------
    table : PredictionTable
    view : TwoClassView, optional
        What is left open is that of a known dataset. Without positive classes, there is no two-class view.
    bootstrap : int
        Draws of units for the bootstrap; with 0 such a metric has no interval.

    Returns
    -------
    dict
        Each figure is a dict of its ``value``, its ``interval`` (null if there is none), the ``method`` of that, and
        the ``reason`` why it cannot be estimated; null where the figure is not defined. ``docs/files.md`` lists all
        keys.

    Raises
    ------
    InputError
        An unknown positive class.

    References
    ----------
    Field & Welsh 2007 for the cluster bootstrap. Coverage is measured in ``tools/benchmarks/coverage.py``.
    """
    chosen, units = (
        TwoClassView(**(view or TwoClassView()).recorded(table.classes)),
        Units.of(table),
    )
    matrix = confusion(table.labels, table.predicted, len(table.classes)).astype(np.int64)
    counts = matrix.sum(axis=1)
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
        "confusion": matrix.tolist(),
        "calibration": calibration(table),
        "calibration_note": calibration_note(table),
    }
    specs = list_metrics()
    for spec in specs:
        if spec.parts is not None:
            metrics |= metric_values(spec, table, units, draws=bootstrap)
    metrics["per_class"] = {
        name: {
            figure: part and interval([part], units).json()
            for figure, part in class_parts(table, k).items()
        }
        | {"n": int(counts[k])}
        for k, name in enumerate(table.classes)
    }
    if chosen.positive:
        metrics["two_class"] = _two_class(table, chosen, units)
    for spec in specs:  # the bootstrap is the last in a list of methods
        if spec.parts is None:
            metrics |= metric_values(spec, table, units, draws=bootstrap)
    metrics["chance"] = {
        "largest_class": float(counts.max() / counts.sum()),
        "balanced": float(1 / (counts > 0).sum()),
    }
    if metrics["patient_recognition_rate"] is not None:
        shares = [by_patient(table, table.labels == k).value for k in range(len(table.classes))]
        metrics["chance"] |= {
            "by_group": max(shares),
            "class_by_group": table.classes[int(np.argmax(shares))],
        }
    several = metrics["auc"] is not None and len(table.fold_numbers) > 1
    if several and None not in class_aucs(
        table, pooled=False
    ):  # else pairs of all folds are ranked in any case
        metrics["auc_pooled"] = float(
            np.mean([part.value for part in class_aucs(table, pooled=True) if part])
        )
    metrics["units"] = {
        "kind": units.kind,
        "count": units.count,
        "groups": len({group for group in table.groups if group is not None}),
        "divided": table.divided,
        "trained": len(table.not_new),
        "largest": float(np.bincount(units.member).max() / len(table)),
        "ungrouped": sum(table.groups[row] is None for row in table.first_rows)
        if units.kind == "group"
        else 0,
        "estimand": ESTIMAND.format(units=plural(units.kind)),
        "needed": {
            spec.name: units_needed(parts_of(spec, table)[0], units)
            for spec in specs
            if spec.name in _HEADLINES and metrics[spec.name] and metrics[spec.name]["interval"]
        },
    }
    return metrics


def units_needed(part: Part, units: Units) -> int | None:
    """Return how many units like these an interval of `PRECISE` would take; None if no row differs from the others."""
    from scipy.special import ndtri

    inside = part.sides[0]
    rows, count = float(inside.sum()), len(np.unique(units.member[inside]))
    variance = max(
        spread([part], units.member).variance, part.value * (1.0 - part.value) / rows
    )  # as intervals have
    return (
        int(np.ceil(count * variance * units.factor([part]) * (ndtri(LEVEL) / PRECISE) ** 2))
        or None
    )


def _two_class(table: PredictionTable, view: TwoClassView, units: Units) -> dict[str, Any]:
    """Return what the two-class view of a table gives.

    ``auc_per_fold`` is null where a fold tests one side only, ``prevalence`` the share of positive rows; for
    ``thresholds`` see `called_point`, for ``wanted`` `wanted_point`, and for the rest `recalibration`.
    """
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
    accuracy = units.share(sides.right)
    return {
        "positive": [name for name, chosen in zip(table.classes, mask, strict=True) if chosen],
        "rule": view.rule,
        "accuracy": accuracy and accuracy.json(),
        "accuracy_std": mean_spread(
            [float(sides.right[inside].mean()) for _, inside in table.fold_rows()]
        )[1],
        "auc": auc and interval([auc], units).json(),
        **({"auc_pooled": pooled.value} if within and pooled and per_fold[1:] else {}),
        "auc_per_fold": per_fold,
        "auc_mean": auc_mean,
        "auc_std": auc_std,
        "prevalence": float(truth.mean()),
        "thresholds": [
            called_point(table, truth, sides.called(value), value, view.prevalences)
            for value in view.thresholds
        ],
        "wanted": [
            point
            for wanted in view.sensitivities
            if (point := wanted_point(table, truth, scores, wanted, prevalences=view.prevalences))
        ],
        **(
            {} if calibration_note(table) is not None else recalibration(scores, truth, units=units)
        ),
    }
