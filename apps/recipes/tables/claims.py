"""The kinds of published tables, their comparison with a run, and whether the conclusions of a source hold in it.

Conclusions are judged by paired intervals over seeds and images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any, NamedTuple

from ....evaluate.report import PublishedFigure, PublishedTable
from .differences import Contrast, Differences, Interval
from .ensembles import agreement, by_store, confusion, fusion_by_fold, gains, spreads, two_class
from .networks import by_fold, learning_gap, metrics_of_rows, parameters, scores, training_time
from .obtained import Figures, Key, Published, Runs

Claim = Mapping[str, Any]
"""A conclusion of a source, in one of the forms of `bchisto.apps.recipes.form.check_claim`."""


def claims_of(table: Published) -> list[Claim]:
    """Return the conclusions of a published table."""
    claims = [*table.get("claims", ())]
    if "claim" in table:
        claims.append(table["claim"])
    return claims


def judge(
    claim: Claim, points: Mapping[Key, float], runs: Runs, *, table: Published, note: str
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
    differences = Differences(runs, table)
    places: dict[str, list[str]] = {"holds": [], "does not hold": [], "not settled": []}
    for where, contrasts in _contrasts(claim, runs):
        verdict = _verdict(contrasts, differences, points, note=note)
        places.setdefault(verdict, []).append(where)
    verdicts = [verdict for verdict in places if places[verdict]]
    text = "not run"
    if any(verdict != text for verdict in verdicts):
        text = "; ".join(f"{verdict}{','.join(places[verdict])}" for verdict in verdicts)
    return f"Conclusion: {claim['says']}. Here: {text}."


def _contrasts(claim: Claim, runs: Runs) -> list[tuple[str, list[Contrast]]]:
    """Return the differences of a conclusion at each magnification; together, if it compares magnifications."""
    if "row" in claim:
        row = claim["row"]
        pairs = product(claim["better_at"], claim["than_at"])
        return [("", [Contrast((row, high), (row, low)) for high, low in pairs])]
    contrasts = []
    for magnification in claim.get("at", runs.magnifications):
        where = "" if magnification is None else f" at {magnification}x"
        contrasts.append((where, _contrasts_at(claim, magnification)))
    return contrasts


def _contrasts_at(claim: Claim, magnification: int | None) -> list[Contrast]:
    """Return the differences of a conclusion at a magnification."""
    if "alike" in claim:
        margin = claim["margin"]
        return [
            Contrast((a, magnification), (b, magnification), -margin, margin)
            for a, b in combinations(claim["alike"], 2)
        ]
    if "least" in claim:
        return [
            Contrast((row, magnification), None, constant=claim["least"]) for row in claim["better"]
        ]
    if "less_than" in claim:
        bounds = (-math.inf, claim["less_than"])
    else:
        bounds = (claim.get("by", 0.0), math.inf)
    return [
        Contrast((a, magnification), (b, magnification), *bounds)
        for a, b in product(claim["better"], claim["than"])
    ]


def _verdict(
    contrasts: Sequence[Contrast],
    differences: Differences,
    points: Mapping[Key, float],
    *,
    note: str,
) -> str:
    """Return whether the differences of a conclusion are inside its bounds, or the reason why it is not judged."""
    keys = {key for contrast in contrasts for key in contrast.keys}
    values = differences.values(keys, points)
    if any(seed.get(key) is None for seed in values for key in keys):
        return "not run"
    # parameters are counted, so a note does not affect them
    if note and differences.kind != "parameters":
        return "not judged (not comparable)"
    intervals: list[Interval] = []
    for contrast in contrasts:
        interval = differences.interval(contrast, values)
        if isinstance(interval, str):
            return f"not judged ({interval})"
        intervals.append(interval)
    verdict = _judged(contrasts, intervals)
    if not differences.of_images or len(contrasts) != 1:
        return verdict
    _, magnification = contrasts[0].better
    if magnification is not None:
        return verdict
    (interval,) = intervals
    middle, low, high = (
        f"{100 * value:+.1f}" for value in (interval.middle, interval.low, interval.high)
    )
    return f"{verdict} (difference {middle} points, 95 % CI {low} to {high})"


def _judged(contrasts: Sequence[Contrast], intervals: Sequence[Interval]) -> str:
    pairs = list(zip(contrasts, intervals, strict=True))
    # all of each interval is between the bounds of the conclusion
    if all(
        interval.low > bounds.least and interval.high < bounds.most for bounds, interval in pairs
    ):
        return "holds"
    # nothing of one is between them
    if any(
        interval.high < bounds.least or interval.low > bounds.most for bounds, interval in pairs
    ):
        return "does not hold"
    return "not settled"


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
    """

    needs: tuple[str, ...]
    figures: Callable[[Runs, int | None, Published], Figures]
    once: bool = False


KINDS = {
    "stores": TableKind(("rows",), by_store),
    "fusion_folds": TableKind(("values",), fusion_by_fold),
    "two_class_folds": TableKind(("values",), fusion_by_fold),
    "two_class": TableKind(("accuracy", "auc", "set_points"), two_class),
    "confusion": TableKind(("classes", "matrix"), confusion),
    "agreement": TableKind(("predictions",), agreement, once=True),
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
    tables: Sequence[Published], runs: Runs, *, note: str
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
        Tables with at least one obtained figure, or with figures that are shown without one; each row is repeated for
        every magnification. Intervals are 95 %, over groups if known, else over images.
    """
    compared = []
    for table in tables:
        figures, points = _compare(table, runs, note=note)
        if not points and not any(figure.cited for figure in figures):
            continue
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        lines = [judge(claim, points, runs, table=table, note=note) for claim in claims_of(table)]
        lines += [line for line in (table.get("note"), note) if line]
        compared.append(
            PublishedTable(
                table["key"], table["title"], table["source"], tuple(figures), "\n".join(lines)
            )
        )
    return compared


def _compare(
    table: Published, runs: Runs, *, note: str
) -> tuple[list[PublishedFigure], dict[Key, float]]:
    """Return the rows of a table, those of a name together, and the figures that were obtained."""
    kind = KINDS[table["kind"]]
    points: dict[Key, float] = {}
    rows: dict[str, list[PublishedFigure]] = {}
    run_at = {magnification for _, magnification in runs.obtained}
    magnifications = [
        magnification for magnification in runs.magnifications if magnification in run_at
    ]
    if kind.once:
        magnifications = magnifications[:1]
    for magnification in magnifications:
        for figure in kind.figures(runs, magnification, table):
            if figure.obtained is not None:
                points[figure.name, magnification] = figure.obtained
            name = figure.name
            if magnification is not None and not kind.once:
                name = f"{name} at {magnification}x"
            shown = replace(figure, name=name)
            if note:  # no interval of a difference if the figures cannot be compared
                shown = replace(shown, paired=None)
            rows.setdefault(figure.name, []).append(shown)
    return [figure for row in rows.values() for figure in row], points


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row for a result of others that the source cites, which has no obtained figure."""
    if isinstance(printed, (int, float)):
        digits = len(str(printed).partition(".")[2])
        return PublishedFigure(name, float(printed), None, digits=digits, cited=True)
    text = "" if printed is None else str(printed)
    return PublishedFigure(name, None, None, cited=True, printed=text)
