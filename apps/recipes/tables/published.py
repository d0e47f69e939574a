"""The kinds of published tables, and their comparison with a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ....evaluate.report import PublishedFigure, PublishedTable
from .ensembles import agreement, by_store, confusion, fusion_by_fold, gains, spreads, two_class
from .networks import by_fold, learning_gap, metrics_of_rows, parameters, scores, training_time
from .obtained import Figures, Published, Runs


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
        figures = _compare(table, runs, note=note)
        if all(figure.obtained is None and not figure.cited for figure in figures):
            continue
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        lines = [line for line in (table.get("note"), note) if line]
        compared.append(
            PublishedTable(
                table["key"], table["title"], table["source"], tuple(figures), "\n".join(lines)
            )
        )
    return compared


def _compare(table: Published, runs: Runs, *, note: str) -> list[PublishedFigure]:
    """Return the rows of a table, those of a name together."""
    kind = KINDS[table["kind"]]
    rows: dict[str, list[PublishedFigure]] = {}
    run_at = {magnification for _, magnification in runs.obtained}
    magnifications = [
        magnification for magnification in runs.magnifications if magnification in run_at
    ]
    if kind.once:
        magnifications = magnifications[:1]
    for magnification in magnifications:
        for figure in kind.figures(runs, magnification, table):
            name = figure.name
            if magnification is not None and not kind.once:
                name = f"{name} at {magnification}x"
            shown = replace(figure, name=name)
            if note:  # no interval of a difference if the figures cannot be compared
                shown = replace(shown, paired=None)
            rows.setdefault(figure.name, []).append(shown)
    return [figure for row in rows.values() for figure in row]


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row for a result of others that the source cites, which has no obtained figure."""
    if isinstance(printed, (int, float)):
        digits = len(str(printed).partition(".")[2])
        return PublishedFigure(name, float(printed), None, digits=digits, cited=True)
    text = "" if printed is None else str(printed)
    return PublishedFigure(name, None, None, cited=True, printed=text)
