"""External validation, and subgroups: how much of a figure is left on images from elsewhere, or of a site."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..core import InputError, counted, listed
from ..core.formats import IMAGE, column_key, read_csv, visible
from ..data import facts_files, read_dataset_facts
from .metrics import two_sides
from .operating import called_point
from .panel import Panel
from .predictions import PredictionTable, take_rows
from .variance import Figure, Units

_MOST = 40
"""Maximum number of values of a column for subgroups: a column with more names images or patients."""

_UNKNOWN = "not known"

_SEVERAL = "several"


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
    validations, notes = [], []
    for (number, panel), (at, other) in itertools.product(enumerate(panels), enumerate(internal)):
        table, of = panel.table, other.table
        if set(table.classes) != set(of.classes):
            raise InputError(
                f"{table.name} has the classes {', '.join(table.classes)}, {of.name} {', '.join(of.classes)}: there "
                "is not a drop between them; give tables of the same classes"
            )
        if number % steps != at % steps:
            continue
        if (table.patches is None) != (of.patches is None):
            rows, others = (
                "whole images" if each.patches is None else "patches" for each in (table, of)
            )
            notes.append(
                f"{table.name} is not compared with {of.name}: its rows are {rows}, those of the other {others}; "
                "choose a level that both have"
            )
            continue
        validations.append(external_validation(panel, other))
        if shared := validations[-1]["shared"]:
            notes.append(
                f"{table.name} against {of.name}: {listed([counted(count, name) for name, count in shared.items()])} "
                "named alike in both; if they are the same, no drop on new images is shown"
            )
    return validations, notes


def external_validation(panel: Panel, other: Panel) -> dict[str, Any]:
    """Compare the figures of a table with those of a table of other images.

    The tables are to share no images, so nothing is paired: the interval of a drop combines those of both
    figures, whatever was drawn for these (images or patients).

    Parameters
    ----------
    panel, other : Panel
        The external table, and the internal one.

    Returns
    -------
    dict
        ``table``, ``against``, ``n``, ``n_against``, ``figures``: by name the values ``internal`` and ``external``, and
        the figure ``drop``, the former less the latter, where both tables have it, for balanced accuracy of the same
        classes; ``shared``: by name how many images, and groups, are named
        alike in both, where any are; ``wanted``: what the thresholds that the internal table gave for wanted
        sensitivities reach on the external one.

    References
    ----------
    Zou & Donner 2008 (intervals of a difference from those of its terms); of Wilson's intervals: Newcombe 1998, method
    10.
    """
    table, of = panel.table, other.table
    external, internal = panel.metrics, other.metrics
    figures = {}
    for key in ("accuracy", "balanced_accuracy", "auc", "two_class_auc"):
        inside, outside = (
            (metrics.get("two_class") or {}).get("auc")
            if key == "two_class_auc"
            else metrics.get(key)
            for metrics in (internal, external)
        )
        if inside and outside and (key != "balanced_accuracy" or _present(table) == _present(of)):
            drop = independent_difference(inside, outside)
            figures[key] = {"internal": inside["value"], "external": outside["value"], "drop": drop}
    return {
        "table": table.name,
        "against": of.name,
        "n": external["n"],
        "n_against": internal["n"],
        "figures": figures,
        "shared": _shared(table, of),
        "wanted": list(_carried(table, internal.get("two_class") or {})),
    }


def _shared(table: PredictionTable, of: PredictionTable) -> dict[str, int]:
    """Return how many images, and groups, of one table are named in another, where any are."""
    images, groups = (
        len(set(names) & set(other) - {None})
        for names, other in (
            (table.image_ids, of.image_ids),
            (table.groups, of.groups),
        )
    )
    rows = (
        table.image_is if table.patches is not None else table.row_is
    )  # groups, where the table is of these
    return {name: count for name, count in {rows: images, table.group_is: groups}.items() if count}


def _present(table: PredictionTable) -> set[str]:
    """Return the classes that have rows."""
    return {table.classes[label] for label in np.unique(table.labels)}


def _carried(table: PredictionTable, view: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Call a table by the thresholds of another one's view."""
    if table.probabilities is None or not view.get("wanted"):
        return
    sides = two_sides(table, view["positive"], view["rule"])
    for point in view["wanted"]:
        called = sides.scores >= point["threshold"]
        yield {
            "wanted": point["wanted"],
            **called_point(table, sides.truth, called, point["threshold"]),
        }


