"""Conclusions of a source, judged by paired intervals over seeds and images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from ...evaluate import (
    PredictionTable,
    aggregate,
    compare_tables,
    fold_error,
    read_facts,
    read_predictions,
    unlike_pairs,
)
from .networks import value_of
from .obtained import Obtained, Points, Runs

__all__ = ["SEEDS", "judge"]

SEEDS = 3
"""Seeds from which a conclusion is judged (ours): one training says nothing of how much another would differ."""

_PAIRED = {"accuracy": "accuracy", "auc": "auc", "recall": "sensitivity"}
"""Metrics whose difference has an interval over images, to its name in a comparison; rules are told by accuracy."""


def judge(
    claim: Mapping[str, Any] | None, points: Sequence[Points], runs: Runs, *, table: Mapping[str, Any], note: str
) -> str:
    """Say where a conclusion of the source holds here.

    It holds where the interval of each difference that it is about lies above 0, and does not where one lies below;
    the interval takes in the scatter over seeds and that over images (or groups). Where there is none over images,
    nothing is judged: seeds alone say nothing of other images.

    Parameters
    ----------
    claim : mapping, optional
        ``says``, ``better``, ``than`` and maybe ``at``, the magnifications.
    points : sequence of dict
        Of each seed, the values that it is about.
    runs : Runs
    table : mapping
        The published table, of which ``kind``, ``metric``, ``variant`` and ``level`` say what is compared.
    note : str
        Why nothing can be judged, or empty.
    """
    if claim is None:
        return ""
    outcome: dict[str, list[str]] = {verdict: [] for verdict in ("holds", "does not hold", "not settled")}
    for at in claim.get("at", runs.magnifications):
        where = "" if at is None else f" at {at}x"
        if any((name, at) not in found for name in (*claim["better"], *claim["than"]) for found in points):
            verdict = "not run"
        elif note:
            verdict = "not judged (not comparable)"
        elif len(points) < SEEDS:
            verdict = f"not judged ({len(points)} of {SEEDS} seeds)"
        else:
            names = {*claim["better"], *claim["than"]}
            seeds = [_tables(found, names, at, table) for found in runs.seeds]
            pairs = product(claim["better"], claim["than"])
            ends = [_interval(better, than, at, points, seeds, table) for better, than in pairs]
            known = [end for end in ends if end is not None]
            if len(known) < len(ends):
                verdict = "not judged (no paired interval over images)"
            elif all(low > 0 for low, _ in known):
                verdict = "holds"
            elif any(high < 0 for _, high in known):
                verdict = "does not hold"
            else:
                verdict = "not settled"
        outcome.setdefault(verdict, []).append(where)
    found = "; ".join(f"{verdict}{','.join(where)}" for verdict, where in outcome.items() if where)
    return f"Conclusion: {claim['says']}. Here: {found}."


_Shown = tuple[PredictionTable, tuple[float, float] | None]
"""Predictions, and the interval that their own figure has."""


def _tables(
    found: Mapping[tuple[str, int | None], Obtained], names: Collection[str], at: int | None, table: Mapping[str, Any]
) -> dict[str, _Shown]:
    """Return the predictions behind each row of a table, of one seed; empty where a row is no set of predictions."""
    if table["kind"] == "variants" and table["metric"] in _PAIRED:
        runs = {name: run for name in names if (run := found.get((name, at))) is not None}
        return {name: (run.panel.table, value_of(run.panel.metrics, table["metric"])[1]) for name, run in runs.items()}
    run = found.get((table["variant"], at)) if table["kind"] == "rules" else None
    path = None if run is None else run.folder / "predictions-by-patch.csv"
    if path is None or not path.is_file():
        return {}
    facts = read_facts(path)
    (patches,) = read_predictions(path, classes=facts.run.get("classes", ()))
    described, positive = facts.described(patches), facts.view.positive
    return {name: (aggregate(described, rule=name, level=table["level"], positive=positive), None) for name in names}


def _interval(
    better: str,
    than: str,
    at: int | None,
    points: Sequence[Points],
    seeds: Sequence[Mapping[str, _Shown]],
    table: Mapping[str, Any],
) -> tuple[float, float] | None:
    """Return the 95 % interval of a difference, the mean over seeds; None where it has none over images."""
    from scipy.stats import t as student

    changes = [found[better, at] - found[than, at] for found in points]
    middle, error = fold_error(changes, [1.0] * len(changes), share=0.0)
    figure = _PAIRED[table.get("metric", "accuracy")] if all(seeds) else ""
    widths = [_half_width(shown[than], shown[better], figure) for shown in seeds] if figure else [None]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths):
        return None
    over_images = sum(known) / len(known)
    half = ((float(student.ppf(0.975, len(changes) - 1)) * error) ** 2 + over_images**2) ** 0.5
    return middle - half, middle + half


def _half_width(first: _Shown, second: _Shown, figure: str) -> float | None:
    """Return half the interval over images of the difference of two tables; None where there is none."""
    (a, of_a), (b, of_b) = first, second
    if unlike_pairs([a, b]):  # other images: then each has an interval of its own
        return (
            None if of_a is None or of_b is None else sum(((high - low) / 2) ** 2 for low, high in (of_a, of_b)) ** 0.5
        )
    found = compare_tables(a, b)["differences"].get(figure)
    return None if found is None else (found["interval"][1] - found["interval"][0]) / 2
