"""Conclusions of a source, judged by paired intervals over seeds and images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np

from ...core import InputError, one_of
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
from .ensembles import gain_of
from .networks import LEVELS, value_of
from .obtained import Key, Obtained, Points, Runs, Value, mean_change

SEEDS = 3
"""Seeds from which a conclusion is judged: one training says nothing of how much another would differ."""

_FORMS = (
    {"better", "than"}, {"better", "than", "by"}, {"better", "than", "less_than"}, {"alike", "margin"},
    {"better", "least"}, {"row", "better_at", "than_at"}, {"why"},
)  # fmt: skip
_NUMBERS = ("margin", "least", "by", "less_than")
_LISTS = ("better", "than", "alike", "at", "better_at", "than_at")
"""What a conclusion says beside ``says``: rows beat others; by so much or more; not by so much; are alike to a margin;
are above a value; a row is better at some magnifications than at others; or why nothing can be judged."""

_PAIRED = {
    "accuracy": "accuracy", "auc": "auc", "auc_mean": "auc", "recall": "sensitivity", "precision": "precision",
    "f1": "f1",
}  # fmt: skip
"""Metrics whose difference has an interval over images, to its name in a comparison; rules are told by accuracy unless
their table says otherwise."""


@dataclass(frozen=True)
class _Contrast:
    """A difference that a conclusion is about: of two rows, or of a row and a constant.

    Attributes
    ----------
    better, than : (row, magnification)
        `than` is None for a constant.
    least, most : float
        The conclusion holds of a difference between them.
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


