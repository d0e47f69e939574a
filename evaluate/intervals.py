"""Intervals of the metrics: what each figure rests on, images or groups of images, decides how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .known_metrics import CLASS_METRICS, drawn_values, list_metrics
from .metric import HEADLINE, Weights
from .predictions import PredictionTable, bootstrap_counts, sampling_units, take_rows, ungrouped
from .shares import CROSS_VALIDATION, Basis, Interval, kish, share_interval, telling
from .two_class import two_sides
from .weighted import weighted_auc, weighted_precision

ESTIMAND = "the trained models on new {unit}s of the same kind; models and folds are taken as they are"
"""What an interval is about; see ``docs/evaluation.md``."""

_SPREAD = 500
"""Draws that give a spread to a thirtieth of it (ours); percentiles take all that are asked for."""

Rows = npt.NDArray[np.bool_]
Draw = Callable[[Weights], Weights | None]


class Sampled:
    """A table and its independent units.

    Attributes
    ----------
    table : PredictionTable
    units : int
        How many units there are.
    unit : {"group", "image"}
    member : ndarray of int, shape (n,)
        The unit of each row.
    widen : float
        Factor of variances, above 1 where several folds make the table.
    """

    def __init__(self, table: PredictionTable) -> None:
        self.table = table
        self.unit, self.member = sampling_units(table)
        self.units = len(np.unique(self.member))
        self.widen = CROSS_VALIDATION if len(table.fold_numbers) > 1 else 1.0

    def share(self, hits: Rows, inside: Rows | slice = slice(None)) -> Interval | None:
        """Return the interval of the share of the rows `inside` that `hits` names."""
        return share_interval(hits[inside], self.member[inside], noun=self.unit, widen=self.widen)

    def basis(self, labels: npt.NDArray[np.int64], worth: str) -> Basis:
        """Return what a figure of several classes rests on.

        Parameters
        ----------
        labels : ndarray of int, shape (n,)
            The class of each row.
        worth : str
            See `MetricSpec.worth`.
        """
        sizes = [np.bincount(self.member[labels == place]) for place in np.unique(labels)]
        rows = np.array([size.sum() for size in sizes])
        worths = [kish(size) for size in sizes]
        everything = np.bincount(self.member)
        units, count, least = kish(everything), len(everything), min(worths) * len(sizes)
        if worth == "pairs":
            least = units = min(worths)
            count = int((sizes[worths.index(units)] > 0).sum())
        most = float(len(self.table))
        if worth == "groups" and self.unit == "group":  # rows without one are not in the figure
            known = self.member[[group is not None for group in self.table.groups]]
            count, most = len(np.unique(known)), float(len(known))
        if worth == "groups":
            units = least = float(count)
        if worth == "classes":
            most = len(sizes) ** 2 / (1.0 / rows).sum()
        if worth == "agreement":  # of right answers it is a multiple, by which its scale is the finer
            most *= (2.0 - 2.0 / len(sizes)) ** 2
        telling_units = units
        if worth not in ("pairs", "groups") and count < len(self.table):
            telling_units = telling((self.table.predicted == labels).astype(np.float64), self.member, units)
        return Basis(least, max(float(most), least), telling_units, count, self.unit, units)


@dataclass(frozen=True)
class _Drawn:
    """A figure whose spread is that of its bootstrap draws; without limits its interval is their percentiles."""

    draw: Draw
    limits: tuple[float, float] | None = (0.0, 1.0)
    basis: Basis | None = None

    def interval(self, draws: Weights, sampled: Sampled) -> Interval | None:
        known = draws[np.isfinite(draws)]
        if not len(known):
            return None
        if self.limits is None or self.basis is None:
            low, high = np.percentile(known, [2.5, 97.5])
            return Interval(float(low), float(high), "percentile bootstrap")
        found = self.draw(np.ones((1, len(sampled.table))))
        if found is None or not np.isfinite(found[0]):
            return None
        least, most = self.limits
        share = min(max((float(found[0]) - least) / (most - least), 0.0), 1.0)
        # a bootstrap's variance is that of units with the divisor n, here of those that they are worth
        units = self.basis.worth
        variance = float(known.var()) / (most - least) ** 2 * units / max(units - 1.0, 1.0)
        return self.basis.interval(share, variance, widen=sampled.widen).scaled(least, most)


def bootstrap_intervals(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = (),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute 95 % intervals.

    Images are the units, or groups where they are known, since images of one patient are not independent. A share of
    independent rows has the interval of Clopper and Pearson, one of rows in groups, and every other figure, Wilson's of
    the number of independent rows that it is worth (Korn & Graubard 1998), with Student's quantile: for shares by
    linearisation, else by the spread of bootstrap draws of units. A metric of another package without limits has the
    percentile bootstrap.

    Parameters
    ----------
    table : PredictionTable
    positive, two_class, thresholds
        As in `compute_metrics`.
    replicates : int
        Draws of units; 0 gives no intervals. A spread takes 500 of them at most.
    seed : int

    Returns
    -------
    dict
        ``[low, high]`` under the names of the metrics, ``two_class`` and ``per_class``; ``unit`` (``image`` or
        ``group``), ``units`` (their number), ``largest`` (share of the rows that the largest holds), ``ungrouped``
        (images or patches without a group where others have one), ``replicates`` (draws that were made), ``estimand``,
        ``methods`` and ``warnings`` by figure, and ``warning``, that of the accuracy (null where there is none).

    References
    ----------
    Field & Welsh 2007 for the cluster bootstrap. Coverage is measured in ``benchmarks/coverage.py``.
    """
    if replicates <= 0:
        return {}
    sampled = Sampled(table)
    found = _shares(sampled, positive=positive, rule=two_class, thresholds=thresholds)
    drawn = dict(_drawn(sampled, positive=positive, rule=two_class))
    if all(figure.limits for figure in drawn.values()):
        replicates = min(replicates, _SPREAD)
    draws: dict[str, list[Weights]] = {}
    left = _SPREAD
    for counts in bootstrap_counts(sampled.units, replicates=replicates, seed=seed, rows=len(table)):
        weights = counts[:, sampled.member]
        for name, figure in drawn.items():
            asked = weights if figure.limits is None else weights[:left]
            if len(asked) and (values := figure.draw(asked)) is not None:
                draws.setdefault(name, []).append(values)
        left = max(left - len(counts), 0)
    found |= {name: drawn[name].interval(np.concatenate(parts), sampled) for name, parts in draws.items()}
    warnings = {name: one.warning for name, one in found.items() if one and one.warning}
    return {
        "unit": sampled.unit,
        "units": sampled.units,
        "largest": float(np.bincount(sampled.member).max() / len(table)),
        "ungrouped": ungrouped(take_rows(table, table.first_rows)) if sampled.unit == "group" else 0,
        "replicates": replicates,
        "estimand": ESTIMAND.format(unit=sampled.unit),
        "methods": {name: one.method for name, one in found.items() if one},
        "warnings": warnings,
        "warning": warnings.get(HEADLINE),
        **_nest({name: one.ends if one else None for name, one in found.items()}, table.classes, thresholds),
    }


