"""Metrics of a table of predictions, with their intervals, and its two-class view."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    InputError,
    Message,
    Numbers,
    Parameter,
    Settings,
    Texts,
    converted,
    option,
    plural,
)
from ..data import known_positive, match_class, order_classes
from .calibration import calibration, calibration_note, recalibration
from .influence import (
    LEVEL,
    Mask,
    Part,
    Values,
    all_or_none,
    auc_in_folds,
    confusion,
    unit_variation,
)
from .known_metrics import (
    MetricSpec,
    by_patient,
    class_aucs,
    class_parts,
    list_metrics,
    mean_and_std,
    metric_values,
    parts_of,
)
from .operating import called_point, fold_curves, wanted_point
from .predictions import PredictionTable, fold_notes, folds_that_learnt
from .variance import Entry, Units

_log = logging.getLogger(__name__)

_BACH = ("Normal", "Benign", "InSitu", "Invasive")

_BACH_THRESHOLDS = (0.33, 0.5)
"""Operating points of the classes of BACH, the set points of Rakhlin et al. 2018, sec. 3."""

TWO_CLASS_RULES = ("sum", "max")
"""``sum`` adds the probabilities of the positive classes; ``max`` takes the largest of each side and
renormalises, as the published code of Rakhlin et al. 2018 does."""

PREDICTED_CLASS = "predicted class"
"""The rule of a table without probabilities, which none can be chosen for."""


PRECISE = 0.05
"""Half of the width of the interval that `units_needed` plans for: 5 percentage points, as is usual."""

_HEADLINES = ("accuracy", "patient_recognition_rate")


def default_positive(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes of a known dataset, empty for any other.

    Examples
    --------
    >>> default_positive(["Normal", "Benign", "InSitu", "Invasive"])
    ('InSitu', 'Invasive')
    """
    for positive in known_positive():
        try:
            matches = [match_class(name, classes) for name in positive]
        except InputError:  # two classes fit one, so these are the user's own
            continue
        present = tuple(name for name in matches if name is not None)
        if len(present) == len(positive) < len(classes):
            return present
    return ()


def _above_zero(value: Any, name: str, *, bound: str) -> tuple[float, ...]:
    """Take shares above 0, up to or below 1."""
    shares = converted(value, name, tuple[float, ...])
    for share in shares:
        if not 0.0 < share <= 1.0 or (share == 1.0 and bound == "below"):
            raise InputError("{} {}: give a fraction above 0, {} 1", Parameter(name), share, bound)
    return shares


