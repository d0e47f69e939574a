"""Intervals of the figures of a table, and of differences between two tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .influence import LEVEL, Part, all_or_none, difference, f1_part, share_part, spread
from .known_metrics import (
    CLASS_METRICS,
    MetricSpec,
    class_aucs,
    class_parts,
    drawn_value,
    list_metrics,
    parts_of,
    two_class_auc,
    unit_mean,
)
from .metrics import TwoClassView, default_positive, positive_mask, two_sides
from .predictions import PredictionTable, bootstrap_counts, take_rows, ungrouped
from .variance import Interval, Units, difference_interval, interval

Difference = dict[str, Any]
Hits = npt.NDArray[np.float64]


def paired_differences(
    first: PredictionTable, second: PredictionTable, units: Units, view: TwoClassView
) -> dict[str, Difference]:
    """Return how much better the second table is than the first.

    Parameters
    ----------
    first, second : PredictionTable
        Of the same rows in the same order.
    units : Units
        What is independent of them.
    view : TwoClassView
        Gives sensitivity and specificity, which are those at 0.5.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``by_unit`` (the accuracy where groups of any size weigh the same; of
        groups), and where they are defined ``auc``, ``sensitivity`` and ``specificity``, each as `precision_difference`
        gives it.
    """
    return {name: _difference(parts, units) for name, parts in difference_parts(first, second, units, view).items()}


def difference_parts(
    first: PredictionTable, second: PredictionTable, units: Units, view: TwoClassView
) -> dict[str, list[Part]]:
    """Return what each of `paired_differences` is the mean of."""
    hits = [(table.predicted == table.labels).astype(np.float64) for table in (first, second)]
    everywhere = np.ones(len(first), dtype=np.bool_)
    parts: dict[str, list[Part | None]] = {
        "accuracy": [_change(hits, everywhere)],
        "balanced_accuracy": [_change(hits, first.labels == label) for label in np.unique(first.labels)],
    }
    if units.kind == "group":
        parts["by_unit"] = [unit_mean(hits[1] - hits[0], units.member, everywhere)]
    if first.probabilities is not None and second.probabilities is not None:
        aucs = class_aucs(first), class_aucs(_alike(second, first))
        parts["auc"] = [difference(*pair) for pair in zip(*aucs, strict=True)]
    positive = view.positive or default_positive(first.classes)
    if positive:
        sides = [two_sides(table, positive, view.rule) for table in (first, second)]
        truth, right = sides[0].truth, [side.right.astype(np.float64) for side in sides]
        parts |= {"sensitivity": [_change(right, truth)], "specificity": [_change(right, ~truth)]}
    return {name: known for name, some in parts.items() if (known := all_or_none(some))}


def _change(hits: Sequence[Hits], inside: npt.NDArray[np.bool_]) -> Part | None:
    """Return the difference of two shares of the same rows."""
    if not inside.any():
        return None
    moved = float(np.abs(hits[1] - hits[0])[inside].mean())
    return difference(share_part(hits[0], inside), share_part(hits[1], inside), moved=moved)


def _alike(table: PredictionTable, other: PredictionTable) -> PredictionTable:
    """Return a table with its columns in the order of another one's classes."""
    order = [table.classes.index(name) for name in other.classes]
    return replace(
        table, classes=other.classes, labels=other.labels, probabilities=np.asarray(table.probabilities)[:, order]
    )


def _difference(parts: Sequence[Part], units: Units) -> Difference:
    inside = difference_interval(parts, units)
    mean = float(np.mean([part.value for part in parts]))
    return {"difference": mean, "interval": inside.ends, "method": inside.method, "reason": inside.reason}


def precision_difference(
    first: PredictionTable, second: PredictionTable, positive: Sequence[str] = (), *, f1: bool = False
) -> Difference | None:
    """Return by how much more of what the second table calls positive is so.

    Parameters
    ----------
    first, second : PredictionTable
        Of the same rows in the same order.
    positive : sequence of str
        By default that of a known dataset.
    f1 : bool
        By how much its F1 is higher, in place of its precision.

    Returns
    -------
    dict or None
        ``difference``, ``interval`` (None if it cannot be estimated, and ``reason`` is why) and ``method``; None
        without a positive side, or where a table calls nothing so.

    References
    ----------
    Moskowitz & Pepe 2006 for independent rows.
    """
    chosen = tuple(positive) or default_positive(first.classes)
    if not chosen:
        return None
    truth = positive_mask(first.classes, chosen)[first.labels]
    called = [positive_mask(table.classes, chosen)[table.predicted] for table in (first, second)]
    if not all(side.any() for side in called):
        return None
    change = difference(*(f1_part(truth, side) if f1 else share_part(truth, side) for side in called))
    return None if change is None else _difference([change], Units.of(first))


ESTIMAND = "the trained models on new {unit}s of the same kind; models and folds are taken as they are"
"""What an interval is about; see ``docs/evaluation.md``."""

