"""The published tables of a recipe beside what its variants gave, and a verdict on each conclusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...evaluate import PublishedTable
from .claims import judge
from .kinds import KINDS
from .obtained import Runs

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
        verdict = judge(table.get("claim"), seeds, runs, table=table, note=note)
        said = " ".join(filter(None, (verdict, note)))
        found.append(PublishedTable(table["key"], table["title"], table["source"], tuple(figures), said))
    return found