@dataclass(frozen=True)
class TwoClassView(Settings):
    """What the two-class view of a table is made of; what is left open is as the run of the table had it."""

    positive: Texts = option(
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
    thresholds: Numbers = option(
        (),
        group="Evaluation",
        flag="threshold",
        least=0,
        most=1,
        help="Operating point of the two-class view; default: those of the run of a table, else 0.33 and 0.5 for the "
        "classes of BACH, else 0.5.",
    )
    sensitivities: Numbers = option(
        (),
        group="Evaluation",
        flag="sensitivity",
        form=functools.partial(_above_zero, bound="up to"),
        help="Target sensitivity: each fold gets a threshold fitted on the others.",
    )
    prevalences: Numbers = option(
        (),
        flag="prevalence",
        form=functools.partial(_above_zero, bound="below"),
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

    def recorded(self, classes: Sequence[str]) -> Entry:
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


def positive_mask(classes: Sequence[str], positive: Sequence[str]) -> Mask:
    """Return which classes are positive, bool of shape (classes,).

    Raises
    ------
    InputError
        A name that is not a class, or every class positive.
    """
    names = [match_class(text, classes) for text in positive]
    if None in names:
        raise InputError(
            "{positive} {}: no such class; choose among {}",
            positive[names.index(None)],
            ", ".join(classes),
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
    predicted : ndarray of bool, shape (n,)
        Whether the predicted class is positive.
    by_class : bool
        Whether 0.5 asks for the predicted class, see `asks_for_class`.
    """

    truth: Mask
    scores: Values
    predicted: Mask
    by_class: bool

    def called(self, threshold: float = 0.5) -> Mask:
        """Return which rows are positive: those with at least this score, or at 0.5 perhaps by their class."""
        if self.by_class and threshold == 0.5:
            return self.predicted
        return self.scores >= threshold

    @property
    def right(self) -> Mask:
        """Whether a row is on its true side at 0.5, bool of shape (n,)."""
        return np.asarray(self.called() == self.truth)


def two_sides(table: PredictionTable, positive: Sequence[str], rule: str | None) -> TwoSides:
    """Return the two-class view of a table."""
    mask = positive_mask(table.classes, positive)
    predicted = mask[table.predicted]
    scores = predicted.astype(np.float64)
    if table.probabilities is not None:
        scores = two_class_scores(table.probabilities, mask, rule=rule or "sum")
    return TwoSides(mask[table.labels], scores, predicted, asks_for_class(mask, rule))


def asks_for_class(positive: Mask, rule: str | None) -> bool:
    """Return whether the threshold 0.5 asks which class is predicted, so that this one decides a tie.

    It does of two classes, and of the largest of each side: a row is called as the confusion matrix has it, whatever
    the digits to which a table was rounded. A sum of classes has no class, and a fitted threshold is no tie.
    """
    return len(positive) == 2 or rule == "max"


def two_class_scores(probabilities: Values, positive: Mask, *, rule: str) -> Values:
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
    largest = probabilities[:, positive].max(axis=1)
    both = largest + probabilities[:, ~positive].max(axis=1)
    return np.asarray(np.divide(largest, both, out=np.full_like(both, 0.5), where=both > 0))


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty where rows name no fold."""
    return [float(table.hits[inside].mean()) for _, inside in table.fold_rows()]


def measure(
    table: PredictionTable, view: TwoClassView | None = None, *, bootstrap: int = 2000
) -> Entry:
    """Compute the metrics of a table with their 95 % intervals, and log its `PredictionTable.cautions`.

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
        By the keys of ``metrics.json``, which ``docs/files.md`` lists; ``calibration`` has the Brier score summed over
        classes, which of two classes is twice that of scikit-learn. Each figure is a `Figure`: its ``value``, its
        ``interval`` (None if there is none), the ``method`` of that, and the ``reason`` why it cannot be estimated are
        attributes, and can be read by key, too. None where a figure is not defined.
        ``json.dumps(metrics, default=Figure.json)`` writes them.

    Raises
    ------
    InputError
        An unknown positive class, or something else than a table.

    References
    ----------
    Field & Welsh 2007 for the cluster bootstrap. Coverage is measured in ``tools/benchmarks/coverage.py``.
    """
    if not isinstance(table, PredictionTable):
        text = "`table`: give one table of read_predictions, not a {}"  # type: ignore[unreachable]
        raise InputError(text, type(table).__name__)
    for caution in table.cautions:
        _log.warning("%s: %s", table.name, caution)
    return metrics_of(table, view, bootstrap=bootstrap)


def metrics_of(
    table: PredictionTable, view: TwoClassView | None = None, *, bootstrap: int = 2000
) -> Entry:
    """Return what `measure` returns, without a word: for tables whose cautions are told elsewhere."""
    view = TwoClassView(**TwoClassView.of(view).recorded(table.classes))
    units = Units.of(table)
    metrics = _facts(table)
    specs = list_metrics()
    for spec in specs:
        metrics |= metric_values(spec, table, units, draws=bootstrap)
    metrics["per_class"] = _per_class(table, units)
    if view.positive:
        metrics["two_class"] = _two_class(table, view, units)
    metrics["chance"] = _chance(table, by_group=metrics["patient_recognition_rate"] is not None)
    if np.ptp(table.fold_array) > 0:
        metrics |= _pooled_auc(class_aucs(table), class_aucs(table, pooled=True))
    headlines = [
        spec
        for spec in specs
        if spec.name in _HEADLINES and metrics[spec.name] and metrics[spec.name].interval
    ]
    metrics["units"] = _units(table, units, headlines)
    return metrics


def _facts(table: PredictionTable) -> Entry:
    """Return what a table is, its confusion matrix and its calibration."""
    facts = {"n": len(table)}
    if table.unlabelled:
        facts["unlabelled"] = table.unlabelled
    matrix = confusion(table.labels, table.predicted, len(table.classes)).astype(np.int64)
    return facts | {
        "tested": table.tested,
        "protocol": table.protocol,
        "classes": list(table.classes),
        "folds": table.fold_numbers,
        "learnt": any(folds_that_learnt(table)),
        "trained_per_fold": list(map(list, table.trained)) or None,
        "fold_notes": fold_notes(table),
        "names": {"row": table.row_is, "image": table.image_is, "group": table.group_is},
        "confusion": matrix.tolist(),
        "calibration": calibration(table),
        "calibration_note": calibration_note(table),
    }


def _per_class(table: PredictionTable, units: Units) -> dict[str, Entry]:
    """Return the figures of each class against the rest, and its rows."""
    counts = np.bincount(table.labels, minlength=len(table.classes))
    per_class: dict[str, Entry] = {}
    for k, name in enumerate(table.classes):
        per_class[name] = {
            figure: units.figure(part) for figure, part in class_parts(table, k).items()
        }
        per_class[name]["n"] = int(counts[k])
    return per_class


def _chance(table: PredictionTable, *, by_group: bool) -> Entry:
    """Return what is right by chance: by the largest class, on average over classes, and over groups."""
    counts = np.bincount(table.labels, minlength=len(table.classes))
    chance: Entry = {
        "largest_class": float(counts.max() / counts.sum()),
        "balanced": float(1 / (counts > 0).sum()),
    }
    if by_group:
        shares = [by_patient(table, table.labels == k).value for k in range(len(table.classes))]
        chance["by_group"] = max(shares)
        chance["class_by_group"] = table.classes[int(np.argmax(shares))]
    return chance


def _pooled_auc(
    aucs: Sequence[Part | None], of_all_pairs: Sequence[Part | None]
) -> dict[str, float]:
    """Return the AUC over pairs of all folds, where `aucs` are of pairs within folds."""
    pooled = [part.value for part in all_or_none(of_all_pairs) if part.pooled]
    if not pooled or any(part.pooled for part in all_or_none(aucs)):
        return {}
    return {"auc_pooled": float(np.mean(pooled))}


def _units(table: PredictionTable, units: Units, headlines: Sequence[MetricSpec]) -> Entry:
    """Return what of the rows is independent, and how many units the first figures of a report would need."""
    of_groups = units.kind == "group"
    kind = plural(table.group_is if of_groups else units.kind)
    classes = range(len(table.classes))
    return {
        "kind": units.kind,
        "count": units.count,
        "groups": len({*table.groups} - {None}),
        "divided": table.divided,
        "trained": len(table.not_new),
        "trained_groups": len(table.groups_of_training.intersection(table.groups)),
        "one_class_folds": _tests_single_classes(table),
        "of_class": [len({*units.member[table.labels == k].tolist()}) for k in classes],
        "largest": float(np.bincount(units.member).max() / len(table)),
        "ungrouped": ungrouped_images(table, units),
        # what an interval is about; see ``docs/statistics.md``
        "estimand": f"the trained models on new {kind} of the same kind; models and folds are taken as they are",
        "needed": {spec.name: units_needed(parts_of(spec, table)[0], units) for spec in headlines},
    }


def ungrouped_images(table: PredictionTable, units: Units) -> int:
    """Return how many units are images, in a table of groups."""
    if units.kind != "group":
        return 0
    return table.ungrouped


def _tests_single_classes(table: PredictionTable) -> bool:
    """Return whether there are several folds and classes, and each fold tests only one class."""
    single = [np.ptp(table.labels[inside]) == 0 for _, inside in table.fold_rows()]
    return len(single) > 1 and all(single) and bool(np.ptp(table.labels) > 0)


def units_needed(part: Part, units: Units) -> int | None:
    """Return how many units like these an interval of `PRECISE` would take; None if no row differs from the others.

    References
    ----------
    Bhatia & Davis 2000 (the variance of a number from 0 to 1, at most that of as many wholly right or wrong units).
    """
    from scipy.special import ndtri

    inside = part.sides[0]
    count = len(np.unique(units.member[inside]))
    variation = unit_variation([part], units.member)
    scatter = part.value * (1.0 - part.value)
    # at least the variance of as many independent rows, as intervals have, and at most that of as many units
    variance = max(variation.variance, scatter / float(inside.sum()))
    variance = min(variance, scatter / variation.each[0].units)
    needed = int(np.ceil(count * variance * units.factor([part]) * (ndtri(LEVEL) / PRECISE) ** 2))
    if needed == 0:
        return None
    return needed


def _two_class(table: PredictionTable, view: TwoClassView, units: Units) -> Entry:
    """Return what the two-class view of a table gives.

    ``auc_per_fold`` is null where a fold tests one side only, ``prevalence`` the share of positive rows; for
    ``thresholds`` see `called_point`, for ``wanted`` `wanted_point`, and for the rest `recalibration`.
    """
    if table.probabilities is None:  # no score, so no ranks and no thresholds
        view = TwoClassView(view.positive, PREDICTED_CLASS)
    mask = positive_mask(table.classes, view.positive)
    sides = two_sides(table, view.positive, view.rule)
    accuracies = [float(sides.right[inside].mean()) for _, inside in table.fold_rows()]
    figures: Entry = {
        "positive": [name for name, yes in zip(table.classes, mask, strict=True) if yes],
        "rule": view.rule,
        "accuracy": units.share(sides.right),
        "accuracy_std": mean_and_std(accuracies)[1],
    }
    figures |= _two_class_auc(table, sides, units)
    figures["prevalence"] = float(sides.truth.mean())
    figures["thresholds"] = [
        called_point(table, sides.truth, sides.called(threshold), threshold, view.prevalences)
        for threshold in view.thresholds
    ]
    # without positive rows there is no threshold
    figures["wanted"] = [
        wanted_point(table, sides.truth, sides.scores, wanted, view.prevalences)
        for wanted in view.sensitivities
        if sides.truth.any()
    ]
    if calibration_note(table) is None:
        figures |= recalibration(sides.scores, sides.truth, units=units)
    return figures


def _two_class_auc(table: PredictionTable, sides: TwoSides, units: Units) -> Entry:
    """Return the AUC of the scores of a view: of pairs within folds, else of all pairs; of each fold; and of all."""
    part = None
    pooled = None
    aucs: list[float | None] = [None] * len(table.fold_numbers)
    if table.probabilities is not None:
        part = auc_in_folds(sides.truth, sides.scores, table.fold_array)
        pooled = auc_in_folds(sides.truth, sides.scores, table.fold_array, pooled=True)
        aucs, _ = fold_curves(table, sides.truth, sides.scores)
    mean, std = mean_and_std(aucs)
    return {
        "auc": units.figure(part),
        **_pooled_auc([part], [pooled]),
        "auc_per_fold": aucs,
        "auc_mean": mean,
        "auc_std": std,
    }
