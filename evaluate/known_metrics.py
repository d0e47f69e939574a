"""Metrics by name, those of bchisto and those that other packages add; and their values.

One of our metrics that fails ends the command. One of another package is warned of and left out: what is evaluated may
have cost days, and one number less must not cost the others.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..core import BchistoError, InputError, extension_names, is_out_of_memory, load_extension
from .metric import MetricSpec, Weights
from .predictions import PredictionTable, take_rows
from .weighted import agreement, confusions, macro_f1, matthews, mean_recall, share_right, weighted_auc, weighted_aurc

_log = logging.getLogger(__name__)

T = TypeVar("T")

ENTRY_POINT_GROUP = "bchisto.metrics"

_BY_SEVERITY = ("Normal", "Benign", "InSitu", "Invasive")
"""Classes of BACH, from healthy tissue to invasive carcinoma. Aresta et al. 2019, sec. 2.1."""

_TAKEN = frozenset(
    {
        "n", "protocol", "classes", "folds", "fold_notes", "names", "confusion", "per_class", "calibration",
        "calibration_note", "abstention", "two_class", "intervals", "unit", "units", "replicates", "warning", "table",
        "low", "high", "methods", "warnings", "ungrouped", "estimand", "trained_per_fold", "subgroups",
        "tested", "fold", "two_class_auc",
    }
)  # fmt: skip
"""What stands beside metrics in ``metrics.json``, ``tables.csv`` and ``per-fold.csv``."""


def _spec(
    name: str, title: str, weighted: Callable[[PredictionTable, Weights], Weights | None], **more: Any
) -> MetricSpec:
    """Make a metric whose value is that under equal weights."""

    def compute(table: PredictionTable) -> float | None:
        found = weighted(table, np.ones((1, len(table))))
        return None if found is None or not np.isfinite(found[0]) else float(found[0])

    return MetricSpec(name, title, compute, weighted, **more)


def _of_confusion(formula: Callable[[Weights], Weights]) -> Callable[[PredictionTable, Weights], Weights]:
    return lambda table, weights: formula(confusions(table, weights))


def _mean_auc(table: PredictionTable, weights: Weights) -> Weights | None:
    """Return the mean over classes of the one-against-the-rest AUC; None where one is not defined."""
    one_hot = np.eye(len(table.classes))[table.labels]
    if table.probabilities is None or not one_hot.any(axis=0).all():
        return None
    parts = [weighted_auc(one_hot[:, k] > 0, table.probabilities[:, k], weights) for k in range(one_hot.shape[1])]
    return np.asarray(np.mean(parts, axis=0))


def _aurc(table: PredictionTable, weights: Weights) -> Weights | None:
    if table.confidence is None:
        return None
    return weighted_aurc(table.predicted == table.labels, table.confidence, weights)


def _ordered_agreement(table: PredictionTable, weights: Weights) -> Weights | None:
    return agreement(confusions(table, weights), power=2) if _ordered(table.classes) else None


def _ordered(classes: Sequence[str]) -> bool:
    """Say whether the order of classes means something: that of BACH, or numbers at the end of one name."""
    if tuple(classes) == _BY_SEVERITY:
        return True
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in classes]
    found = [(part[1], int(part[2])) for part in parts if part]
    return 2 < len(found) == len(classes) and len({name for name, _ in found}) == 1 and found == sorted(found)


def _recognition_rate(table: PredictionTable, weights: Weights) -> Weights | None:
    """Return the mean over patients of the share of their images that is right; rows without a patient do not count."""
    known = np.array([group is not None for group in table.groups])
    if table.patches is not None or not known.any():
        return None
    _, patient, size = np.unique([group or "" for group in table.groups], return_inverse=True, return_counts=True)
    hits = table.predicted == table.labels
    share = np.bincount(patient, weights=hits) / size
    inside = known / size[patient]
    with np.errstate(invalid="ignore"):  # a draw may hold no image whose patient is known
        return np.asarray(weights @ (inside * share[patient]) / (weights @ inside))


def _share(classes: int) -> tuple[float, float]:
    return 0.0, 1.0


def _agreement(classes: int) -> tuple[float, float]:
    """Return the limits of an agreement: -1 is that of images of two classes, of which each is taken for the other."""
    return -1.0, 1.0


_NUMBER: dict[str, Any] = {"per_fold": False, "shown": ()}

_BUILT_IN = (
    _spec(
        "accuracy", "accuracy", _of_confusion(share_right), unit="percent", shown=("value", "interval", "folds"),
    ),
    _spec(
        "balanced_accuracy", "balanced accuracy", _of_confusion(mean_recall), per_fold=False, unit="percent",
        shown=("value", "interval"), limits=_share, worth="classes",
    ),
    _spec("macro_f1", "macro F1", _of_confusion(macro_f1), unit="percent", limits=_share, **_NUMBER),
    _spec(
        "auc", "AUC", _mean_auc, needs_probabilities=True, per_fold=False, shown=("value", "interval"), limits=_share,
        worth="pairs",
    ),
    _spec(
        "matthews_corrcoef", "Matthews correlation", _of_confusion(matthews), limits=_agreement, worth="agreement",
        **_NUMBER,
    ),
    _spec(
        "cohen_kappa", "Cohen's kappa", _of_confusion(agreement), limits=_agreement, worth="agreement", **_NUMBER,
    ),
    _spec("weighted_kappa", "quadratically weighted kappa", _ordered_agreement, limits=_agreement, **_NUMBER),
    _spec(
        "aurc", "area under the risk-coverage curve", _aurc, needs_probabilities=True, higher_is_better=False,
        limits=_share, **_NUMBER,
    ),
    _spec(
        "patient_recognition_rate", "patient recognition rate", _recognition_rate, unit="percent", limits=_share,
        worth="groups", shown=(),
    ),
)  # fmt: skip
"""Beside the first sentence of a table's section, which gives its accuracy, none is shown as a line. The patient
recognition rate is that of Spanhol et al. 2016, sec. IV ("A Dataset for Breast Cancer Histopathological Image
Classification")."""

CLASS_METRICS = {
    "precision": ("precision", "percent"),
    "recall": ("recall", "percent"),
    "specificity": ("specificity", "percent"),
    "f1": ("F1", "percent"),
    "auc": ("AUC", "number"),
    "average_precision": ("average precision", "number"),
}
"""Metrics of a class against the rest, in the order of the tables: key and column, title in a report, and unit."""


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
                if clash := sorted(_written(spec) & taken):
                    raise InputError(f"metric {name}: {clash[0]} is taken already; its package must call it otherwise")
                taken |= _written(spec)
                found.append(spec)
        except BchistoError as error:
            _log.warning("%s; it is left out", error)
    return tuple(found)


def _written(spec: MetricSpec) -> set[str]:
    """Return the keys and columns that a metric fills."""
    return {*spec.keys, *spec.bounds}


def metric_values(spec: MetricSpec, table: PredictionTable) -> dict[str, Any]:
    """Compute what a metric says of a table.

    Returns
    -------
    dict
        By `MetricSpec.keys`, JSON-ready: the value, and where it is wanted per fold, its mean and its spread; None
        where it is not defined.
    """
    found = {spec.name: _value(spec, table, warn=True)}
    if not spec.per_fold:
        return found
    per_fold = [_value(spec, take_rows(table, np.flatnonzero(inside))) for _, inside in table.fold_rows()]
    mean, spread = mean_spread(per_fold)
    return found | {f"{spec.name}_per_fold": per_fold, f"{spec.name}_mean": mean, f"{spec.name}_std": spread}


def mean_spread(values: Sequence[float | None]) -> tuple[float, float] | tuple[None, None]:
    """Return mean and population standard deviation of the values that are defined; None where none is."""
    known = [value for value in values if value is not None]
    return (float(np.mean(known)), float(np.std(known))) if known else (None, None)


def drawn_values(spec: MetricSpec, table: PredictionTable, weights: Weights) -> Weights | None:
    """Compute a metric of tables that are drawn from one, rows with replacement.

    Parameters
    ----------
    spec : MetricSpec
    table : PredictionTable
    weights : ndarray of float64, shape (replicates, rows)
        How often each row is drawn.

    Returns
    -------
    ndarray of float64, shape (replicates,), or None
        NaN where it is not defined; None where it is not for the table itself.
    """
    if spec.needs_probabilities and table.probabilities is None:
        return None
    if spec.weighted is not None:
        weighted = spec.weighted
        return _guarded(spec, table, lambda: _checked(weighted(table, weights), len(weights)), warn=True)
    if _value(spec, table) is None:
        return None
    rows = np.arange(len(table))
    values = [_value(spec, take_rows(table, np.repeat(rows, counts.astype(np.int64)))) for counts in weights]
    return np.array([np.nan if value is None else value for value in values])


def _value(spec: MetricSpec, table: PredictionTable, *, warn: bool = False) -> float | None:
    if spec.needs_probabilities and table.probabilities is None:
        return None
    return _guarded(spec, table, lambda: _computed(spec, table), warn=warn)


def _computed(spec: MetricSpec, table: PredictionTable) -> float | None:
    value = spec.compute(table)
    return None if value is None or not math.isfinite(value) else float(value)


def _checked(found: Weights | None, count: int) -> Weights | None:
    if found is not None and np.shape(found) != (count,):
        raise ValueError(f"{np.shape(found)} values for {count} sets of weights")
    return None if found is None else np.asarray(found, dtype=np.float64)


def _guarded(spec: MetricSpec, table: PredictionTable, work: Callable[[], T | None], *, warn: bool) -> T | None:
    """Return what a metric gives; None where one of another package fails."""
    if spec in _BUILT_IN:
        return work()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of folds and draws in which a class is missing
            return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if warn:
            why = f"{type(error).__name__}: {error}"
            _log.warning("metric %s: failed on %s and is left out there (%s)", spec.name, table.name, why)
        return None
