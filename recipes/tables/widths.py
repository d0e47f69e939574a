"""How far the difference of two rows of a table would move with other images: half the interval over images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...evaluate import (
    PredictionTable,
    aggregate,
    compare_tables,
    precision_difference,
    read_facts,
    read_predictions,
    take_rows,
    unlike_pairs,
)
from .networks import LEVELS, value_of
from .obtained import Obtained, Value

PAIRED = {"accuracy": "accuracy", "auc": "auc", "auc_mean": "auc", "recall": "sensitivity", "precision": "precision"}
"""Metrics whose difference has an interval over images, to its name in a comparison; rules are told by accuracy unless
their table says otherwise."""


@dataclass(frozen=True)
class Shown:
    """What stands behind a row of a table.

    Attributes
    ----------
    table : PredictionTable or None
    value : (float, (float, float)), or None in place of either
        The figure, and the interval of its own.
    """

    table: PredictionTable | None = None
    value: Value = (None, None)


def shown_in(
    found: Mapping[tuple[str, int | None], Obtained], key: tuple[str, int | None], table: Mapping[str, Any]
) -> Shown:
    """Return what stands behind a row of one seed."""
    name, at = key
    if table["kind"] in ("variants", "scores"):
        run = found.get(key)
        return Shown() if run is None else Shown(run.panel.table, value_of(run.panel.metrics, table["metric"]))
    run = found.get((table["variant"], at))
    if run is None:
        return Shown()
    if table["kind"] == "levels":
        level, _, metric = name.partition(" ")
        return Shown(None, value_of(run.table(LEVELS[level]), metric))
    path = run.folder / "predictions-by-patch.csv"
    if not path.is_file():
        return Shown()
    value = value_of(run.table(f"{table['level']}, {name}"), table.get("metric", "accuracy"))
    facts = read_facts(path)
    (patches,) = read_predictions(path, classes=facts.run.get("classes", ()))
    described, positive = facts.described(patches), facts.view.positive
    return Shown(aggregate(described, rule=name, level=table["level"], positive=positive), value)


def half_width(better: Shown, than: Shown | None, metric: str) -> float | None:
    """Return half the interval over images of a figure, or of its difference to another; None where there is none.

    Of the same images the difference is paired. Two tables of which one tests an image in several folds, or both do,
    are paired fold by fold, and the mean of those intervals stands for that of the mean, which is no wider.
    """
    if than is None:
        return _own(better.value)
    first, second = than.table, better.table
    if first is not None and second is not None:
        alike = metric != "auc_mean" and not unlike_pairs([first, second])
        pairs = [(first, second)] if alike else _folds(first, second)
        widths = [_paired(a, b, PAIRED[metric]) for a, b in pairs]
        known = [width for width in widths if width is not None]
        if pairs:
            return sum(known) / len(known) if len(known) == len(widths) else None
        if metric == "auc_mean":
            return None
    own = _own(better.value), _own(than.value)  # of other images: then each has an interval of its own
    return None if own[0] is None or own[1] is None else (own[0] ** 2 + own[1] ** 2) ** 0.5


def _own(value: Value) -> float | None:
    """Return the longer side of an interval, which need not be in the middle, or may end at 1."""
    figure, interval = value
    return None if figure is None or interval is None else max(interval[1] - figure, figure - interval[0])


def _folds(first: PredictionTable, second: PredictionTable) -> list[tuple[PredictionTable, PredictionTable]]:
    """Return the folds of two tables, every one of which tests the same images, side by side; else nothing."""
    parts = [[_fold(table, number) for number in table.fold_numbers] for table in (first, second)]
    if not all(parts) or len({frozenset(one.keys) for found in parts for one in found}) > 1:
        return []
    if len(parts[0]) == len(parts[1]):
        return list(zip(*parts, strict=True))
    return [(a, b) for a in parts[0] for b in parts[1]] if 1 in map(len, parts) else []


def _fold(table: PredictionTable, number: int) -> PredictionTable:
    found = take_rows(table, np.flatnonzero(table.fold_array == number))
    return replace(found, folds=(None,) * len(found), fold_notes=(), trained=())


def _paired(first: PredictionTable, second: PredictionTable, figure: str) -> float | None:
    if unlike_pairs([first, second]):
        return None
    if figure == "precision":
        places = {key: place for place, key in enumerate(second.keys)}
        second = take_rows(second, np.array([places[key] for key in first.keys], dtype=np.int64))
        found = precision_difference(first, second)
    else:
        found = compare_tables(first, second)["differences"].get(figure)
    return None if found is None else _own((found["difference"], found["interval"]))
