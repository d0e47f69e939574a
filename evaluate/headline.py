"""The figures of a table in a few lines for a terminal, each beside what qualifies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fold_notes import fold_note_lines

__all__ = ["headline"]


def headline(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """Say the accuracy of a table with its interval, spread and protocol, what warns of it, and its two-class view.

    Parameters
    ----------
    name : str
        What the table is called.
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.

    Returns
    -------
    list of str
        Lines: the accuracy first; then, indented, warnings, folds that hardly trained on a class, and the two-class
        view with its rule and operating points.
    """
    intervals = metrics.get("intervals") or {}
    said = f"{name}: accuracy {_percent(metrics['accuracy'])} % of {metrics['n']}"
    if interval := intervals.get("accuracy"):
        low, high = map(_percent, interval)
        said += f" (95 % interval {low} to {high}, bootstrap over {intervals['units']} {intervals['unit']}s)"
    if len(metrics["folds"]) > 1:
        spread = f"{_percent(metrics['accuracy_mean'])} +- {_percent(metrics['accuracy_std'])}"
        said += f", {spread} over {len(metrics['folds'])} folds"
    notes = [intervals["warning"]] if intervals.get("warning") else []
    notes += [*fold_note_lines(metrics), *_two_class(metrics.get("two_class"))]
    return [f"{said}. Protocol: {metrics['protocol'] or 'unknown'}", *(f"  {note}" for note in notes)]


def _two_class(view: Mapping[str, Any] | None) -> list[str]:
    if view is None:
        return []
    said = f"{' + '.join(view['positive'])} against the rest (rule {view['rule']}): {_percent(view['accuracy'])} %"
    if view["auc"] is not None:
        said += f", AUC {view['auc']:.3f}"
    known = [value for value in view["auc_per_fold"] if value is not None]
    if len(known) > 1:
        said += f" (folds {view['auc_mean']:.3f} +- {view['auc_std']:.3f})"
    points = [
        f"operating point {point['threshold']:g}: sensitivity {_percent(point['sensitivity'])}, "
        f"specificity {_percent(point['specificity'])}"
        for point in view["thresholds"]
    ]
    return [said, *points]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
