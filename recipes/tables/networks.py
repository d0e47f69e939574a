"""Published figures of networks and of variants beside those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...evaluate import PredictionTable, PublishedFigure, default_positive
from .obtained import Compared, Points, Runs, Value

_NOTHING: Value = (None, None)


def value_of(metrics: Mapping[str, Any] | None, metric: str) -> Value:
    """Return a metric of a table and its interval.

    Precision, recall and others are those of the one positive class; ``auc_mean`` is the mean AUC over the networks of
    the folds, which has no interval where there are several.
    """
    if metrics is None:
        return _NOTHING
    if metric == "auc_mean":
        view, interval = metrics.get("two_class") or {}, metrics.get("intervals", {}).get("auc")
        several = len(metrics["folds"]) > 1
        value = view.get("auc_mean") if several else metrics.get("auc")
        return (None if value is None else float(value)), (None if several or interval is None else tuple(interval))
    if metric in ("accuracy", "auc"):
        value, interval = metrics.get(metric), metrics.get("intervals", {}).get(metric)
        return (None if value is None else float(value)), (None if interval is None else tuple(interval))
    positive = default_positive(metrics["classes"])
    if len(positive) != 1:
        return _NOTHING
    value = metrics["per_class"][positive[0]][metric]
    # metrics of 0.1 have no intervals of classes
    interval = metrics.get("intervals", {}).get("per_class", {}).get(positive[0], {}).get(metric)
    return (None if value is None else float(value)), (None if interval is None else tuple(interval))


def _figure(
    name: str, value: Value, *, published: float | None = None, digits: int = 1, magnification: int | None = None
) -> PublishedFigure:
    """Make a figure in percent, or as a share where three decimals are printed."""
    times = 1.0 if digits == 3 else 100.0
    obtained, interval = value
    return PublishedFigure(
        name if magnification is None else f"{name} at {magnification}x",
        published,
        None if obtained is None else times * obtained,
        interval=None if interval is None else (times * interval[0], times * interval[1]),
        digits=digits,
    )


def by_variant(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare one metric of several variants."""
    points: Points = {}
    figures = []
    for name, published in table["rows"].items():
        for magnification in runs.at:
            run = runs.get(name, magnification)
            value = value_of(run.table(LEVELS[table.get("level", "image")]) if run else None, table["metric"])
            if value[0] is not None:
                points[name, magnification] = value[0]
            figures.append(_figure(name, value, published=published, magnification=magnification))
    return points, figures


def scores(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare several metrics of several variants; a conclusion is about the ``metric`` that it names."""
    figures = []
    for name, row in table["rows"].items():
        for metric, published in row.items():
            for magnification in runs.at:
                run = runs.get(name, magnification)
                value = value_of(run.table() if run else None, metric)
                label = f"{name}: {metric}"
                figures.append(
                    _figure(label, value, published=published, digits=table["digits"], magnification=magnification)
                )
    return {}, figures


def by_rule(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the rules that make an image of its patches."""
    points: Points = {}
    figures = []
    for rule, published in table["rows"].items():
        for magnification in runs.at:
            run = runs.get(table["variant"], magnification)
            metrics = run.table(f"{table['level']}, {rule}") if run else None
            value = value_of(metrics, table.get("metric", "accuracy"))
            if value[0] is not None:
                points[rule, magnification] = value[0]
            figures.append(_figure(rule, value, published=published, magnification=magnification))
    return points, figures


LEVELS = {"patch": "patch", "image": "", "patient": "group, average"}
"""What a row of a table of levels begins with, to the end of the name of that table."""

_METRICS = ("accuracy", "precision", "recall", "f1", "auc")


def by_level(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show every metric at every level."""
    points: Points = {}
    figures = []
    for level, suffix in LEVELS.items():
        for metric in _METRICS:
            for magnification in runs.at:
                run = runs.get(table["variant"], magnification)
                value = value_of(run.table(suffix) if run else None, metric)
                if value[0] is not None:
                    points[f"{level} {metric}", magnification] = value[0]
                figures.append(_figure(f"{level} {metric}", value, magnification=magnification))
    return points, figures


def by_fold(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show AUC, sensitivity and specificity of each fold, and the mean AUC: what a ROC and a confusion matrix say."""
    figures = []
    for magnification in runs.at:
        run = runs.get(table["variant"], magnification)
        if run is None:
            continue
        metrics = run.panel.metrics
        view = metrics.get("two_class") or {"auc_per_fold": [None] * len(metrics["folds"]), "auc_mean": None}
        for fold, value in zip(metrics["folds"], view["auc_per_fold"], strict=True):
            figures.append(_figure(f"fold {fold}: auc", (value, None), magnification=magnification))
            figures += _sides(run.panel.table, fold, magnification)
        figures.append(_figure("mean of the folds: auc", (view["auc_mean"], None), magnification=magnification))
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
            figures.append(_figure(name, (share, None), magnification=magnification))
    return figures


def validation(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the accuracy on the validation part at the epoch that was kept, the mean over folds."""
    points: Points = {}
    figures = []
    first = runs.at[0]
    for name, published in table["rows"].items():
        run = runs.get(name, first)
        folds = run.files["run"].get("validation", {}).values() if run else ()
        values = [fold["val_accuracy"] for fold in folds if "val_accuracy" in fold]
        value = float(np.mean(values)) if values else None
        if value is not None:
            points[name, first] = value
        figures.append(_figure(name, (value, None), published=published, digits=table["digits"]))
    return points, figures


def learning_gap(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show by how much the accuracy of the last epoch is higher in training than in validation, the mean over folds."""
    points: Points = {}
    figures = []
    for name, published in table["rows"].items():
        for magnification in runs.at:
            run = runs.get(name, magnification)
            curves = run.files["run"].get("curves", {}).values() if run else ()
            known = [fold for fold in curves if fold.get("accuracy") and fold.get("val_accuracy")]
            gaps = [fold["accuracy"][-1] - fold["val_accuracy"][-1] for fold in known]
            value = float(np.mean(gaps)) if gaps else None
            if value is not None:
                points[name, magnification] = value
            figures.append(_figure(name, (value, None), published=published, magnification=magnification))
    return points, figures


def training_time(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Show how long a sample takes to train, in milliseconds: the median of the times that it was measured."""
    points: Points = {}
    figures = []
    for name, published in table["rows"].items():
        found = runs.times.get(name)
        value = float(np.median(found)) if found else None
        if value is not None:
            points[name, runs.at[0]] = value
        figures.append(PublishedFigure(name, published, None if value is None else 1000 * value, digits=2))
    return points, figures
