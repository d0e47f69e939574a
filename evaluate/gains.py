"""What each store gives to the fusion of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from .compare import compare_tables, holm, selection_notes
from .metrics import compute_metrics
from .predictions import PredictionTable
from .two_class import TwoClassView
from .variance import Units


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
        without a ``store``, whose ``difference`` is the gain of that store, then those of every two stores.
        ``notes``: what a reader must know.

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
        "comparisons": holm(pairs),
        "notes": selection_notes(list(alone.values())),
    }


def _figures(table: PredictionTable) -> dict[str, Any]:
    metrics = compute_metrics(table)
    inside = Units.of(table).share(np.asarray(table.predicted == table.labels))
    figures = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "auc")}
    return {**figures, "interval": None if inside is None else inside.ends}