def independent_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figure of the first less the second, which are independent; both as ``metrics.json`` holds them."""
    value, other, apart = first["value"], second["value"], first["value"] - second["value"]
    if first["interval"] is None or second["interval"] is None:
        return Figure(apart).json()
    (low, high), (least, most) = first["interval"], second["interval"]
    down, up = (
        float(np.hypot(value - low, most - other)),
        float(np.hypot(high - value, other - least)),
    )
    return Figure(apart, apart - down, apart + up, "of both figures, unpaired").json()


def column_values(path: Path, column: str, *, images_sha256: str = "") -> dict[str, str]:
    """Return the value of a column for each image, from a predictions file, else from the manifest of its run.

    Parameters
    ----------
    path : Path
        The predictions; the run is looked for in the folders above it.
    column : str
        Case, blanks, ``_`` and ``-`` of its name do not count.
    images_sha256 : str
        Identity of the images of the run.

    Raises
    ------
    InputError
        No such column, or an image with two values.
    """
    wanted = column_key(column)
    table = read_csv(path, needed=(IMAGE,), expected="image_id")
    if (name := table.named(column)) is not None:
        ids = table.choose(IMAGE)
        table.check({IMAGE: ids}, name)
        values: dict[str, str] = {}
        for _, row in table.rows:
            if (first := values.setdefault(row[ids], row[name])) != row[name]:
                raise InputError(
                    f"{path}: {row[ids]} has two values in column {table.columns[name]}, {first} and {row[name]}; "
                    "subgroups are of whole images"
                )
        return values
    for file in facts_files(path):
        known = read_dataset_facts(file, images_sha256=images_sha256)
        if wanted in known.columns:
            return {visible(image): value for image, value in known.columns[wanted].items()}
    raise InputError(
        "{}: {by} {}: neither this table nor the manifest of its run has such a column; add it to "
        "the table, with a value for each image",
        path,
        column,
    )


def subgroups(
    table: PredictionTable, values: Mapping[str, str], *, column: str
) -> list[dict[str, Any]]:
    """Measure the rows of each value of a column, and against all other rows.

    Parameters
    ----------
    table : PredictionTable
        Of images or patches, or with a row per group.
    values : mapping of str to str
        Image id to value, or group to value where a row is a group; empty or absent where it is not known.
    column : str
        For messages.

    Returns
    -------
    list of dict
        By value: ``value``, ``n``, ``units``, ``tested``, and the figures ``accuracy`` and ``difference`` (accuracy
        less that of all other rows, taken for independent of them; None without others).

    Raises
    ------
    InputError
        More values than make subgroups, or names of groups as values, each of a single group.
    """
    of_rows = np.array([values.get(image) or _UNKNOWN for image in table.image_ids])
    names = sorted(set(of_rows.tolist()), key=lambda name: (name == _UNKNOWN, name))
    pairs = {
        pair for pair in zip(of_rows.tolist(), table.groups, strict=True) if pair[1] is not None
    }
    of_one = len({value for value, _ in pairs}) == len(
        pairs
    )  # else sites, called "1" and "2" as patients may be
    if len(names) > _MOST or (of_one and set(names) & {group for _, group in pairs}):
        raise InputError(
            "{by} {}: has {} values, or names patients or slides; choose a column of at most {} "
            "values that images of several patients share",
            column,
            len(names),
            _MOST,
        )
    measured = []
    for name in names:
        mine, others = (
            take_rows(table, np.flatnonzero(rows)) for rows in (of_rows == name, of_rows != name)
        )
        accuracy, rest = _accuracy(mine), _accuracy(others) if len(others) else None
        measured.append(
            {
                "value": name,
                "n": len(mine),
                "units": Units.of(mine).count,
                "accuracy": accuracy,
                "difference": rest and independent_difference(accuracy, rest),
                "tested": mine.tested,
            }
        )
    return measured


def _accuracy(table: PredictionTable) -> dict[str, Any]:
    return cast(
        "Figure", Units.of(table).share(table.predicted == table.labels)
    ).json()  # there are rows


def of_groups(table: PredictionTable, values: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each group, that of its images; where these differ, that there are several."""
    seen: dict[str, set[str]] = {}
    for image, group in zip(table.image_ids, table.groups, strict=True):
        if group is not None:
            seen.setdefault(group, set()).add(values.get(image) or _UNKNOWN)
    return {
        group: several.pop() if len(several) == 1 else _SEVERAL for group, several in seen.items()
    }