def _shares(
    sampled: Sampled, *, positive: Sequence[str], rule: str, thresholds: Sequence[float]
) -> dict[str, Interval | None]:
    """Return the intervals of shares of rows."""
    table = sampled.table
    found = {HEADLINE: sampled.share(table.predicted == table.labels)}
    for place, name in enumerate(table.classes):
        true, called = table.labels == place, table.predicted == place
        found[f"per_class.{name}.precision"] = sampled.share(true, called)
        found[f"per_class.{name}.recall"] = sampled.share(called, true)
        found[f"per_class.{name}.specificity"] = sampled.share(~called, ~true)
    if positive:
        truth, scores = two_sides(table, positive, rule)
        found["two_class.accuracy"] = sampled.share((scores >= 0.5) == truth)
        for threshold in thresholds if table.probabilities is not None else ():
            called = scores >= threshold
            found[f"two_class.sensitivity@{threshold}"] = sampled.share(called, truth)
            found[f"two_class.specificity@{threshold}"] = sampled.share(~called, ~truth)
    return found


def _drawn(sampled: Sampled, *, positive: Sequence[str], rule: str) -> Iterator[tuple[str, _Drawn]]:
    """Yield the figures that are drawn."""
    table = sampled.table
    for spec in list_metrics():
        if spec.interval and spec.name != HEADLINE:
            limits = spec.limits(len(table.classes)) if spec.limits else None
            basis = sampled.basis(table.labels, spec.worth) if limits else None
            yield spec.name, _Drawn(partial(drawn_values, spec, table), limits, basis)
    for place, name in enumerate(table.classes):
        truth = table.labels == place
        if truth.all() or not truth.any():
            continue
        basis = sampled.basis(truth.astype(np.int64), "pairs")
        yield f"per_class.{name}.f1", _Drawn(partial(_f1, table, place), basis=basis)
        if table.probabilities is not None:
            for metric, formula in (("auc", weighted_auc), ("average_precision", weighted_precision)):
                draw = partial(formula, truth, table.probabilities[:, place])
                yield f"per_class.{name}.{metric}", _Drawn(draw, basis=basis)
    if positive and table.probabilities is not None:
        truth, scores = two_sides(table, positive, rule)
        if truth.any() and not truth.all():
            basis = sampled.basis(truth.astype(np.int64), "pairs")
            yield "two_class.auc", _Drawn(partial(weighted_auc, truth, scores), basis=basis)


def _f1(table: PredictionTable, place: int, weights: Weights) -> Weights:
    true, called = table.labels == place, table.predicted == place
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2.0 * (weights @ (true & called)) / (weights @ (true.astype(np.float64) + called)))


def _nest(flat: dict[str, list[float] | None], classes: Sequence[str], thresholds: Sequence[float]) -> dict[str, Any]:
    """Put intervals under the structure of the metrics."""
    nested: dict[str, Any] = {name: value for name, value in flat.items() if "." not in name}
    nested["per_class"] = {
        name: {metric: flat.get(f"per_class.{name}.{metric}") for metric in CLASS_METRICS} for name in classes
    }
    if "two_class.accuracy" in flat:
        points = [
            {"threshold": t, **{side: flat[f"two_class.{side}@{t}"] for side in ("sensitivity", "specificity")}}
            for t in thresholds
            if f"two_class.sensitivity@{t}" in flat
        ]
        two = {name: flat[f"two_class.{name}"] for name in ("accuracy", "auc") if f"two_class.{name}" in flat}
        nested["two_class"] = {**two, "thresholds": points}
    return nested
