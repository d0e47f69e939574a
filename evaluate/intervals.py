"""Bootstrap intervals of the metrics, by image or clustered by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .known_metrics import list_metrics, weighted_auc
from .metric import Weights
from .predictions import PredictionTable
from .resample import bootstrap_counts, sampling_units
from .two_class import positive_mask, two_class_scores
from .values import drawn_values

__all__ = ["bootstrap_intervals", "weighted_auc"]

ENOUGH = {"image": 200, "group": 100}
"""From this many images, or groups, on the intervals of an accuracy covered 93 to 97 % in our simulation
(``tests/evaluate/test_coverage.py``; the figures below it are in ``docs/evaluation.md``)."""


def bootstrap_intervals(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = (),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute 95 % percentile bootstrap intervals.

    Images are drawn with replacement; where every row names a group, groups are drawn instead, since images of
    one patient are not independent.

    Parameters
    ----------
    table : PredictionTable
    positive, two_class, thresholds
        As in `compute_metrics`.
    replicates : int
        0 gives no intervals.
    seed : int

    Returns
    -------
    dict
        ``[low, high]`` under the names of the metrics, ``unit`` (``image`` or ``group``), ``units`` (their number),
        ``replicates``, and ``warning`` (null where there are enough of them).

    References
    ----------
    Efron & Tibshirani 1993, ch. 13; Field & Welsh 2007 for the cluster bootstrap.
    """
    if replicates <= 0:
        return {}
    unit, member = sampling_units(table)
    units = int(member.max()) + 1
    draws: dict[str, list[Weights]] = {}
    for counts in bootstrap_counts(units, replicates=replicates, seed=seed):
        values = _statistics(table, counts[:, member], positive=positive, rule=two_class, thresholds=thresholds)
        for name, replicate in values.items():
            draws.setdefault(name, []).append(replicate)
    flat = {name: _percentiles(np.concatenate(parts)) for name, parts in draws.items()}
    return {
        "unit": unit,
        "units": units,
        "replicates": replicates,
        "warning": _few(unit, units),
        **_nest(flat, thresholds),
    }


def _few(unit: str, units: int) -> str | None:
    """Return a warning where intervals may be too narrow."""
    if units >= ENOUGH[unit]:
        return None
    return f"only {units} {unit}s: these intervals may cover less than 95 %"


def _statistics(
    table: PredictionTable,
    weights: Weights,
    *,
    positive: Sequence[str],
    rule: str,
    thresholds: Sequence[float],
) -> dict[str, Weights]:
    result: dict[str, Weights] = {}
    for spec in list_metrics():
        if spec.interval and (values := drawn_values(spec, table, weights)) is not None:
            result[spec.name] = values
    if positive:
        mask = positive_mask(table.classes, positive)
        truth = mask[table.labels]
        if table.probabilities is None:
            result["two_class.accuracy"] = weights @ (mask[table.predicted] == truth) / weights.sum(axis=1)
            return result
        scores = two_class_scores(table.probabilities, mask, rule=rule)
        result["two_class.accuracy"] = weights @ ((scores >= 0.5) == truth) / weights.sum(axis=1)
        result["two_class.auc"] = weighted_auc(truth, scores, weights)
        for threshold in thresholds:
            called = scores >= threshold
            with np.errstate(invalid="ignore", divide="ignore"):
                result[f"sensitivity@{threshold}"] = weights @ (called & truth) / (weights @ truth)
                result[f"specificity@{threshold}"] = weights @ (~called & ~truth) / (weights @ ~truth)
    return result


def _percentiles(values: Weights) -> list[float] | None:
    known = values[np.isfinite(values)]
    return None if not len(known) else [float(v) for v in np.percentile(known, [2.5, 97.5])]


def _nest(flat: dict[str, list[float] | None], thresholds: Sequence[float]) -> dict[str, Any]:
    """Put intervals under the structure of the metrics."""
    nested: dict[str, Any] = {name: value for name, value in flat.items() if "." not in name and "@" not in name}
    two = {name.partition(".")[2]: value for name, value in flat.items() if name.startswith("two_class.")}
    if two:
        points = [
            {
                "threshold": t,
                "sensitivity": flat.get(f"sensitivity@{t}"),
                "specificity": flat.get(f"specificity@{t}"),
            }
            for t in thresholds
            if f"sensitivity@{t}" in flat
        ]
        nested["two_class"] = {**two, "thresholds": points}
    return nested
