"""External validation: how much of a figure is left on images from elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .operating import called_point
from .panel import Panel
from .predictions import PredictionTable
from .two_class import two_sides
from .wording import counted, listed

_FIGURES = (
    ("accuracy", ("accuracy",)), ("balanced_accuracy", ("balanced_accuracy",)), ("auc", ("auc",)),
    ("two_class_auc", ("two_class", "auc")),
)  # fmt: skip
"""Figures that are compared, and where they stand in metrics and intervals."""


def external_validations(
    panels: Sequence[Panel], internal: Sequence[Panel], *, steps: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare every table with those of the images that the models come from, at the same level.

    Parameters
    ----------
    panels, internal : sequence of Panel
        As many of each table as `steps`, one after the other.
    steps : int
        Levels, and rules for them, at which each table was measured.

    Returns
    -------
    (list of dict, list of str)
        Of `external_validation`; and what a reader must know of them: which tables are not compared, since rows of one
        are patches and those of the other are not, and which share images or groups.

    Raises
    ------
    InputError
        Tables of other classes.
    """
    found, notes = [], []
    for (place, panel), (at, other) in itertools.product(enumerate(panels), enumerate(internal)):
        table, of = panel.table, other.table
        if set(table.classes) != set(of.classes):
            raise InputError(
                f"{table.name} has the classes {', '.join(table.classes)}, {of.name} {', '.join(of.classes)}: there "
                "is no drop between them; give tables of the same classes"
            )
        if place % steps != at % steps:
            continue
        if (table.patches is None) != (of.patches is None):
            rows, others = ("whole images" if one.patches is None else "patches" for one in (table, of))
            notes.append(
                f"{table.name} is not compared with {of.name}: its rows are {rows}, those of the other {others}; "
                "choose a level that both have"
            )
            continue
        found.append(external_validation(table, panel.metrics, of.name, other.metrics, of=of))
        if shared := found[-1]["shared"]:
            notes.append(
                f"{table.name} against {of.name}: {_alike(shared)}; where they are the same, "
                "no drop on new images is shown"
            )
    return found, notes


def external_validation(
    table: PredictionTable,
    external: Mapping[str, Any],
    against: str,
    internal: Mapping[str, Any],
    *,
    of: PredictionTable | None = None,
) -> dict[str, Any]:
    """Compare the figures of a table with those of a table of other images.

    The tables are to share no images, so nothing is paired: the interval of a drop is put together from those of both
    figures, whatever was drawn for these (images or patients).

    Parameters
    ----------
    table : PredictionTable
        The external one.
    external : mapping
        Its figures, of `measure`.
    against : str
        Name of the internal table.
    internal : mapping
        The figures of that.
    of : PredictionTable, optional
        That table, which tells what both share, and which classes have images in it.

    Returns
    -------
    dict
        ``table``, ``against``, ``n``, ``n_against``, ``figures``: by name ``internal``, ``external``, ``drop``
        (the former less the latter) and its 95 % ``interval`` (None without intervals), where both tables have the
        figure, for balanced accuracy of the same classes; ``shared``: by name how many images, and groups, are named
        alike in both, where any are; ``wanted``: what the thresholds that the internal table gave for wanted
        sensitivities reach on the external one; and ``sentence``.

    References
    ----------
    Zou & Donner 2008 (intervals of a difference from those of its terms); of Wilson's intervals: Newcombe 1998, method
    10.
    """
    name = table.name
    shared = {} if of is None else _shared(table, of)
    alike = of is None or _present(table) == _present(of)
    figures = {}
    for key, path in _FIGURES if alike else [one for one in _FIGURES if one[0] != "balanced_accuracy"]:
        one, other = _at(internal, path), _at(external, path)
        if one is None or other is None:
            continue
        spans = [_at(metrics.get("intervals") or {}, path) for metrics in (internal, external)]
        interval = None if None in spans else independent_difference(one, other, *spans)
        figures[key] = {"internal": one, "external": other, "drop": one - other, "interval": interval}
    found = figures["accuracy"]
    sign, way = (-1, "gain") if found["drop"] < 0 else (1, "drop")
    span = found["interval"] and sorted(100 * sign * end for end in found["interval"])
    said = f" (95 % interval {span[0]:+.1f} to {span[1]:+.1f})" if span else ""
    return {
        "table": name,
        "against": against,
        "n": external["n"],
        "n_against": internal["n"],
        "figures": figures,
        "shared": shared,
        "wanted": list(_carried(table, internal.get("two_class") or {})),
        "sentence": f"{name}: accuracy {100 * found['external']:.1f} % of {external['n']}, against "
        f"{100 * found['internal']:.1f} % of the {internal['n']} of {against}: a {way} "
        f"of {100 * abs(found['drop']):.1f} points"
        f"{said}, for the models as they are trained; unpaired, "
        + (f"though {_alike(shared)}" if shared else "since the images are others"),
    }


def _shared(table: PredictionTable, of: PredictionTable) -> dict[str, int]:
    """Return how many images, and groups, of one table are named in another, where any are."""
    images, groups = (len(set(one) & set(other) - {None}) for one, other in (
        (table.image_ids, of.image_ids), (table.groups, of.groups),
    ))  # fmt: skip
    rows = table.image_is if table.patches is not None else table.row_is  # groups, where the table is of these
    return {name: count for name, count in {rows: images, table.group_is: groups}.items() if count}


def _alike(shared: Mapping[str, int]) -> str:
    return f"{listed([counted(count, name) for name, count in shared.items()])} named alike in both"


def _present(table: PredictionTable) -> set[str]:
    """Return the classes that have rows."""
    return {table.classes[place] for place in np.unique(table.labels)}


def _carried(table: PredictionTable, view: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Call a table by the thresholds of another one's view."""
    if table.probabilities is None or not view.get("wanted"):
        return
    truth, scores = two_sides(table, view["positive"], view["rule"])
    for point in view["wanted"]:
        called = scores >= point["threshold"]
        yield {"wanted": point["wanted"], **called_point(table, truth, called, point["threshold"])}


def _at(content: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for key in path:
        content = (content or {}).get(key)  # type: ignore[assignment]
    return content


def independent_difference(one: float, other: float, first: list[float], second: list[float]) -> list[float]:
    """Return the interval of a difference of two independent figures."""
    return [
        one - other - float(np.hypot(one - first[0], second[1] - other)),
        one - other + float(np.hypot(first[1] - one, other - second[0])),
    ]
