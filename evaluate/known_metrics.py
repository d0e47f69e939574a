"""Metrics by name: those of bchisto, and those that other packages add."""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import BchistoError, InputError
from ..extensions import extension_names, load_extension
from .metric import MetricSpec, Weights
from .predictions import PredictionTable
from .weighted import agreement, confusions, macro_f1, matthews, mean_recall, share_right, weighted_auc, weighted_aurc

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bchisto.metrics"

_BY_SEVERITY = ("Normal", "Benign", "InSitu", "Invasive")
"""Classes of BACH, from healthy tissue to invasive carcinoma. Aresta et al. 2019, sec. 2.1."""

_TAKEN = frozenset(
    {
        "n", "protocol", "classes", "folds", "fold_notes", "names", "confusion", "per_class", "calibration",
        "calibration_note", "abstention", "two_class", "intervals", "unit", "units", "replicates", "warning", "table",
        "low", "high", "methods", "warnings", "ungrouped", "estimand", "trained_per_fold", "subgroups",
        "tested",
    }
)  # fmt: skip
"""What stands beside metrics in ``metrics.json`` and ``tables.csv``."""


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

OUR_METRICS = frozenset(spec.name for spec in _BUILT_IN)
"""Names of the metrics of bchisto."""


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
                _check(spec, name, taken)
        except BchistoError as error:
            _log.warning("%s; it is left out", error)
            continue
        if spec is not None:
            taken |= _written(spec)
            found.append(spec)
    return tuple(found)


def _written(spec: MetricSpec) -> set[str]:
    """Return the keys and columns that a metric fills."""
    return {*spec.keys, *spec.bounds}


def _check(spec: MetricSpec, name: str, taken: Iterable[str]) -> None:
    """Refuse a metric that fills what another one does."""
    clash = sorted(_written(spec) & set(taken))
    if clash:
        raise InputError(f"metric {name}: {clash[0]} is taken already; its package must call it otherwise")
