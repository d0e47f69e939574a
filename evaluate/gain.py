"""What each store gives to a fusion: it alone, the fusion without it, and every two stores against each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from .columns import interval_cell, percent, points
from .compare import compare_tables, holm, selection_notes
from .comparison_sections import comparison_blocks, p_cell
from .formats import aligned
from .intervals import Sampled
from .metrics import compute_metrics
from .page import Block, Grid
from .panel import Panel
from .predictions import PredictionTable
from .two_class import TwoClassView

_HEADER = ("store", "alone", "fusion without it", "its gain, points", "95 % interval", "p", "p, Holm")


def measure_gains(
    fused: Callable[[Collection[str]], PredictionTable], stores: Sequence[str], *, view: TwoClassView
) -> dict[str, Any]:
    """Compare stores with each other, and the fusion of all with that of all but one.

    Parameters
    ----------
    fused : callable
        Returns the predictions of some of the stores; all over the same images and folds.
    stores : sequence of str
        At least two.
    view : TwoClassView
        Of sensitivity and specificity.

    Returns
    -------
    dict
        JSON-ready. ``fusion``: ``accuracy``, its ``interval``, ``balanced_accuracy`` and ``auc``; ``stores``: name to
        the same of the store ``alone`` and of the fusion ``without`` it; ``comparisons``: those of `compare_tables`,
        with ``first``, ``second`` and ``p_holm``, corrected for all of them; first those of the fusion with that
        without a ``store``, whose ``difference`` is the gain of that store, then those of every two stores. None of
        them is ``primary``. ``notes``: what a reader must know.

    References
    ----------
    Holm 1979.
    """
    fusion = fused(stores)
    alone = {store: replace(fused([store]), name=store) for store in stores}
    without = {
        store: replace(fused([other for other in stores if other != store]), name=f"fusion without {store}")
        for store in stores
    }
    pairs = [
        {"first": table.name, "second": fusion.name, "store": store, **compare_tables(table, fusion, view=view)}
        for store, table in without.items()
    ]
    pairs += [
        {"first": a.name, "second": b.name, **compare_tables(a, b, view=view)}
        for a, b in combinations(alone.values(), 2)
    ]
    return {
        "fusion": _figures(fusion),
        "stores": {name: {"alone": _figures(alone[name]), "without": _figures(without[name])} for name in stores},
        "comparisons": [{**pair, "primary": False} for pair in holm(pairs)],
        "notes": selection_notes(list(alone.values())),
    }


def _figures(table: PredictionTable) -> dict[str, Any]:
    metrics = compute_metrics(table)
    inside = Sampled(table).share(np.asarray(table.predicted == table.labels))
    figures = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "auc")}
    return {**figures, "interval": None if inside is None else inside.ends}


def _caption(found: Mapping[str, Any]) -> str:
    return (
        f"What each of {len(found['stores'])} stores gives to the accuracy; {len(found['comparisons'])} comparisons, "
        "none named beforehand, are corrected together"
    )


def _rows(found: Mapping[str, Any], *, between: str) -> list[list[str]]:
    """Return a row per store, and that of the fusion."""
    gains = {pair["store"]: pair for pair in found["comparisons"] if "store" in pair}

    def cell(figures: Mapping[str, Any]) -> str:
        return interval_cell("percent", figures["accuracy"], figures["interval"], between=between)

    rows = [
        [
            name,
            cell(store["alone"]),
            percent(store["without"]["accuracy"]),
            points(gains[name]["difference"]),
            points(gains[name]["interval"]),
            p_cell(gains[name]["p"]),
            p_cell(gains[name]["p_holm"]),
        ]
        for name, store in found["stores"].items()
    ]
    return [*rows, ["fusion", cell(found["fusion"]), *[""] * (len(_HEADER) - 2)]]


def gain_lines(found: Mapping[str, Any]) -> list[str]:
    """Say in lines for a terminal what `measure_gains` found."""
    against = [
        [f"{pair['second']} less {pair['first']}", points(pair["difference"]), points(pair["interval"]),
         p_cell(pair["p"]), p_cell(pair["p_holm"])]
        for pair in found["comparisons"]
        if "store" not in pair
    ]  # fmt: skip
    header = ["stores against each other", "points", "95 % interval", "p", "p, Holm"]
    return [
        _caption(found),
        *_ruled([_HEADER, *_rows(found, between=" ")]),
        "",
        *_ruled([header, *against]),
        *found["notes"],
    ]


def _ruled(rows: Sequence[Sequence[str]]) -> list[str]:
    header, *lines = aligned(rows)
    return [header, "-" * len(header), *lines]


def gain_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Show it for every table whose run recorded it."""
    for panel in panels:
        if not (found := panel.run.get("each")):
            continue
        if len(panels) > 1:
            yield Block(heading=panel.table.name)
        yield Block(grid=Grid(_caption(found), _HEADER, _rows(found, between="\n"), total=True))
        yield Block(
            text="The gain is the accuracy of the fusion of all stores less that of the fusion without the one. A "
            "store that is good alone may add nothing to the others."
        )
        yield from comparison_blocks(found["comparisons"], [panel])
        yield from (Block(note=f"{note[:1].upper()}{note[1:]}.") for note in found["notes"])
