"""Intervals of what a threshold for a wanted sensitivity reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .intervals import Sampled
from .operating import called_as_wanted
from .predictions import PredictionTable
from .two_class import positive_mask, two_class_scores


def wanted_intervals(table: PredictionTable, view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the points of a view for a wanted sensitivity with intervals of sensitivity and specificity.

    Each row is called by the threshold of its fold, as in the point itself; the intervals take the thresholds as given.

    Parameters
    ----------
    table : PredictionTable
    view : mapping
        ``two_class`` of `compute_metrics`.
    """
    if not view.get("wanted") or table.probabilities is None:
        return list(view.get("wanted", ()))
    mask = positive_mask(table.classes, view["positive"])
    truth = mask[table.labels]
    scores = two_class_scores(table.probabilities, mask, rule=view["rule"])
    sampled = Sampled(table)
    points = []
    for point in view["wanted"]:
        found = called_as_wanted(table, truth, scores, point["wanted"])
        called = scores >= point["threshold"] if found is None else found[0]
        inside = {"sensitivity": sampled.share(called, truth), "specificity": sampled.share(~called, ~truth)}
        ends = {f"{side}_interval": None if one is None else one.ends for side, one in inside.items()}
        points.append({**point, **ends})
    return points
