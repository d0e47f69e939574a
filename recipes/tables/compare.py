"""The published tables of a recipe beside what its variants gave, and a verdict on each conclusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...evaluate import PublishedTable
from .kinds import KINDS
from .obtained import Points, Runs

__all__ = ["compare_published"]


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
        Of the tables of which something was run. Intervals are 95 %: bootstrap over images, or groups where known;
        those of one fold, of a cell of the confusion matrix, and of precision and recall are Wilson's.
    """
    found = []
    for table in tables:
        points, figures = KINDS[table["kind"]].compare(runs, table)
        if all(figure.obtained is None for figure in figures):
            continue
        said = " ".join(filter(None, (_claim(table.get("claim"), points, runs.magnifications), note)))
        found.append(PublishedTable(table["key"], table["title"], table["source"], tuple(figures), said))
    return found


def _claim(claim: Mapping[str, Any] | None, points: Points, at: Sequence[int | None]) -> str:
    """Say where a conclusion of the source holds here, by the values alone."""
    if claim is None:
        return ""
    outcome: dict[str, list[str]] = {"holds": [], "does not hold": [], "not run": []}
    for magnification in claim.get("at", at):
        better = [points.get((name, magnification)) for name in claim["better"]]
        than = [points.get((name, magnification)) for name in claim["than"]]
        if None in better or None in than:
            verdict = "not run"
        else:
            low, high = min(v for v in better if v is not None), max(v for v in than if v is not None)
            verdict = "holds" if low > high else "does not hold"
        outcome[verdict].append("" if magnification is None else f" at {magnification}x")
    found = "; ".join(f"{verdict}{','.join(where)}" for verdict, where in outcome.items() if where)
    return f"Conclusion: {claim['says']}. Here: {found}."
