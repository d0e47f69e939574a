"""Published figures and conclusions of a CNN recipe beside those of a run, by the kind of table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluate import Comparison, Panel, PublishedFigure, default_positive, wilson
from ..jobs import read_json
from .recipe import Recipe

__all__ = ["Obtained", "compare_cnn"]

Value = tuple[float | None, tuple[float, float] | None]
"""A share and its 95 % interval; None where it was not obtained."""

_NOTHING: Value = (None, None)


@dataclass(frozen=True)
class Obtained:
    """What a variant gave.

    Attributes
    ----------
    folder : Path
        With ``metrics.json``.
    panel : Panel
        Predictions of images and their metrics.
    """

    folder: Path
    panel: Panel

    @property
    def files(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        found: dict[str, Any] = read_json(self.folder / "metrics.json")
        return found

    def table(self, suffix: str = "") -> dict[str, Any] | None:
        """Return the metrics of another level, such as ``image, vote``; None where there are none."""
        if not suffix:
            return self.panel.metrics
        return next((m for name, m in self.files["tables"].items() if name.endswith(f" ({suffix})")), None)


Runs = Mapping[tuple[str, int | None], Obtained]


def compare_cnn(recipe: Recipe, runs: Runs, *, note: str) -> list[Comparison]:
    """Put the published tables of a recipe beside its variants.

    Parameters
    ----------
    recipe : Recipe
    runs : mapping
        Variant and magnification (None where the recipe does not tell them apart) to what it gave.
    note : str
        Why figures cannot be compared, or empty.

    Returns
    -------
    list of Comparison
        Of the tables of which something was run. Intervals of accuracy and AUC resample images, or groups where known;
        those of precision and recall are Wilson's.
    """
    every: list[int | None] = [*recipe.magnifications] or [None]
    at = [magnification for magnification in every if any(key[1] == magnification for key in runs)]
    found = []
    for table in recipe.published:
        points, figures = _KINDS[table["kind"]](runs, table, at)
        if all(figure.obtained is None for figure in figures):
            continue
        said = " ".join(filter(None, (_claim(table.get("claim"), points, every), note)))
        found.append(Comparison(table["key"], table["title"], table["source"], tuple(figures), said))
    return found


Points = dict[tuple[str, int | None], float]
"""Row and magnification to the value that a claim is about."""

Kind = Callable[[Runs, Mapping[str, Any], Sequence[int | None]], tuple[Points, list[PublishedFigure]]]


def _score(metrics: Mapping[str, Any] | None, metric: str) -> Value:
    if metrics is None:
        return _NOTHING
    if metric in ("accuracy", "auc"):
        value, interval = metrics.get(metric), metrics.get("intervals", {}).get(metric)
        return (None if value is None else float(value)), (None if interval is None else tuple(interval))
    positive = default_positive(metrics["classes"])
    if len(positive) != 1:
        return _NOTHING
    place = metrics["classes"].index(positive[0])
    confusion = np.array(metrics["confusion"])
    hits = int(confusion[place, place])
    total = {"precision": int(confusion[:, place].sum()), "recall": int(confusion[place].sum())}
    value = metrics["per_class"][positive[0]][metric]
    return (None if value is None else float(value)), (wilson(hits, total[metric]) if metric in total else None)


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


def _variants(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Compare one metric of several variants."""
    points: Points = {}
    figures = []
    for name, published in table["rows"].items():
        for magnification in at:
            run = runs.get((name, magnification))
            value = _score(run.table() if run else None, table["metric"])
            if value[0] is not None:
                points[name, magnification] = value[0]
            figures.append(_figure(name, value, published=published, magnification=magnification))
    return points, figures


def _scores(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Compare several metrics of several variants."""
    figures = []
    for name, row in table["rows"].items():
        for metric, published in row.items():
            for magnification in at:
                run = runs.get((name, magnification))
                value = _score(run.table() if run else None, metric)
                label = f"{name}: {metric}"
                figures.append(
                    _figure(label, value, published=published, digits=table["digits"], magnification=magnification)
                )
    return {}, figures


def _rules(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Compare the rules that make an image of its patches."""
    points: Points = {}
    figures = []
    for rule, published in table["rows"].items():
        for magnification in at:
            run = runs.get((table["variant"], magnification))
            value = _score(run.table(f"{table['level']}, {rule}") if run else None, "accuracy")
            if value[0] is not None:
                points[rule, magnification] = value[0]
            figures.append(_figure(rule, value, published=published, magnification=magnification))
    return points, figures


_LEVELS = {"patch": "patch", "image": "", "patient": "group, average"}
_METRICS = ("accuracy", "precision", "recall", "f1", "auc")


def _levels(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Show every metric at every level."""
    figures = []
    for level, suffix in _LEVELS.items():
        for metric in _METRICS:
            for magnification in at:
                run = runs.get((table["variant"], magnification))
                value = _score(run.table(suffix) if run else None, metric)
                figures.append(_figure(f"{level} {metric}", value, magnification=magnification))
    return {}, figures


def _folds(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Show a metric of each fold, and its mean."""
    figures = []
    for magnification in at:
        run = runs.get((table["variant"], magnification))
        if run is None:
            continue
        metrics = run.panel.metrics
        view = metrics.get("two_class") or {"auc_per_fold": [None] * len(metrics["folds"]), "auc_mean": None}
        for fold, value in zip(metrics["folds"], view["auc_per_fold"], strict=True):
            figures.append(_figure(f"fold {fold}", (value, None), magnification=magnification))
        figures.append(_figure("mean of the folds", (view["auc_mean"], None), magnification=magnification))
    return {}, figures


def _validation(runs: Runs, table: Mapping[str, Any], at: Sequence[int | None]) -> tuple[Points, list[PublishedFigure]]:
    """Compare the accuracy on the validation part at the epoch that was kept, the mean over folds."""
    points: Points = {}
    figures = []
    for name, published in table["rows"].items():
        run = runs.get((name, at[0]))
        folds = run.files["run"].get("validation", {}).values() if run else ()
        values = [fold["val_accuracy"] for fold in folds if "val_accuracy" in fold]
        value = float(np.mean(values)) if values else None
        if value is not None:
            points[name, at[0]] = value
        figures.append(_figure(name, (value, None), published=published, digits=table["digits"]))
    return points, figures


_KINDS: dict[str, Kind] = {
    "variants": _variants, "scores": _scores, "rules": _rules, "levels": _levels, "folds": _folds,
    "validation": _validation,
}  # fmt: skip


def _claim(claim: Mapping[str, Any] | None, points: Points, at: Sequence[int | None]) -> str:
    """Say where a conclusion of the source holds here, by the values alone."""
    if claim is None:
        return ""
    outcome: dict[str, list[str]] = {"holds": [], "does not hold": [], "not run": []}
    for magnification in claim.get("at", at):
        better = [points.get((name, magnification)) for name in claim["better"]]
        than = [points.get((name, magnification)) for name in claim["than"]]
        if None in better or None in than:
            verdict = "not run"
        else:
            low, high = min(v for v in better if v is not None), max(v for v in than if v is not None)
            verdict = "holds" if low > high else "does not hold"
        outcome[verdict].append("" if magnification is None else f" at {magnification}x")
    found = "; ".join(f"{verdict}{','.join(where)}" for verdict, where in outcome.items() if where)
    return f"Conclusion: {claim['says']}. Here: {found}."
