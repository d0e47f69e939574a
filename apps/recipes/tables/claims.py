"""The kinds of published tables, their comparison with a run, and whether the conclusions of a source hold in it.

Conclusions are judged by paired intervals over seeds and images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

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
from ....evaluate.report import PublishedFigure, PublishedTable
from .ensembles import (
    agreement,
    by_store,
    confusion,
    fusion_by_fold,
    gain_by_fold,
    gains,
    spreads,
    two_class,
)
from .networks import (
    by_fold,
    learning_gap,
    metrics_of_rows,
    parameters,
    scores,
    training_time,
    value_at,
)
from .obtained import Figures, Key, Runs, Value, mean_change, value_in

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

_UNPAIRED = "no paired interval over images"


class _Contrast(NamedTuple):
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


def claims_of(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the conclusions of a published table."""
    return [*table.get("claims", ()), *([table["claim"]] if "claim" in table else [])]


def judge(
    claim: Mapping[str, Any],
    points: Mapping[Key, float],
    runs: Runs,
    *,
    table: Mapping[str, Any],
    note: str,
) -> str:
    """Describe whether a conclusion of the source holds in this run, at each magnification.

    It holds if the interval of each of its differences is inside the stated bounds (above 0, or within a margin). It
    does not hold if an interval is completely outside. The interval includes the variation over seeds and over images
    (or groups). Without an interval over images nothing is judged, since seeds do not show how other images would vary.

    Parameters
    ----------
    claim : mapping
        ``says``, and the keys of one of the forms of `bchisto.apps.recipes.form.check_claim`. Optional are ``at``, the
        magnifications, and ``metric``, if it is not the metric of the table.
    points : mapping
        The values of the table's rows, for the first seed.
    runs : Runs
    table : mapping
        The published table, whose ``kind``, ``metric``, ``variant`` and ``level`` define what is compared.
    note : str
        The reason why nothing can be judged, or empty.

    Returns
    -------
    str
    """
    if "why" in claim:
        return f"Conclusion: {claim['says']}. Here: not judged ({claim['why']})."
    table = {**table, "metric": claim.get("metric", table.get("metric", "accuracy"))}
    compared = _Compared(runs, table)
    outcome: dict[str, list[str]] = {
        verdict: [] for verdict in ("holds", "does not hold", "not settled")
    }
    for where, contrasts in _contrasts(claim, runs):
        keys = {
            key
            for contrast in contrasts
            for key in (contrast.better, contrast.than)
            if key is not None
        }
        values: list[Mapping[Key, float | None]] = [points]
        if compared.of_images:
            values = [{key: value_at(seed, key, table)[0] for key in keys} for seed in runs.seeds]
        if any(seed.get(key) is None for seed in values for key in keys):
            verdict = "not run"
        elif (
            note and table["kind"] != "parameters"
        ):  # these are counted, so a note does not affect them
            verdict = "not judged (not comparable)"
        else:
            intervals = [compared.interval(contrast, values) for contrast in contrasts]
            verdict = _verdict(contrasts, intervals, shown_points=compared.of_images)
        outcome.setdefault(verdict, []).append(where)
    if not any(where for verdict, where in outcome.items() if verdict != "not run"):
        outcome = {"not run": [""]}
    verdicts = "; ".join(
        f"{verdict}{','.join(where)}" for verdict, where in outcome.items() if where
    )
    return f"Conclusion: {claim['says']}. Here: {verdicts}."


def _contrasts(claim: Mapping[str, Any], runs: Runs) -> list[tuple[str, list[_Contrast]]]:
    """Return the differences of a conclusion at each magnification; together, if it compares magnifications."""
    if "row" in claim:
        pairs = product(claim["better_at"], claim["than_at"])
        return [("", [_Contrast((claim["row"], high), (claim["row"], low)) for high, low in pairs])]
    differences = []
    for at in claim.get("at", runs.magnifications):
        if "alike" in claim:
            margin = claim["margin"]
            contrasts = [
                _Contrast((a, at), (b, at), -margin, margin)
                for a, b in combinations(claim["alike"], 2)
            ]
        elif "least" in claim:
            contrasts = [
                _Contrast((name, at), None, constant=claim["least"]) for name in claim["better"]
            ]
        else:
            bounds = (
                (-math.inf, claim["less_than"])
                if "less_than" in claim
                else (claim.get("by", 0.0), math.inf)
            )
            contrasts = [
                _Contrast((a, at), (b, at), *bounds)
                for a, b in product(claim["better"], claim["than"])
            ]
        differences.append(("" if at is None else f" at {at}x", contrasts))
    return differences