def check_claim(where: str, claim: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    """Refuse a conclusion that is not of one of the forms, or not about the rows of its table.

    Raises
    ------
    InputError
    """
    keys = claim.keys() - {"says", "at", "metric"}
    if "says" not in claim or not any(form <= keys for form in _FORMS):
        lacking = next((key for key in ("says", "better", "than") if key not in claim), "margin")
        raise InputError(f"{where} has no claim.{lacking}")
    if keys not in _FORMS:
        most = max((form for form in _FORMS if form <= keys), key=len)
        raise InputError(f"{where}: claim.{min(keys - most)}: no part of a conclusion with {', '.join(sorted(most))}")
    for key in (key for key in _NUMBERS if key in claim):
        if isinstance(claim[key], bool) or not isinstance(claim[key], (int, float)):
            raise InputError(f"{where}: claim.{key} {claim[key]}: give a number")
    for key in (key for key in _LISTS if key in claim):
        if not isinstance(claim[key], list) or not claim[key]:
            raise InputError(f"{where}: claim.{key} {claim[key]}: give a list")
    if table["kind"] == "scores" and "why" not in claim and not {"metric"} & {*claim, *table}:
        raise InputError(f"{where} has no claim.metric: its rows have several figures")
    named = [row for key in ("better", "than", "alike") for row in claim.get(key, ())]
    named += [claim["row"]] if "row" in claim else []
    rows = table.get("rows")
    if rows is not None and (strange := [row for row in named if row not in rows]):
        raise InputError(f"{where}: claim: {strange[0]} is no row of it; {one_of(str(strange[0]), map(str, rows))}")


def judge(
    claim: Mapping[str, Any], points: Sequence[Points], runs: Runs, *, table: Mapping[str, Any], note: str
) -> str:
    """Say where a conclusion of the source holds here.

    It holds where the interval of each difference that it is about lies where the conclusion puts it (above 0, or
    within its margin), and does not where one lies wholly elsewhere; the interval takes in the scatter over seeds and
    that over images (or groups). Where there is none over images, nothing is judged: seeds alone say nothing of other
    images.

    Parameters
    ----------
    claim : mapping
        ``says``, and one of the forms that `check_claim` knows; maybe ``at``, the magnifications, and ``metric``, where
        it is not that of the table.
    points : sequence of dict
        Of each seed, the values that the table is about.
    runs : Runs
    table : mapping
        The published table, of which ``kind``, ``metric``, ``variant`` and ``level`` say what is compared.
    note : str
        Why nothing can be judged, or empty.
    """
    if "why" in claim:
        return f"Conclusion: {claim['says']}. Here: not judged ({claim['why']})."
    if "metric" in claim:
        table = {**table, "metric": claim["metric"]}
        points = [_points(found, claim["metric"]) for found in runs.seeds]
    outcome: dict[str, list[str]] = {verdict: [] for verdict in ("holds", "does not hold", "not settled")}
    for where, contrasts in _places(claim, runs):
        if any(key not in found for one in contrasts for key in (one.better, one.than) if key for found in points):
            verdict = "not run"
        elif table["kind"] == "parameters":  # counts have no scatter
            changes = [_change(one, points[0]) for one in contrasts]
            verdict = _judged(
                [(found, found, one.least, one.most) for found, one in zip(changes, contrasts, strict=True)]
            )
        elif note:
            verdict = "not judged (not comparable)"
        elif table["kind"] == "time":
            verdict = _time_verdict(contrasts, runs)
        elif table["kind"] == "gains":
            verdict = _gain_verdict(contrasts, runs, table)
        elif len(points) < SEEDS:
            verdict = f"not judged ({len(points)} of {SEEDS} seeds)"
        else:
            verdict = _verdict(contrasts, points, runs, table)
        outcome.setdefault(verdict, []).append(where)
    if not any(where for verdict, where in outcome.items() if verdict != "not run"):
        outcome = {"not run": [""]}
    found = "; ".join(f"{verdict}{','.join(where)}" for verdict, where in outcome.items() if where)
    return f"Conclusion: {claim['says']}. Here: {found}."


def _points(found: Mapping[Key, Any], metric: str) -> Points:
    values = {key: value_of(run.panel.metrics, metric)[0] for key, run in found.items()}
    return {key: value for key, value in values.items() if value is not None}


def _places(claim: Mapping[str, Any], runs: Runs) -> list[tuple[str, list[_Contrast]]]:
    """Return the differences that a conclusion is about, at each magnification, or at once if about these."""
    if "row" in claim:
        pairs = product(claim["better_at"], claim["than_at"])
        return [("", [_Contrast((claim["row"], high), (claim["row"], low)) for high, low in pairs])]
    found = []
    for at in claim.get("at", runs.magnifications):
        if "alike" in claim:
            margin = claim["margin"]
            contrasts = [_Contrast((a, at), (b, at), -margin, margin) for a, b in combinations(claim["alike"], 2)]
        elif "least" in claim:
            contrasts = [_Contrast((name, at), None, constant=claim["least"]) for name in claim["better"]]
        else:
            bounds = (-math.inf, claim["less_than"]) if "less_than" in claim else (claim.get("by", 0.0), math.inf)
            contrasts = [_Contrast((a, at), (b, at), *bounds) for a, b in product(claim["better"], claim["than"])]
        found.append(("" if at is None else f" at {at}x", contrasts))
    return found


def _verdict(contrasts: Sequence[_Contrast], points: Sequence[Points], runs: Runs, table: Mapping[str, Any]) -> str:
    """Judge differences, and show the one where there is but one."""
    if table.get("metric", "accuracy") not in _PAIRED or table["kind"] not in ("variants", "scores", "rules", "levels"):
        return "not judged (no paired interval over images)"
    keys = {key for one in contrasts for key in (one.better, one.than) if key is not None}
    seeds = [{key: _shown_in(found, key, table) for key in keys} for found in runs.seeds]
    found = [_interval(one, points, seeds, table) for one in contrasts]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return "not judged (no paired interval over images)"
    ends = [
        (middle - half, middle + half, one.least, one.most)
        for one, (middle, half) in zip(contrasts, known, strict=True)
    ]
    verdict = _judged(ends)
    if len(ends) > 1 or contrasts[0].better[1] is not None:
        return verdict
    points_of = [f"{100 * value:+.1f}" for value in (known[0][0], *ends[0][:2])]
    return f"{verdict} (difference {points_of[0]} points, 95 % interval {points_of[1]} to {points_of[2]})"


def _judged(ends: Sequence[tuple[float, float, float, float]]) -> str:
    """Say whether intervals, by their ends, lie between the bounds that a conclusion puts them into."""
    if all(low > least and high < most for low, high, least, most in ends):
        return "holds"
    return "does not hold" if any(high < least or low > most for low, high, least, most in ends) else "not settled"


def _time_verdict(contrasts: Sequence[_Contrast], runs: Runs) -> str:
    """Judge times: of each pair of networks the mean difference over the turns in which both were timed."""
    ends = []
    for one in contrasts:
        slow, fast = runs.times[one.better[0]], runs.times[one.than[0] if one.than else one.better[0]]
        changes = [a - b for a, b in zip(slow, fast, strict=False)]
        if len(changes) < 2:
            return "not judged (timed once)"
        middle, half = mean_change(changes)
        ends.append((middle - half, middle + half, 0.0, math.inf))
    return _judged(ends)


def _gain_verdict(contrasts: Sequence[_Contrast], runs: Runs, table: Mapping[str, Any]) -> str:
    """Judge gains over the folds: one run has as many trainings as folds."""
    ends = []
    for one in contrasts:
        _, interval = gain_of(runs, one.better, table, than=one.than)
        if interval is None:
            return "not judged (one fold)"
        ends.append((interval[0] - one.constant, interval[1] - one.constant, one.least, one.most))
    return _judged(ends)


def _change(one: _Contrast, found: Points) -> float:
    return found[one.better] - (one.constant if one.than is None else found[one.than])


def _interval(
    one: _Contrast, points: Sequence[Points], seeds: Sequence[Mapping[Key, Shown]], table: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Return the mean of a difference over seeds and half its 95 % interval; None where it has none over images."""
    better, than, metric = one.better, one.than, table.get("metric", "accuracy")
    changes = [_change(one, found) for found in points]
    widths = [half_width(found[better], None if than is None else found[than], metric) for found in seeds]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths):
        return None
    middle, over_seeds = mean_change(changes)
    return middle, (over_seeds**2 + (sum(known) / len(known)) ** 2) ** 0.5


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


def _shown_in(found: Mapping[Key, Obtained], key: Key, table: Mapping[str, Any]) -> Shown:
    """Return what stands behind a row of one seed."""
    name, at = key
    if table["kind"] in ("variants", "scores"):
        run, level = found.get(key), table.get("level", "image")
        if run is None:
            return Shown()
        value = value_of(run.table(LEVELS[level]), table["metric"])
        if level == "patch":  # of which one table is not the other's, row by row
            return Shown(None, value)
        return Shown(aggregate(run.panel.table) if level == "patient" else run.panel.table, value)
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
        widths = [_paired(a, b, _PAIRED[metric]) for a, b in pairs]
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
    if figure in ("precision", "f1"):
        places = {key: place for place, key in enumerate(second.keys)}
        second = take_rows(second, np.array([places[key] for key in first.keys], dtype=np.int64))
        found = precision_difference(first, second, f1=figure == "f1")
    else:
        found = compare_tables(first, second)["differences"].get(figure)
    return None if found is None else _own((found["difference"], found["interval"]))