PRECISE = 0.05
"""Half of the width of the interval that `units_needed` plans for: 5 percentage points, as is usual."""

_HEADLINES = ("accuracy", "patient_recognition_rate")


def table_intervals(
    table: PredictionTable, view: TwoClassView | None = None, *, replicates: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compute 95 % intervals.

    Images are the units, or groups where they are known, since images of one patient are not independent. Figures have
    the intervals of `variance.interval`; a metric of another package without influences has the percentile bootstrap.

    Parameters
    ----------
    table : PredictionTable
    view : TwoClassView, optional
        As in `compute_metrics`.
    replicates : int
        Draws of units for the bootstrap; with 0 such a metric has no interval.
    seed : int

    Returns
    -------
    dict
        ``[low, high]`` under the names of the metrics, ``two_class`` and ``per_class``, null where it cannot be
        estimated; ``not_estimable``, the reason for each of these; ``units_needed``, see `units_needed`, of the
        accuracy and of that by group; ``unit`` (``image`` or ``group``), ``units`` (their number), ``groups`` (that are
        named), ``largest`` (share of the rows that the largest unit holds), ``ungrouped`` (images or patches without a
        group where others have one), ``estimand``, and ``methods`` by figure.

    References
    ----------
    Field & Welsh 2007 for the cluster bootstrap. Coverage is measured in ``tools/benchmarks/coverage.py``.
    """
    units = Units.of(table)
    known = dict(_known(table, units, TwoClassView.of(view)))
    for spec in list_metrics():
        if spec.interval and spec.parts is None and replicates:
            known[spec.name] = _drawn(spec, table, units, replicates=replicates, seed=seed)
    return {
        "unit": units.kind,
        "units": units.count,
        "groups": len({group for group in table.groups if group is not None}),
        "largest": float(np.bincount(units.member).max() / len(table)),
        "ungrouped": ungrouped(take_rows(table, table.first_rows)) if units.kind == "group" else 0,
        "estimand": ESTIMAND.format(unit=units.kind),
        "units_needed": {
            spec.name: units_needed(parts_of(spec, table)[0], units)
            for spec in list_metrics()
            if spec.name in _HEADLINES and (made := known.get(spec.name)) and made.ends
        },
        "methods": {name: made.method for name, made in known.items() if made and made.ends},
        "not_estimable": {name: made.reason for name, made in known.items() if made and made.reason},
        **_nest({name: made.ends for name, made in known.items() if made}, table.classes),
    }


def units_needed(part: Part, units: Units) -> int | None:
    """Return how many units like these an interval of `PRECISE` would take; None if no row differs from the others."""
    from scipy.special import ndtri

    inside = part.sides[0]
    rows, count = float(inside.sum()), len(np.unique(units.member[inside]))
    variance = max(spread([part], units.member).variance, part.value * (1.0 - part.value) / rows)  # as intervals have
    return int(np.ceil(count * variance * units.factor([part]) * (ndtri(LEVEL) / PRECISE) ** 2)) or None


def _known(table: PredictionTable, units: Units, view: TwoClassView) -> Iterator[tuple[str, Interval | None]]:
    """Yield the interval of each figure whose influences are known."""
    hits = table.predicted == table.labels
    yield "accuracy", units.share(hits)
    for spec in list_metrics():
        if spec.interval and spec.name != "accuracy" and (parts := parts_of(spec, table)):
            yield spec.name, interval(parts, units, limits=spec.limits(table))
    for k, name in enumerate(table.classes):
        for figure, part in class_parts(table, k).items():
            yield f"per_class.{name}.{figure}", None if part is None else interval([part], units)
    if view.positive:
        sides = two_sides(table, view.positive, view.rule)
        yield "two_class.accuracy", units.share(sides.right)
        if table.probabilities is not None and (auc := two_class_auc(table, sides.truth, sides.scores)) is not None:
            yield "two_class.auc", interval([auc], units)


def _drawn(spec: MetricSpec, table: PredictionTable, units: Units, *, replicates: int, seed: int) -> Interval | None:
    """Return the percentiles of a metric over draws of units; None where it is never defined."""
    draws = bootstrap_counts(units.count, replicates=replicates, seed=seed)
    drawn = [drawn_value(spec, table, counts[units.member]) for counts in draws]
    defined = np.array(drawn)[np.isfinite(drawn)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [1.0 - LEVEL, LEVEL])
    return Interval(float(low), float(high), "percentile bootstrap")


def _nest(flat: dict[str, list[float] | None], classes: Sequence[str]) -> dict[str, Any]:
    """Put intervals under the structure of the metrics."""
    nested: dict[str, Any] = {name: value for name, value in flat.items() if "." not in name}
    nested["per_class"] = {
        name: {metric: flat.get(f"per_class.{name}.{metric}") for metric in CLASS_METRICS} for name in classes
    }
    if view := {name.removeprefix("two_class."): ends for name, ends in flat.items() if name.startswith("two_class.")}:
        nested["two_class"] = view
    return nested
