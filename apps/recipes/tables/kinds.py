"""The kinds of published tables, and their comparison with the variants of a recipe, with a verdict on conclusions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ....evaluate.report import PublishedFigure, PublishedTable
from .claims import claims_of, judge
from .ensembles import agreement, by_store, confusion, fusion_by_fold, gains, spreads, two_class
from .networks import by_fold, learning_gap, metrics_of_rows, parameters, scores, training_time
from .obtained import Figures, Key, Runs


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


def compare_published(tables: Sequence[Mapping[str, Any]], runs: Runs, *, note: str) -> list[PublishedTable]:
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
                paired = None if note else figure.paired  # no interval if the figures cannot be compared
                shown = replace(figure, name=f"{figure.name}{where}", paired=paired)
                rows.setdefault(figure.name, []).append(shown)
        if not points and not kind.always:
            continue
        figures = [figure for row in rows.values() for figure in row]
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        verdicts = [judge(claim, points, runs, table=table, note=note) for claim in claims_of(table)]
        text = "\n".join([*verdicts, *filter(None, (table.get("note"), note))])
        compared.append(PublishedTable(table["key"], table["title"], table["source"], tuple(figures), text))
    return compared


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row for a result of others that the source cites, which has no obtained figure."""
    if isinstance(printed, (int, float)):
        return PublishedFigure(name, float(printed), None, digits=len(str(printed).partition(".")[2]), cited=True)
    return PublishedFigure(name, None, None, cited=True, printed="" if printed is None else str(printed))