def _verdict(
    contrasts: Sequence[_Contrast],
    intervals: Sequence[tuple[float, float] | str],
    *,
    shown_points: bool,
) -> str:
    """Return the verdict on intervals, by the bounds of a conclusion; a single interval is included, in points."""
    known = [interval for interval in intervals if not isinstance(interval, str)]
    if reasons := [interval for interval in intervals if isinstance(interval, str)]:
        return f"not judged ({reasons[0]})"
    ends = [
        (middle - half, middle + half, contrast.least, contrast.most)
        for contrast, (middle, half) in zip(contrasts, known, strict=True)
    ]
    if all(low > least and high < most for low, high, least, most in ends):
        verdict = "holds"
    elif any(high < least or low > most for low, high, least, most in ends):
        verdict = "does not hold"
    else:
        verdict = "not settled"
    if not shown_points or len(ends) > 1 or contrasts[0].better[1] is not None:
        return verdict
    middle, low, high = (f"{100 * value:+.1f}" for value in (known[0][0], *ends[0][:2]))
    return f"{verdict} (difference {middle} points, 95 % CI {low} to {high})"


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


class _Compared:
    """The rows of a table with a metric, in the runs of all seeds."""

    def __init__(self, runs: Runs, table: Mapping[str, Any]) -> None:
        self._runs, self._table, self._kind = runs, table, table["kind"]
        self.of_images = self._kind in _OF_IMAGES
        self._shown = functools.cache(self._show)

    def interval(
        self, contrast: _Contrast, values: Sequence[Mapping[Key, Any]]
    ) -> tuple[float, float] | str:
        """Return a difference and half its 95 % interval, or the reason why it has none.

        The interval of times is over the rounds in which both networks were timed. The interval of gains is over the
        folds, since a run has as many trainings as folds. Counts have the interval 0.
        """
        better, than, runs, metric = (
            contrast.better,
            contrast.than,
            self._runs,
            self._table["metric"],
        )
        if self._kind == "time":
            slow, fast = runs.times[better[0]], runs.times[(than or better)[0]]
            changes = [a - b for a, b in zip(slow, fast, strict=False)]
            return mean_change(changes) if len(changes) > 1 else "timed once"
        if self._kind == "gains":
            variant, of = self._table.get("variant", runs.first), self._table["of"]
            less = (
                contrast.constant
                if than is None
                else gain_by_fold(runs.seeds, than, variant, of=of)
            )
            folds = gain_by_fold(runs.seeds, better, variant, of=of) - less
            return (
                mean_change(folds.tolist(), share=1.0 / (len(folds) - 1))
                if len(folds) > 1
                else "one fold"
            )
        changes = [
            seed[better] - (contrast.constant if than is None else seed[than]) for seed in values
        ]
        if self._kind == "parameters":
            return changes[0], 0.0
        seeds = len(runs.seeds)
        if seeds < SEEDS:
            return f"{seeds} of {SEEDS} seeds"
        if metric not in _PAIRED or not self.of_images:
            return _UNPAIRED
        pairs = [
            (self._shown(n, better), None if than is None else self._shown(n, than))
            for n in range(seeds)
        ]
        halves = [half_width(first, second, metric) for first, second in pairs]
        known = [half for half in halves if half is not None]
        if len(known) < seeds:
            return _UNPAIRED
        middle, over_seeds = mean_change(changes)
        return middle, (over_seeds**2 + (sum(known) / seeds) ** 2) ** 0.5

    def _show(self, number: int, key: Key) -> Shown:
        """Return the predictions and the value of a row, for one seed."""
        seed, table = self._runs.seeds[number], self._table
        (name, at), value, level = key, value_at(seed, key, table), table.get("level", "image")
        # the patches of two tables do not correspond row by row
        if self._kind == "levels" or (self._kind in ("variants", "scores") and level == "patch"):
            return Shown(None, value)
        if self._kind in ("variants", "scores"):
            predictions = seed[key].panel.table
            return Shown(aggregate(predictions) if level == "patient" else predictions, value)
        if self._kind == "validation":
            return Shown(seed[key].validated, value)
        path = seed[table["variant"], at].folder / "predictions-by-patch.csv"
        if not path.is_file():
            return Shown()
        facts = read_facts(path)
        (patches,) = read_predictions(path, classes=facts.run.get("classes", ()))
        described, positive = facts.described(patches), facts.view.positive
        return Shown(aggregate(described, rule=name, level=level, positive=positive), value)


def half_width(better: Shown, than: Shown | None, metric: str) -> float | None:
    """Return half the interval over images of a figure, or of its difference to another figure; None if unknown.

    If both have the same images, the difference is paired. If a table tests images in several folds, they are paired
    fold by fold, and the mean of these intervals is used for the mean, whose own interval is not wider.
    """
    if than is None:
        return _own(better.value)
    first, second = than.table, better.table
    if first is not None and second is not None:
        alike = metric != "auc_mean" and not unlike_pairs([first, second])
        pairs = [(first, second)] if alike else _folds(first, second)
        widths = [_paired(a, b, _PAIRED[metric]) for a, b in pairs]
        known = [width for width in widths if width is not None]
        if pairs:
            return sum(known) / len(known) if len(known) == len(widths) else None
        if metric == "auc_mean":
            return None
    own = _own(better.value), _own(than.value)  # different images, so the intervals are independent
    return None if own[0] is None or own[1] is None else (own[0] ** 2 + own[1] ** 2) ** 0.5


def _own(value: Value) -> float | None:
    """Return the longer side of an interval, since the figure need not be in its middle."""
    figure, interval = value
    return (
        None
        if figure is None or interval is None
        else max(interval[1] - figure, figure - interval[0])
    )


