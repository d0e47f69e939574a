"""Differences between rows of a published table in a run, with 95 % intervals over seeds and over images."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ....core.formats import Flags
from ....evaluate import (
    PredictionTable,
    aggregate,
    compare_tables,
    precision_difference,
    read_facts,
    read_predictions,
    take_rows,
    unlike_pairs,
)
from .ensembles import gain_by_fold
from .networks import value_at
from .obtained import Key, Published, Results, Runs, Value, mean_change, value_in

SEEDS = 3
"""Least number of seeds to judge a conclusion, since one training does not show how much trainings vary."""

_PAIRED = {
    "accuracy": "accuracy",
    "auc": "auc",
    "auc_mean": "auc",
    "recall": "sensitivity",
    "precision": "precision",
    "f1": "f1",
}
"""Metrics whose difference has an interval over images, to their names in a comparison. Tables of rules are compared by
accuracy, unless they name a metric."""

_OF_IMAGES = ("variants", "scores", "validation", "rules", "levels")
"""Kinds of tables whose values have such an interval."""


class Contrast(NamedTuple):
    """A difference that a conclusion states: between two rows, or between a row and a constant.

    Attributes
    ----------
    better, than : (row, magnification)
        `than` is None for a constant.
    least, most : float
        The conclusion holds if the difference is between these.
    constant : float
    """

    better: Key
    than: Key | None
    least: float = 0.0
    most: float = math.inf
    constant: float = 0.0

    @property
    def keys(self) -> list[Key]:
        """The rows that it compares."""
        return [key for key in (self.better, self.than) if key is not None]

    def change(self, values: Mapping[Key, Any]) -> Any:
        """Return the difference of the values of its rows."""
        if self.than is None:
            return values[self.better] - self.constant
        return values[self.better] - values[self.than]


class Interval(NamedTuple):
    """A difference, and half its 95 % interval."""

    middle: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.middle - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.middle + self.half


class Shown(NamedTuple):
    """The predictions and the value of a row of a table.

    Attributes
    ----------
    table : PredictionTable or None
    value : (float, (float, float)), or None in place of either
        The figure and its own interval.
    """

    table: PredictionTable | None = None
    value: Value = (None, None)


class Differences:
    """The differences between rows of a table with a metric, in the runs of all seeds.

    Attributes
    ----------
    kind : str
        Of the table.
    of_images : bool
        Whether its values have an interval over images.
    """

    def __init__(self, runs: Runs, table: Published) -> None:
        self._runs = runs
        self._table = table
        self.kind: str = table["kind"]
        self.of_images = self.kind in _OF_IMAGES
        self._shown = functools.cache(self._show)

    def values(
        self, keys: Collection[Key], points: Mapping[Key, float]
    ) -> list[Mapping[Key, float | None]]:
        """Return the values of rows for each seed; for the first, `points`, if they have no interval over images."""
        if not self.of_images:
            return [points]
        return [
            {key: value_at(seed, key, self._table)[0] for key in keys} for seed in self._runs.seeds
        ]

    def interval(self, contrast: Contrast, values: Sequence[Mapping[Key, Any]]) -> Interval | str:
        """Return a difference with its interval, or the reason why it has none.

        The interval of times is over the rounds in which both networks were timed. The interval of gains is over the
        folds, since a run has as many trainings as folds. Counts have the interval 0.
        """
        if self.kind == "time":
            return self._of_times(contrast)
        if self.kind == "gains":
            return self._of_gains(contrast)
        changes = [contrast.change(seed) for seed in values]
        if self.kind == "parameters":
            return Interval(changes[0], 0.0)
        seeds = len(self._runs.seeds)
        if seeds < SEEDS:
            return f"{seeds} of {SEEDS} seeds"
        over_images = self._over_images(contrast)
        if over_images is None:
            return "no paired interval over images"
        middle, over_seeds = mean_change(changes)
        return Interval(middle, (over_seeds**2 + over_images**2) ** 0.5)

    def _of_times(self, contrast: Contrast) -> Interval | str:
        slow = self._runs.times[contrast.keys[0][0]]
        fast = self._runs.times[contrast.keys[-1][0]]
        changes = [a - b for a, b in zip(slow, fast, strict=False)]
        if len(changes) < 2:
            return "timed once"
        return Interval(*mean_change(changes))

    def _of_gains(self, contrast: Contrast) -> Interval | str:
        variant = self._table.get("variant", self._runs.first)
        gains = {
            key: gain_by_fold(self._runs.seeds, key, variant, better=self._table["of"])
            for key in contrast.keys
        }
        folds = contrast.change(gains)
        if len(folds) < 2:
            return "one fold"
        return Interval(*mean_change(folds.tolist(), share=1.0 / (len(folds) - 1)))

    def _over_images(self, contrast: Contrast) -> float | None:
        """Return half the interval over images, as mean over seeds; None if it is not known."""
        metric = self._table["metric"]
        if metric not in _PAIRED or not self.of_images:
            return None
        halves = []
        for number in range(len(self._runs.seeds)):
            than = self._shown(number, contrast.than) if contrast.than is not None else None
            half = half_width(self._shown(number, contrast.better), than, metric)
            if half is None:
                return None
            halves.append(half)
        return sum(halves) / len(halves)

    def _show(self, number: int, key: Key) -> Shown:
        """Return the predictions and the value of a row, for one seed."""
        seed = self._runs.seeds[number]
        value = value_at(seed, key, self._table)
        if self.kind == "rules":
            table = self._by_rule(seed, key)
            return Shown() if table is None else Shown(table, value)
        return Shown(self._predictions(seed, key), value)

    def _predictions(self, seed: Results, key: Key) -> PredictionTable | None:
        """Return the predictions of a variant; None for patches, which do not correspond row by row in two tables."""
        if self.kind == "validation":
            return seed[key].validated
        level = self._table.get("level", "image")
        if self.kind == "levels" or level == "patch":
            return None
        predictions = seed[key].panel.table
        return aggregate(predictions) if level == "patient" else predictions

    def _by_rule(self, seed: Results, key: Key) -> PredictionTable | None:
        """Return predictions that a rule combined from those of patches; None if these were not written."""
        rule, magnification = key
        path = seed[self._table["variant"], magnification].folder / "predictions-by-patch.csv"
        if not path.is_file():
            return None
        facts = read_facts(path)
        (patches,) = read_predictions(path, classes=facts.run.get("classes", ()))
        return aggregate(
            facts.described(patches),
            rule=rule,
            level=self._table.get("level", "image"),
            positive=facts.view.positive,
        )


def half_width(better: Shown, than: Shown | None, metric: str) -> float | None:
    """Return half the interval over images of a figure, or of its difference to another figure; None if unknown.

    If both have the same images, the difference is paired. If a table tests images in several folds, they are paired
    fold by fold, and the mean of these intervals is used for the mean, whose own interval is not wider.
    """
    if than is None:
        return _longer_side(better.value)
    if than.table is not None and better.table is not None:
        pairs = _pairs(than.table, better.table, metric)
        if pairs:
            halves = [_paired(a, b, _PAIRED[metric]) for a, b in pairs]
            numbers = [half for half in halves if half is not None]
            return sum(numbers) / len(numbers) if len(numbers) == len(halves) else None
        if metric == "auc_mean":
            return None
    # different images, so the intervals are independent
    first = _longer_side(better.value)
    second = _longer_side(than.value)
    if first is None or second is None:
        return None
    return float((first**2 + second**2) ** 0.5)


def _longer_side(value: Value) -> float | None:
    """Return the longer side of an interval, since the figure need not be in its middle."""
    figure, interval = value
    if figure is None or interval is None:
        return None
    return max(interval[1] - figure, figure - interval[0])


def _pairs(
    first: PredictionTable, second: PredictionTable, metric: str
) -> list[tuple[PredictionTable, PredictionTable]]:
    """Return the tables if they have the same images; or else pairs of folds that test the same images."""
    if metric != "auc_mean" and not unlike_pairs([first, second]):
        return [(first, second)]
    folds_of_first, folds_of_second = (
        [_fold(table, rows) for _, rows in table.fold_rows()] for table in (first, second)
    )
    if not folds_of_first or not folds_of_second:
        return []
    if len({frozenset(fold.keys) for fold in (*folds_of_first, *folds_of_second)}) > 1:
        return []
    if len(folds_of_first) == len(folds_of_second):
        return list(zip(folds_of_first, folds_of_second, strict=True))
    if 1 in (len(folds_of_first), len(folds_of_second)):
        return list(product(folds_of_first, folds_of_second))
    return []


def _fold(table: PredictionTable, rows: Flags) -> PredictionTable:
    fold = take_rows(table, np.flatnonzero(rows))
    return replace(fold, folds=(None,) * len(fold), trained=())


def _paired(first: PredictionTable, second: PredictionTable, figure: str) -> float | None:
    """Return half the paired interval of a difference; None if the tables cannot be paired."""
    if unlike_pairs([first, second]):
        return None
    if figure in ("precision", "f1"):
        rows = {key: row for row, key in enumerate(second.keys)}
        second = take_rows(second, np.array([rows[key] for key in first.keys], dtype=np.int64))
        compared = precision_difference(first, second, f1=figure == "f1")
    else:
        compared = compare_tables(first, second)["differences"].get(figure)
    if compared is None:
        return None
    return _longer_side(value_in(compared))
