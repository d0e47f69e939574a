"""Sections of a report on one table: its answer, classes and errors, calibration, and operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import CLASS_METRICS, Panel, nested, rows_of, spread_sentence
from .answer import answer
from .figures import calibration_figure, roc_figure
from .page import Block, Grid, Section
from .tables import class_cells, other_figures

Metrics = Mapping[str, Any]

_BESIDE, _MOST_CLASSES = 6, 30
"""Maximum number of classes for a confusion matrix next to the answer, and for one at all."""


def answer_block(panel: Panel, warnings: Sequence[str], *, single: bool) -> Block:
    """Return how good, how sure and for whom, with the confusion matrix and the warnings.

    Of several tables the first sentence stands at the top of the report.
    """
    metrics = panel.metrics
    beside = confusion_grid(metrics) if len(metrics["classes"]) <= _BESIDE else None
    values = {"a": answer(metrics), "metrics": metrics, "warnings": warnings, "confusion": beside, "single": single}
    return Block(template="answer.html", values={**values, "trained": bool(panel.run.get("methods"))})


def confusion_grid(metrics: Metrics) -> Grid:
    """Return how many rows of each class, a line each, were called which."""
    classes = metrics["classes"]
    rows = [
        [name, *(f"{count:,}" for count in counts)] for name, counts in zip(classes, metrics["confusion"], strict=True)
    ]
    return Grid(f"Number of {rows_of(metrics)}: true class by row, predicted class by column", ["", *classes], rows)


def panel_sections(panel: Panel, pictures: Sequence[Block]) -> Iterator[Section]:
    """Show a table but for its answer.

    Parameters
    ----------
    panel : Panel
    pictures : sequence of Block
        Errors, and what else is shown of its images.
    """
    yield Section("Classes and errors", [*_classes(panel), *pictures])
    yield Section("Calibration and operating points", [*_calibration(panel), *_two_class(panel)])


def _classes(panel: Panel) -> Iterator[Block]:
    metrics = panel.metrics
    if len(metrics["classes"]) > _MOST_CLASSES:
        yield Block(note="The confusion matrix of so many classes is only in confusion.csv.")
    elif len(metrics["classes"]) > _BESIDE:
        yield Block(grid=confusion_grid(metrics))
    points = _points(metrics)
    if points and len(metrics["classes"]) == 2:  # one class says all of the other
        yield from points
    else:
        names = metrics["classes"]
        if len(names) == 2:
            names = (metrics.get("two_class") or {}).get("positive") or names[1:]
        rows = [[name, f"{metrics['per_class'][name]['n']:,}", *class_cells(metrics, name)] for name in names]
        caption = "Per-class results, one-vs-rest, with 95 % CI"
        yield Block(
            grid=Grid(caption, ["class", rows_of(metrics), *(title for title, _ in CLASS_METRICS.values())], rows)
        )
    reasons = dict.fromkeys((nested(metrics, "intervals", "not_estimable") or {}).values())
    spread = panel.run.get("variance")
    values = {"metrics": metrics, "figures": other_figures(metrics), "reasons": list(reasons), "paper": panel.paper}
    yield Block(template="classes.html", values={**values, "spread": spread and spread_sentence(spread)})
    if panel.paper is not None:
        cells = panel.paper.cells()
        rows = cells[:-1] if len(cells) == 2 else cells  # the fusion of one store is that store
        caption = (
            "Accuracy per fold, percent: for one feature file the mean over seeds; “seed avg” is the seed ensemble"
        )
        yield Block(grid=Grid(caption, panel.paper.header("model"), rows, total=len(cells) > 2))


def _calibration(panel: Panel) -> Iterator[Block]:
    metrics = panel.metrics
    if metrics.get("calibration") or metrics.get("calibration_note"):
        values = {"metrics": metrics, "temperature": nested(panel.run, "bundle", "temperature")}
        yield Block(template="calibration.html", values=values)
    if metrics.get("calibration"):
        yield Block(figures=[calibration_figure(metrics)])


def _two_class(panel: Panel) -> Iterator[Block]:
    metrics = panel.metrics
    if not (view := metrics.get("two_class")):
        return
    several = len(metrics["classes"])
    ends = nested(metrics, "intervals", "two_class") or {}
    values = {"view": view, "ends": ends, "classes": several, "names": metrics["names"]}
    yield Block(template="points.html", values=values)
    if several > 2:
        yield from _points(metrics)
    if (figure := roc_figure(panel.table, metrics)) is not None:
        yield Block(figures=[figure])


def _points(metrics: Metrics) -> list[Block]:
    """Show what is called positive at each threshold, and how well."""
    view = metrics.get("two_class") or {"thresholds": ()}
    known = view["thresholds"] or view.get("wanted")
    return [Block(template="operating.html", values={"view": view})] if known else []
