"""Differences between the figures of two tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .influence import Part, all_or_none, difference, f1_part, share_part
from .known_metrics import class_aucs, unit_mean
from .metrics import TwoClassView, default_positive, positive_mask, two_sides
from .predictions import PredictionTable
from .variance import Units, difference_interval

Hits = npt.NDArray[np.float64]


def paired_differences(
    first: PredictionTable, second: PredictionTable, units: Units, view: TwoClassView
) -> dict[str, Any]:
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
        groups), and where they are defined ``auc``, ``sensitivity`` and ``specificity``, each a figure.
    """
    return {
        name: difference_interval(parts, units).json()
        for name, parts in difference_parts(first, second, units, view).items()
    }


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


def precision_difference(
    first: PredictionTable, second: PredictionTable, positive: Sequence[str] = (), *, f1: bool = False
) -> dict[str, Any] | None:
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
        A figure; None without a positive side, or where a table calls nothing so.

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
    return None if change is None else difference_interval([change], Units.of(first)).json()
