"""Published tables of a recipe beside what its variants gave: their kinds, and a verdict on each conclusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...evaluate import PublishedFigure, PublishedTable
from .claims import claims_of, judge
from .ensembles import by_store, confusion, fusion_by_fold, gains, spreads, two_class
from .networks import (
    by_fold,
    by_level,
    by_rule,
    by_variant,
    learning_gap,
    parameters,
    scores,
    training_time,
    validation,
)
from .obtained import Compared, Runs


@dataclass(frozen=True)
class TableKind:
    """A kind of table.

    Attributes
    ----------
    needs : tuple of str
        Keys that such a table of a recipe has, beside ``key``, ``title`` and ``source``.
    compare : callable
        ``compare(runs, table)`` returns the values that a conclusion is about, and the figures.
    """

    needs: tuple[str, ...]
    compare: Callable[[Runs, Mapping[str, Any]], Compared]


KINDS = {
    "stores": TableKind(("rows",), by_store),
    "fusion_folds": TableKind(("values",), fusion_by_fold),
    "two_class": TableKind(("accuracy", "auc", "set_points"), two_class),
    "confusion": TableKind(("classes", "matrix"), confusion),
    "gains": TableKind(("of", "rows"), gains),
    "spreads": TableKind(("stores", "folds", "over_stores", "over_folds", "fusion"), spreads),
    "variants": TableKind(("metric", "rows"), by_variant),
    "scores": TableKind(("digits", "rows"), scores),
    "rules": TableKind(("variant", "level", "rows"), by_rule),
    "levels": TableKind(("variant",), by_level),
    "folds": TableKind(("variant",), by_fold),
    "validation": TableKind(("digits", "rows"), validation),
    "gap": TableKind(("rows",), learning_gap),
    "time": TableKind(("rows",), training_time),
    "parameters": TableKind(("digits", "rows"), parameters),
}
"""The first six are about a boosted ensemble, the last seven about a network; the others about either."""


def compare_published(tables: Sequence[Mapping[str, Any]], runs: Runs, *, note: str) -> list[PublishedTable]:
    """Put the published tables of a recipe beside its variants.

    Parameters
    ----------
    tables : sequence of mapping
        The recipe's ``published``.
    runs : Runs
    note : str
        Why figures cannot be compared, or empty.

    Returns
    -------
    list of PublishedTable
        Of the tables of which something was run. Intervals are 95 %, over images, or groups where known.
    """
    found = []
    for table in tables:
        compare = KINDS[table["kind"]].compare
        points, figures = compare(runs, table)
        if all(figure.obtained is None for figure in figures):
            continue
        if note:  # a difference that is none has no interval
            figures = [replace(figure, paired=None) for figure in figures]
        seeds = [points, *(compare(replace(runs, found=found), table)[0] for found in runs.further)]
        verdicts = [judge(claim, seeds, runs, table=table, note=note) for claim in claims_of(table)]
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        text = "\n".join([*verdicts, *filter(None, (table.get("note"), note))])
        found.append(PublishedTable(table["key"], table["title"], table["source"], tuple(figures), text))
    return found


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row of others, which a source sets beside its own and nothing here can obtain."""
    if isinstance(printed, (int, float)):
        return PublishedFigure(name, float(printed), None, digits=len(str(printed).partition(".")[2]), cited=True)
    return PublishedFigure(name, None, None, cited=True, printed="" if printed is None else str(printed))
