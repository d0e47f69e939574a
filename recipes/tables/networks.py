"""Published figures of networks and of variants beside those of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from ...evaluate import PredictionTable, PublishedFigure, default_positive
from .obtained import PATIENTS, Compared, Obtained, Points, Runs, Value, figure_of

_NOTHING: Value = (None, None)


def value_of(metrics: Mapping[str, Any] | None, metric: str) -> Value:
    """Return a metric of a table and its interval.

    Precision, recall and others are those of the one positive class; ``auc_mean`` is the mean AUC over the networks of
    the folds, which has no interval where there are several.
    """
    if metrics is None:
        return _NOTHING
    intervals = metrics.get("intervals", {})
    if metric == "auc_mean":
        several = len(metrics["folds"]) > 1
        value = (metrics.get("two_class") or {}).get("auc_mean") if several else metrics.get("auc")
        interval = None if several else intervals.get("auc")
    elif metric in ("accuracy", "auc"):
        value, interval = metrics.get(metric), intervals.get(metric)
    else:
        positive = default_positive(metrics["classes"])
        if len(positive) != 1:
            return _NOTHING
        value = metrics["per_class"][positive[0]][metric]
        interval = intervals.get("per_class", {}).get(positive[0], {}).get(metric)
    return (None if value is None else float(value)), (None if interval is None else tuple(interval))


def _compared(
    rows: Mapping[str, float | None],
    runs: Runs,
    value: Callable[[str, int | None], Value],
    *,
    first: bool = False,
    **shown: Any,
) -> Compared:
    """Compare rows at every magnification, or only at the `first` of which something was run, which is not named.

    Parameters
    ----------
    rows : mapping
        Name to the published figure, None where there is none.
    runs : Runs
    value : callable
        From row and magnification to what was obtained.
    first : bool
    **shown : any
        How figures are shown, see `figure_of`.
    """
    points: Points = {}
    figures = []
    for (name, published), magnification in product(rows.items(), runs.at[:1] if first else runs.at):
        found = value(name, magnification)
        if found[0] is not None:
            points[name, magnification] = found[0]
        figures.append(figure_of(name, found, published, magnification=None if first else magnification, **shown))
    return points, figures


def _value_in(run: Obtained | None, suffix: str, metric: str) -> Value:
    """Return a metric of a variant at a level, see `Obtained.table`; nothing of one that was not run."""
    return _NOTHING if run is None else value_of(run.table(suffix), metric)


def _mean(values: list[float]) -> Value:
    return (float(np.mean(values)) if values else None), None


def by_variant(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare one metric of several variants."""

    def value(name: str, at: int | None) -> Value:
        return _value_in(runs.get(name, at), LEVELS[table.get("level", "image")], table["metric"])

    return _compared(table["rows"], runs, value)


def scores(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare several metrics of several variants; a conclusion is about the ``metric`` that it names."""
    cells = {f"{name}: {metric}": (name, metric) for name, row in table["rows"].items() for metric in row}
    rows = {label: table["rows"][name][metric] for label, (name, metric) in cells.items()}

    def value(label: str, at: int | None) -> Value:
        name, metric = cells[label]
        return _value_in(runs.get(name, at), "", metric)

    return {}, _compared(rows, runs, value, digits=table["digits"])[1]


def by_rule(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the rules that make an image of its patches."""
    variant, level, metric = table["variant"], table["level"], table.get("metric", "accuracy")
    return _compared(table["rows"], runs, lambda rule, at: _value_in(runs.get(variant, at), f"{level}, {rule}", metric))


LEVELS = {"patch": "patch", "image": "", "patient": PATIENTS}
"""What a row of a table of levels begins with, to the end of the name of that table."""

_METRICS = ("accuracy", "precision", "recall", "f1", "auc")


def by_level(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show metrics at levels, every one if the table names no rows."""

    def value(name: str, at: int | None) -> Value:
        level, metric = name.split()
        return _value_in(runs.get(table["variant"], at), LEVELS[level], metric)

    rows = {f"{level} {metric}": None for level, metric in product(LEVELS, _METRICS)}
    return _compared(table.get("rows", rows), runs, value)


def by_fold(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show AUC, sensitivity and specificity of each fold, and the mean AUC: what a ROC and a confusion matrix say."""
    figures = []
    for magnification, run in runs.of(table):
        metrics = run.panel.metrics
        view = metrics.get("two_class") or {"auc_per_fold": [None] * len(metrics["folds"]), "auc_mean": None}
        for fold, value in zip(metrics["folds"], view["auc_per_fold"], strict=True):
            figures.append(figure_of(f"fold {fold}: auc", (value, None), magnification=magnification))
            figures += _sides(run.panel.table, fold, magnification)
        figures.append(figure_of("mean of the folds: auc", (view["auc_mean"], None), magnification=magnification))
    return {}, figures


def _sides(table: PredictionTable, fold: int, magnification: int | None) -> list[PublishedFigure]:
    """Return the cells of the confusion matrix of a fold, each as a share of its true class."""
    inside = table.fold_array == fold
    matrix = np.zeros((len(table.classes), len(table.classes)))
    np.add.at(matrix, (table.labels[inside], table.predicted[inside]), 1)
    figures = []
    for true, row in zip(table.classes, matrix, strict=True):
        for called, count in zip(table.classes, row, strict=True):
            share = float(count / row.sum()) if row.sum() else None
            name = f"fold {fold}: {true} called {called}, {count:.0f} of {row.sum():.0f}"
            figures.append(figure_of(name, (share, None), magnification=magnification))
    return figures


def validation(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the accuracy on the validation part at the epoch that was kept, the mean over folds."""

    def value(name: str, at: int | None) -> Value:
        run = runs.get(name, at)
        folds = run.files["run"].get("validation", {}).values() if run else ()
        return _mean([fold["val_accuracy"] for fold in folds if "val_accuracy" in fold])

    return _compared(table["rows"], runs, value, digits=table["digits"], first=True)


def learning_gap(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show by how much the accuracy of the last epoch is higher in training than in validation, the mean over folds."""

    def value(name: str, at: int | None) -> Value:
        run = runs.get(name, at)
        curves = run.files["run"].get("curves", {}).values() if run else ()
        known = [fold for fold in curves if fold.get("accuracy") and fold.get("val_accuracy")]
        return _mean([fold["accuracy"][-1] - fold["val_accuracy"][-1] for fold in known])

    return _compared(table["rows"], runs, value)


def training_time(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show how long a sample takes to train, in milliseconds: the median of the times that it was measured."""

    def value(name: str, _: int | None) -> Value:
        found = runs.times.get(name)
        return (float(np.median(found)) if found else None), None

    return _compared(table["rows"], runs, value, digits=2, times=1000.0, first=True)


def parameters(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare how many parameters a network has, in millions."""

    def value(name: str, _: int | None) -> Value:
        return runs.sizes.get(name), None

    return _compared(table["rows"], runs, value, digits=table["digits"], times=1e-6, first=True)