def _folds(
    first: PredictionTable, second: PredictionTable
) -> list[tuple[PredictionTable, PredictionTable]]:
    """Return pairs of folds of two tables if all folds test the same images, else an empty list."""
    parts = [[_fold(table, number) for number in table.fold_numbers] for table in (first, second)]
    if not all(parts) or len({frozenset(fold.keys) for folds in parts for fold in folds}) > 1:
        return []
    if len(parts[0]) == len(parts[1]):
        return list(zip(*parts, strict=True))
    return [(a, b) for a in parts[0] for b in parts[1]] if 1 in map(len, parts) else []


def _fold(table: PredictionTable, number: int) -> PredictionTable:
    rows = take_rows(table, np.flatnonzero(table.fold_array == number))
    return replace(rows, folds=(None,) * len(rows), trained=())


def _paired(first: PredictionTable, second: PredictionTable, figure: str) -> float | None:
    if unlike_pairs([first, second]):
        return None
    if figure in ("precision", "f1"):
        rows = {key: row for row, key in enumerate(second.keys)}
        second = take_rows(second, np.array([rows[key] for key in first.keys], dtype=np.int64))
        compared = precision_difference(first, second, f1=figure == "f1")
    else:
        compared = compare_tables(first, second)["differences"].get(figure)
    return None if compared is None else _own(value_in(compared))


class TableKind(NamedTuple):
    """A kind of table.

    Attributes
    ----------
    needs : tuple of str
        Keys that a table of this kind requires, in addition to ``key``, ``title`` and ``source``.
    figures : callable
        ``figures(runs, magnification, table)`` yields its rows at one magnification.
    once : bool
        Whether only the first magnification with results is used, without naming it.
    always : bool
        Whether the table is shown without any obtained figure, too.
    """

    needs: tuple[str, ...]
    figures: Callable[[Runs, int | None, Mapping[str, Any]], Figures]
    once: bool = False
    always: bool = False


KINDS = {
    "stores": TableKind(("rows",), by_store),
    "fusion_folds": TableKind(("values",), fusion_by_fold),
    "two_class_folds": TableKind(("values",), fusion_by_fold),
    "two_class": TableKind(("accuracy", "auc", "set_points"), two_class),
    "confusion": TableKind(("classes", "matrix"), confusion),
    "agreement": TableKind(("predictions",), agreement, once=True, always=True),
    "gains": TableKind(("of", "rows"), gains),
    "spreads": TableKind(("stores", "folds", "over_stores", "over_folds", "fusion"), spreads),
    "variants": TableKind(("metric", "rows"), metrics_of_rows),
    "scores": TableKind(("digits", "rows"), scores),
    "rules": TableKind(("variant", "level", "rows"), metrics_of_rows),
    "levels": TableKind(("variant",), metrics_of_rows),
    "folds": TableKind(("variant",), by_fold),
    "validation": TableKind(("digits", "rows"), metrics_of_rows, once=True),
    "gap": TableKind(("rows",), learning_gap),
    "time": TableKind(("rows",), training_time, once=True),
    "parameters": TableKind(("digits", "rows"), parameters, once=True),
}
"""The first eight kinds are for a boosted ensemble, the last seven for a network, and the others for both."""


def compare_published(
    tables: Sequence[Mapping[str, Any]], runs: Runs, *, note: str
) -> list[PublishedTable]:
    """Compare the published tables of a recipe with the results of its variants.

    Parameters
    ----------
    tables : sequence of mapping
        The recipe's ``published``.
    runs : Runs
    note : str
        The reason why figures cannot be compared, or empty.

    Returns
    -------
    list of PublishedTable
        Tables with at least one obtained figure; each row is repeated for every magnification. Intervals are 95 %, over
        groups if known, else over images.
    """
    compared = []
    for table in tables:
        kind = KINDS[table["kind"]]
        points: dict[Key, float] = {}
        rows: dict[str, list[PublishedFigure]] = {}
        for at in runs.at[:1] if kind.once else runs.at:
            for figure in kind.figures(runs, at, table):
                if figure.obtained is not None:
                    points[figure.name, at] = figure.obtained
                where = "" if at is None or kind.once else f" at {at}x"
                paired = (
                    None if note else figure.paired
                )  # no interval if the figures cannot be compared
                shown = replace(figure, name=f"{figure.name}{where}", paired=paired)
                rows.setdefault(figure.name, []).append(shown)
        if not points and not kind.always:
            continue
        figures = [figure for row in rows.values() for figure in row]
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        verdicts = [
            judge(claim, points, runs, table=table, note=note) for claim in claims_of(table)
        ]
        text = "\n".join([*verdicts, *filter(None, (table.get("note"), note))])
        compared.append(
            PublishedTable(table["key"], table["title"], table["source"], tuple(figures), text)
        )
    return compared


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row for a result of others that the source cites, which has no obtained figure."""
    if isinstance(printed, (int, float)):
        return PublishedFigure(
            name, float(printed), None, digits=len(str(printed).partition(".")[2]), cited=True
        )
    return PublishedFigure(
        name, None, None, cited=True, printed="" if printed is None else str(printed)
    )
