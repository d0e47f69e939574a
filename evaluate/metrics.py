"""Metrics: a specification of each, and their values for a table, with intervals.

If a metric of bchisto fails, the command ends. One of another package is left out with a warning: the models may have
taken days, and one number less must not cost the others.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ..core import (
    BchistoError,
    Content,
    InputError,
    extension_names,
    is_out_of_memory,
    load_extension,
    plural,
)
from .calibration import calibration, calibration_note
from .intervals import (
    LEVEL,
    Ends,
    Entry,
    Figure,
    IntervalMethod,
    Part,
    Units,
    all_or_none,
    interval,
    mean_and_std,
    share_part,
    unit_variation,
)
from .predictions import (
    Integers,
    Mask,
    PredictionTable,
    Values,
    fold_notes,
    folds_that_learnt,
    take_rows,
)
from .two_class import (
    TwoClassView,
    auc_in_folds,
    auc_part,
    pooled_auc_of,
    two_class_figures,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")

UNITS = ("percent", "number")
"""How a metric is written for people: a share in percent with a decimal, or as it is with three."""

HEADLINE = "accuracy"
"""The main metric of a report."""

_HEADLINES = ("accuracy", "patient_recognition_rate")

ENTRY_POINT_GROUP = "bchisto.metrics"

PRECISE = 0.05
"""Half of the width of the interval that `units_needed` plans for: 5 percentage points, as is usual."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def measure(
    table: PredictionTable, view: TwoClassView | None = None, *, bootstrap: int = 2000
) -> Entry:
    """Compute the metrics of a table with their 95 % intervals, and log its `PredictionTable.cautions`.

    Images are the units, or groups if they are known, since images of one patient are not independent. Figures have
    the intervals of `intervals.interval`; a metric of another package without influences has the percentile bootstrap.

    Parameters
    ----------
    table : PredictionTable
    view : TwoClassView, optional
        What it leaves open is taken from a known dataset. Without positive classes, there is no two-class view.
    bootstrap : int
        Draws of units for the bootstrap; with 0 such a metric has no interval.

    Returns
    -------
    dict
        By the keys of ``metrics.json``, which ``docs/files.md`` lists; ``calibration`` has the Brier score summed over
        classes, which of two classes is twice that of scikit-learn. Each figure is a `Figure`: its ``value``, its
        ``interval`` (None if there is none), the ``method`` of that, and the ``reason`` why it cannot be estimated are
        attributes, and can be read by key, too. None if a figure is not defined.
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
    """Return the result of `measure` without logging cautions, for tables whose cautions are shown elsewhere."""
    view = TwoClassView(**TwoClassView.of(view).recorded(table.classes, table.shares))
    units = Units.of(table)
    metrics = _facts(table, units)
    specs = list_metrics()
    for spec in specs:
        metrics |= metric_values(spec, table, units, draws=bootstrap)
    metrics["per_class"] = _per_class(table, units)
    if view.positive:
        metrics["two_class"] = two_class_figures(table, view, units)
    metrics["chance"] = _chance(table, by_group=metrics["patient_recognition_rate"] is not None)
    if np.ptp(table.fold_array) > 0:
        metrics |= pooled_auc_of(class_aucs(table), class_aucs(table, pooled=True))
    headlines = [
        spec
        for spec in specs
        if spec.name in _HEADLINES and metrics[spec.name] and metrics[spec.name].interval
    ]
    metrics["units"] = _units(table, units, headlines)
    inside = table.is_drawn
    if inside is not None and inside.any():
        # what is not defined is not that of all rows; models learn from all
        drawn = metrics_of(table.drawn, view, bootstrap=bootstrap)
        metrics["drawn"] = {"auc_pooled": None, **drawn, "learnt": metrics["learnt"]}
    elif inside is not None:
        reason = f"no {table.row_is} was drawn at random"
        metrics["drawn"] = {
            name: _without_intervals(value, reason)
            for name, value in metrics.items()
            if isinstance(value, Figure) or name in ("per_class", "two_class")
        }
    return metrics


def _without_intervals(value: Any, reason: str) -> Any:
    """Return figures inside a value without their intervals, for a reason."""
    if isinstance(value, Figure):
        return Figure(value.value, reason=reason)
    if isinstance(value, list):
        return [_without_intervals(item, reason) for item in value]
    if isinstance(value, Mapping):
        return {name: _without_intervals(item, reason) for name, item in value.items()}
    return value


def _facts(table: PredictionTable, units: Units) -> Entry:
    """Return facts about a table, its confusion matrix and its calibration."""
    facts: Entry = {"n": len(table)}
    if table.unlabelled:
        facts["unlabelled"] = table.unlabelled
    if table.shares is not None:
        facts["call"] = "share"
    matrix = confusion(table).astype(np.int64)
    return facts | {
        "tested": table.tested,
        "protocol": table.protocol,
        "classes": list(table.classes),
        "folds": table.fold_numbers,
        "learnt": any(folds_that_learnt(table)),
        "trained_per_fold": list(map(list, table.trained)) or None,
        "fold_notes": fold_notes(table),
        "exchanged": exchanged_folds(table),
        "names": {"row": table.row_is, "image": table.image_is, "group": table.group_is},
        "confusion": matrix.tolist(),
        "calibration": calibration(table, units),
        "calibration_note": calibration_note(table),
    }


def _per_class(table: PredictionTable, units: Units) -> dict[str, Entry]:
    """Return the figures of each class against the rest, in the order of the tables, and its rows."""
    per_class: dict[str, Entry] = {}
    for k, name in enumerate(table.classes):
        true = table.labels == k
        called = table.predicted == k
        auc = None
        if table.probabilities is not None:
            auc = auc_in_folds(true, table.probabilities[:, k], table.fold_array)
        per_class[name] = {
            "precision": units.figure(share_part(true, called)),
            "recall": units.figure(share_part(called, true)),
            "specificity": units.figure(share_part(~called, ~true)),
            "f1": units.figure(f1_part(true, called)),
            "auc": units.figure(auc),
            "n": int(true.sum()),
        }
    return per_class


def _chance(table: PredictionTable, *, by_group: bool) -> Entry:
    """Return what chance reaches: accuracy by the largest class, balanced accuracy, and accuracy by group."""
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


def _units(table: PredictionTable, units: Units, headlines: Sequence[MetricSpec]) -> Entry:
    """Return facts about the units, which are independent, and how many of them the headline figures would need."""
    has_groups = units.kind == "group"
    kind = plural(table.group_is if has_groups else units.kind)
    classes = range(len(table.classes))
    single = [np.ptp(table.labels[inside]) == 0 for _, inside in table.fold_rows()]
    return {
        "kind": units.kind,
        "count": units.count,
        "groups": len({*table.groups} - {None}),
        "divided": table.divided,
        "trained": len(table.not_new),
        "trained_groups": len(table.groups_of_training.intersection(table.groups)),
        "one_class_folds": len(single) > 1 and all(single) and bool(np.ptp(table.labels) > 0),
        "of_class": [len({*units.member[table.labels == k].tolist()}) for k in classes],
        "largest": float(np.bincount(units.member).max() / len(table)),
        "ungrouped": ungrouped_images(table, units),
        # what an interval is about; see ``docs/methods.md``
        "estimand": f"the trained models on new {kind} of the same kind; models and folds are taken as they are",
        "needed": {spec.name: units_needed(parts_of(spec, table)[0], units) for spec in headlines},
    }


def ungrouped_images(table: PredictionTable, units: Units) -> int:
    """Return how many images name no group, and so are units of their own, in a table whose units are groups."""
    if units.kind != "group":
        return 0
    return table.ungrouped


def units_needed(part: Part, units: Units) -> int | None:
    """Return how many such units an interval as narrow as `PRECISE` would need; None if all rows are alike.

    References
    ----------
    Bhatia & Davis 2000 (the variance of a number from 0 to 1, at most that of as many wholly right or wrong units).
    """
    from scipy.special import ndtri

    inside = part.sides[0]
    count = len(np.unique(units.member[inside]))
    variation = unit_variation([part], units.member)
    scatter = part.value * (1.0 - part.value)
    # as intervals, at least the variance of independent rows; at most that of units that are wholly right or wrong
    variance = max(variation.variance, scatter / float(inside.sum()))
    variance = min(variance, scatter / variation.each[0].units)
    needed = int(np.ceil(count * variance * units.factor([part]) * (ndtri(LEVEL) / PRECISE) ** 2))
    if needed == 0:
        return None
    return needed


def fold_accuracies(table: PredictionTable) -> list[float]:
    """Return the accuracy of each fold, in fold order; empty if rows name no fold."""
    return [float(table.hits[inside].mean()) for _, inside in table.fold_rows()]


def exchanged_folds(table: PredictionTable) -> list[Entry]:
    """Return the folds whose labels may be exchanged: worse than chance, while all other folds together are better.

    Each two classes of a fold are judged, by the balanced accuracy of the calls that name one of both.

    Returns
    -------
    list of dict
        ``fold``, its ``classes``, its balanced ``accuracy``, and that of the ``others``.
    """
    entries = []
    for fold, inside in table.fold_rows():
        matrix = confusion(take_rows(table, np.flatnonzero(inside)))
        right = np.diagonal(matrix)
        # below one half, since the odds of both classes are below 1 together
        for pair in np.argwhere(np.triu(matrix * matrix.T > np.outer(right, right), 1)):
            figure = _balanced(table, inside, pair)
            others = _balanced(table, ~inside, pair)
            if figure.high < 0.5 < others.low:
                entries.append(
                    {
                        "fold": fold,
                        "accuracy": figure.value,
                        "others": others.value,
                        "classes": [table.classes[k] for k in pair],
                    }
                )
                break
    return entries


def _balanced(table: PredictionTable, inside: Mask, classes: Integers) -> Figure:
    """Return the balanced accuracy of the calls inside that name one of two classes; NaN if a class has none."""
    named = np.isin(table.labels, classes) & np.isin(table.predicted, classes)
    part = take_rows(table, np.flatnonzero(inside & named))
    shares = all_or_none([share_part(part.predicted == k, part.labels == k) for k in classes])
    if not shares:
        return Figure(np.nan)
    return interval(shares, Units.of(part))


@dataclass(frozen=True)
class MetricSpec:
    """A number of a prediction table.

    It stands in ``metrics.json`` under its name, with its interval, in ``tables.csv`` and ``report.html``.
    Another package adds one through the entry-point group ``bchisto.metrics``: the entry point is a `MetricSpec`, or a
    function without arguments that returns one, and has its name.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and ``_``.
    title : str
        Name in a report.
    compute : callable, optional
        ``compute(table)`` returns the value of a `PredictionTable`, a float, or None if it is not defined. The
        labels and predicted classes of a table are positions in its classes; its probabilities may be None. By default
        it is the mean of the parts.
    parts : callable, optional
        ``parts(table)`` returns the numbers whose mean it is, most often one, each a `Part` with the influence of each
        row; None among them, or none at all, if it is not defined. Without it the interval is that of the percentile
        bootstrap, which calls `compute` for each draw, and is too narrow for few rows.
    limits : callable, optional
        ``limits(table)`` returns the least and the greatest value that the parts can have, by default 0 and 1.
    needs_probabilities : bool
        Whether it has no value for a table that only names the predicted class.
    interval : bool
        Whether it gets an interval.
    per_fold : bool
        Whether it is computed for each fold too, as ``<name>_per_fold``, ``<name>_mean`` and ``<name>_std`` (over the
        folds for which it is defined, population).
    unit : {"percent", "number"}
        See `UNITS`.
    higher_is_better : bool
        For others a report prints that lower is better.
    shown : bool
        Whether ``tables.csv`` and the report show it; ``metrics.json`` holds it in any case.

    Raises
    ------
    InputError
        A name or unit that does not fit, or neither `compute` nor `parts`.
    """

    name: str
    title: str
    compute: Callable[[PredictionTable], float | None] | None = None
    parts: Callable[[PredictionTable], Sequence[Part | None]] | None = None
    limits: Callable[[PredictionTable], Ends] = lambda table: (0.0, 1.0)
    needs_probabilities: bool = False
    interval: bool = True
    per_fold: bool = True
    unit: str = "number"
    higher_is_better: bool = True
    shown: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"metric {self.name!r}: its name must be lower-case letters, digits and _, at most 40, a letter first"
            )
        if self.unit not in UNITS:
            raise InputError(
                f"metric {self.name}: its unit {self.unit!r} is none of {', '.join(UNITS)}"
            )
        if self.compute is None and self.parts is None:
            raise InputError(f"metric {self.name}: it has neither compute nor parts")

    @property
    def written(self) -> set[str]:
        """Keys of ``metrics.json`` and columns of ``tables.csv`` that it fills."""
        folds = ("per_fold", "mean", "std") if self.per_fold else ()
        return {self.name, *(f"{self.name}_{suffix}" for suffix in (*folds, "low", "high"))}


def class_aucs(table: PredictionTable, *, pooled: bool = False) -> list[Part | None]:
    """Return the AUC of each class against the rest; for two classes only that of the second.

    Parameters
    ----------
    table : PredictionTable
    pooled : bool
        Whether pairs of different folds count too, as they do if the folds of some class hold no pair.
    """
    if table.probabilities is None:
        return [None]
    classes: Sequence[int] = range(len(table.classes))
    if len(table.classes) <= 2:
        classes = (1,)
    sides = [(table.labels == k, table.probabilities[:, k]) for k in classes]
    folds = table.fold_array
    # if the folds of one class hold no pair, all classes take pairs of all folds, so that their mean is of one kind
    if not pooled:
        fold_aucs = [auc_part(truth, scores, folds) for truth, scores in sides]
        if None not in fold_aucs:
            return fold_aucs
    return [auc_in_folds(truth, scores, folds, pooled=True) for truth, scores in sides]


def by_patient(table: PredictionTable, values: Any) -> Part:
    """Return the mean over groups of the mean of the values of their rows; the table must have groups."""
    inside = np.array([group is not None for group in table.groups])
    groups = np.array([group or "" for group in table.groups])
    _, unit, sizes = np.unique(groups[inside], return_inverse=True, return_counts=True)
    row_values = np.asarray(values, np.float64)[inside]
    size_of_row = sizes[unit]
    means = np.bincount(unit, weights=row_values) / sizes
    effect = np.zeros(len(inside))
    effect[inside] = (row_values - means.mean()) / size_of_row / len(sizes)
    # for a difference: rows that change for the better and for the worse in one group do not cancel
    moved = float((np.abs(row_values) / size_of_row).sum() / len(sizes))
    return Part(float(means.mean()), effect, (inside,), moved=moved, by_unit=True)


def f1_part(true: Mask, called: Mask) -> Part | None:
    """Return the F1 of a class; None if no row is of it or predicted as it."""
    either = true | called
    if not either.any():
        return None
    hits = true & called
    memberships = true.astype(np.float64) + called
    value = float(2.0 * hits.sum() / memberships.sum())
    effect = (2.0 * hits - value * memberships) / memberships.sum()
    # F1 is 2 J / (1 + J), of slope 2 / (1 + J)^2, and J (both of either) is a share
    jaccard = hits.sum() / either.sum()
    return Part(value, effect, (either,), finer=(1.0 + jaccard) ** 2 / 2.0)


_STEP = 1e-3
"""Change of a count in the numerical derivative of a figure of a confusion matrix; the error is about its square."""


def confusion(table: PredictionTable) -> Values:
    """Return the confusion matrix, rows true, float64 of shape (classes, classes)."""
    classes = len(table.classes)
    counts = np.bincount(table.labels * classes + table.predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.float64)


def matrix_part(formula: Callable[[Values], Values], table: PredictionTable) -> Part | None:
    """Return a figure of the confusion matrix; None if it is not defined.

    Parameters
    ----------
    formula : callable
        From float64 of shape (matrices, classes, classes) to float64 of shape (matrices,).
    table : PredictionTable
    """
    matrix = confusion(table)
    value = float(formula(matrix[None])[0])
    if not np.isfinite(value):
        return None
    cells = table.labels * len(matrix) + table.predicted
    present, cell_of_row = np.unique(cells, return_inverse=True)
    # rows of one cell have one influence: half the change between one step more and one less in that cell
    step = np.zeros((len(present), *matrix.shape))
    step.reshape(len(present), -1)[np.arange(len(present)), present] = _STEP
    slopes = (formula(matrix + step) - formula(matrix - step)) / (2.0 * _STEP)
    return Part(value, slopes[cell_of_row], (np.ones(len(table), np.bool_),))


def agreement(matrices: Values, weights: Values) -> Values:
    """Return Cohen's kappa; NaN if chance agrees wholly.

    Parameters
    ----------
    matrices : ndarray of float64, shape (matrices, classes, classes)
    weights : ndarray of float64, shape (classes, classes)
        How far each call of each class is right, 1 for a wholly right one.

    References
    ----------
    Cohen 1960; 1968 (weights).
    """
    shares = matrices / matrices.sum(axis=(1, 2), keepdims=True)
    right = np.einsum("rjk,jk->r", shares, weights)
    by_chance = np.einsum("rj,rk,jk->r", shares.sum(axis=2), shares.sum(axis=1), weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((right - by_chance) / (1.0 - by_chance))


def graded(table: PredictionTable) -> list[Part | None]:
    """Return the kappa with quadratic weights of grades: in a given order, or with names that differ in a last number.

    References
    ----------
    Cohen 1968.
    """
    stems = {name.rstrip("0123456789") for name in table.classes}
    numbers = np.arange(len(table.classes))
    # two grades have the plain kappa
    if len(numbers) < 3 or not (table.ordered or len(stems) == 1):
        return [None]
    if not table.ordered:
        numbers = np.array([int("0" + name.removeprefix(*stems)) for name in table.classes])
    weights = 1.0 - np.square(numbers[:, np.newaxis] - numbers)
    return [matrix_part(functools.partial(agreement, weights=weights), table)]


def least_agreement(matrix: Values) -> float:
    """Return the kappa of a table with these margins in which no row is right."""
    by_chance = float((matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / matrix.sum() ** 2)
    if by_chance >= 1.0:
        return -1.0
    return -by_chance / (1.0 - by_chance)


def matthews(matrices: Values) -> Values:
    """Return the Matthews correlation coefficient; NaN if only one class is true or predicted.

    References
    ----------
    Gorodkin 2004 (more than two classes).
    """
    rows = matrices.sum(axis=(1, 2))
    true = matrices.sum(axis=2)
    called = matrices.sum(axis=1)
    covariance = rows * np.einsum("rkk->r", matrices) - (true * called).sum(axis=1)
    variances = [rows**2 - np.square(side).sum(axis=1) for side in (true, called)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(covariance / np.sqrt(np.prod(variances, axis=0)))


_NUMBER: Content = {"per_fold": False, "shown": False}

_AGREEMENT: Content = _NUMBER | {"limits": lambda t: (least_agreement(confusion(t)), 1.0)}


def _patient_recognition(table: PredictionTable) -> list[Part | None]:
    """Return the accuracy by group of a table of images that names groups."""
    if table.patches is not None or not any(table.groups):
        return [None]
    return [by_patient(table, table.hits)]


_BUILT_IN = (
    MetricSpec(
        "accuracy",
        "accuracy",
        unit="percent",
        parts=lambda t: [share_part(t.hits)],
    ),
    MetricSpec(
        "balanced_accuracy",
        "balanced accuracy",
        unit="percent",
        per_fold=False,
        # a class without rows has no recall, and takes no part
        parts=lambda t: [share_part(t.predicted == k, t.labels == k) for k in np.unique(t.labels)],
    ),
    MetricSpec(
        "macro_f1",
        "macro F1",
        unit="percent",
        **_NUMBER,
        # a class that is only called has an F1 of 0, as in scikit-learn
        parts=lambda t: [
            f1_part(t.labels == k, t.predicted == k) for k in np.union1d(t.labels, t.predicted)
        ],
    ),
    MetricSpec("auc", "AUC", parts=class_aucs, needs_probabilities=True, per_fold=False),
    MetricSpec(
        "matthews_corrcoef",
        "Matthews correlation",
        **_AGREEMENT,
        parts=lambda t: [matrix_part(matthews, t)],
    ),
    MetricSpec(
        "cohen_kappa",
        "Cohen's kappa",
        **_AGREEMENT,
        parts=lambda t: [
            matrix_part(functools.partial(agreement, weights=np.eye(len(t.classes))), t)
        ],
    ),
    MetricSpec(
        "weighted_kappa",
        "weighted kappa",
        parts=graded,
        limits=lambda t: (-1.0, 1.0),
        per_fold=False,
    ),
    MetricSpec(
        "patient_recognition_rate",
        "accuracy by patient or slide",
        unit="percent",
        parts=_patient_recognition,
    ),
)
"""The metrics of bchisto. The patient recognition rate is that of Spanhol et al. 2016, sec. IV ("A Dataset for Breast
Cancer Histopathological Image Classification")."""

_TAKEN = frozenset(
    {
        "n",
        "protocol",
        "classes",
        "folds",
        "fold_notes",
        "exchanged",
        "names",
        "confusion",
        "per_class",
        "calibration",
        "calibration_note",
        "two_class",
        "units",
        "table",
        "trained_per_fold",
        "subgroups",
        "alone",
        "drawn",
        "tested",
        "fold",
        "two_class_auc",
        "auc_pooled",
    }
)
"""Keys and columns beside metrics in ``metrics.json``, ``tables.csv`` and ``per-fold.csv``."""


def list_metrics() -> tuple[MetricSpec, ...]:
    """Return all metrics: those of bchisto, then those that other packages add, by name.

    One of another package that cannot be loaded is left out with a warning, since it must cost nobody's results.
    """
    return (*_BUILT_IN, *_plug_ins(tuple(sys.path)))


@functools.lru_cache(maxsize=4)
def _plug_ins(path: tuple[str, ...]) -> tuple[MetricSpec, ...]:
    """Load what packages on Python's search path add, once for each state of it."""
    specs = []
    names = extension_names(ENTRY_POINT_GROUP)
    used_keys = set(_TAKEN).union(*(spec.written for spec in _BUILT_IN))
    for name in names:
        try:
            spec = load_extension(ENTRY_POINT_GROUP, name, MetricSpec, what="metric")
            if spec is None:
                continue
            clash = sorted(spec.written & used_keys)
            if clash:
                raise InputError(
                    f"metric {name}: {clash[0]} is taken already; its package must use another name"
                )
            used_keys |= spec.written
            specs.append(spec)
        except BchistoError as error:
            _log.warning("%s; it is left out", error)
    return tuple(specs)


def metric_values(spec: MetricSpec, table: PredictionTable, units: Units, *, draws: int) -> Content:
    """Compute a metric of a table.

    Parameters
    ----------
    spec : MetricSpec
    table : PredictionTable
    units : Units
        Units of the table.
    draws : int
        Draws of units for the percentile bootstrap, if the metric has no influences; 0 for no interval.

    Returns
    -------
    dict
        The figure, and if `MetricSpec.per_fold` the value per fold, their mean and their standard deviation; None if it
        is not defined.
    """
    values = {spec.name: _figure(spec, table, units, draws=draws)}
    if not spec.per_fold:
        return values
    per_fold = [
        _value(spec, take_rows(table, np.flatnonzero(inside))) for _, inside in table.fold_rows()
    ]
    mean, std = mean_and_std(per_fold)
    return values | {
        f"{spec.name}_per_fold": per_fold,
        f"{spec.name}_mean": mean,
        f"{spec.name}_std": std,
    }


def _figure(spec: MetricSpec, table: PredictionTable, units: Units, *, draws: int) -> Figure | None:
    """Return a metric with its interval: from influences if it has them, else from draws."""
    value = _value(spec, table, warn=True)
    if value is None:
        return None
    if not spec.interval:
        return Figure(value)
    parts = parts_of(spec, table)
    if parts:
        return replace(interval(parts, units, limits=spec.limits(table)), value=value)
    if spec.parts is None and draws:
        accuracy = units.share(table.hits)  # what forbids its interval forbids all
        if accuracy and accuracy.reason:
            return Figure(value, reason=accuracy.reason)
        return _bootstrapped(spec, table, units, value, draws)
    return Figure(value)


def _bootstrapped(
    spec: MetricSpec, table: PredictionTable, units: Units, value: float, draws: int
) -> Figure:
    """Return a value with the percentile interval over draws of units; without one if no draw has a value."""
    rng = np.random.default_rng(0)
    values = []
    # whole units are drawn, since rows of one unit are not independent
    for _ in range(draws):
        counts = rng.multinomial(units.count, np.full(units.count, 1.0 / units.count))
        rows = np.repeat(np.arange(len(table)), counts[units.member])
        sample = _value(spec, take_rows(table, rows))
        if sample is not None:
            values.append(sample)
    if not values:
        return Figure(value)
    low, high = np.quantile(values, [1.0 - LEVEL, LEVEL])
    return Figure(value, float(low), float(high), IntervalMethod.DRAWS)


def _value(spec: MetricSpec, table: PredictionTable, *, warn: bool = False) -> float | None:
    """Return the value of a metric; None if it is not defined."""

    def finite(table: PredictionTable) -> float | None:
        if spec.compute is not None:
            value = spec.compute(table)
        else:
            parts = parts_of(spec, table)
            value = float(np.mean([part.value for part in parts])) if parts else None
        if value is None or not math.isfinite(value):
            return None
        return float(value)

    return _guarded(spec, table, finite, warn=warn)


def parts_of(spec: MetricSpec, table: PredictionTable) -> Sequence[Part]:
    """Return the parts whose mean a metric is; empty if it is not defined, or has no parts."""
    if spec.parts is None:
        return ()
    return all_or_none(_guarded(spec, table, spec.parts, warn=True) or ())


def _guarded(
    spec: MetricSpec,
    table: PredictionTable,
    compute: Callable[[PredictionTable], T | None],
    *,
    warn: bool,
) -> T | None:
    """Return the result of a metric; None without probabilities that it needs, or if one of another package fails."""
    if spec.needs_probabilities and table.probabilities is None:
        return None
    if spec in _BUILT_IN:
        return compute(table)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on folds and draws in which a class is missing
            return compute(table)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if warn:
            reason = f"{type(error).__name__}: {error}"
            _log.warning(
                "metric %s: failed on %s and is left out there (%s)", spec.name, table.name, reason
            )
        return None
