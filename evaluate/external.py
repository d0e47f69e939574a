"""External validation, and subgroups: how much of a figure is left on images from elsewhere, or of a site."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from ..core import InputError, counted, listed
from ..core.formats import IMAGE, column_key, read_csv, visible
from ..data import CHOSEN, drawn_or_not, facts_files, read_dataset_facts
from .compare import compare_tables, holm
from .intervals import Entry, Figure, IntervalMethod, Metrics, Units
from .metrics import list_metrics, metric_values
from .panel import Panel
from .predictions import Integers, PredictionTable, Values, sampling_units, take_rows
from .two_class import called_point, two_sides

_DROPS = ("balanced_accuracy", "auc", "accuracy", "patient_recognition_rate")
"""Figures that are compared, with those of a two-class view; first those that shares of classes do not change."""

_MOST = 40
"""Maximum number of values of a column for subgroups: a column with more names images or patients."""

_UNKNOWN = "not known"

_SEVERAL = "several"


def external_validations(
    panels: Sequence[Panel], internal: Sequence[Panel], *, steps: int
) -> tuple[list[Entry], list[str]]:
    """Compare every table with those of the images that the models come from, at the same level.

    Parameters
    ----------
    panels, internal : sequence of Panel
        Each table has `steps` panels, one after the other.
    steps : int
        Levels, and rules for them, at which each table was measured.

    Returns
    -------
    (list of dict, list of str)
        Results of `external_validation`, and notes for readers: which tables are not compared, since only one of them
        has patches as rows, and which share images or groups.

    Raises
    ------
    InputError
        Tables of other classes.
    """
    validations = []
    notes = []
    for (number, panel), (row, other) in itertools.product(enumerate(panels), enumerate(internal)):
        table = panel.table
        if set(table.classes) != set(other.table.classes):
            raise InputError(
                f"{table.name} has the classes {', '.join(table.classes)}, {other.table.name} "
                f"{', '.join(other.table.classes)}: there is not a drop between them; give tables of the same classes"
            )
        if number % steps != row % steps:  # another level
            continue
        if (table.patches is None) != (other.table.patches is None):
            notes.append(
                f"{table.name} is not compared with {other.table.name}: rows of one are patches, of the other whole "
                "images; choose a level that both have"
            )
            continue
        validation = external_validation(panel, other)
        validations.append(validation)
        if validation["shared"]:
            shared = [counted(count, name) for name, count in validation["shared"].items()]
            notes.append(
                f"{table.name} against {other.table.name}: {listed(shared)} "
                "named alike in both; if they are the same, no drop on new images is shown"
            )
    return validations, notes


def external_validation(panel: Panel, other: Panel) -> Entry:
    """Compare the figures of a table with those of a table of other images.

    The tables should share no images, so nothing is paired: the interval of a drop combines those of both figures,
    whatever their units are (images or patients). If a strategy chose images of one, those drawn at random count.

    Parameters
    ----------
    panel, other : Panel
        The external table, and the internal one.

    Returns
    -------
    dict
        ``table``, ``against``, ``n``, ``n_against``; ``group``, what a group is called; ``figures``: by name the values
        ``internal`` and ``external``, and the figure ``drop``, the former less the latter, if both tables have it (for
        balanced accuracy, of the same classes); ``shares``, see `_shares`; ``shared``: by noun how many images, and
        groups, have the same name in both, if any have; ``wanted``: what the thresholds that the internal table gave
        for wanted sensitivities reach on the external one.

    References
    ----------
    Zou & Donner 2008 (intervals of a difference from those of its terms); of Wilson's intervals: Newcombe 1998, method
    10.
    """
    figures = {}
    shared = _shared(panel.table, other.table)
    panel = panel.decisive
    other = other.decisive
    external_figures = _compared(panel.metrics)
    for name, internal in _compared(other.metrics).items():
        external = external_figures.get(name)
        if internal is None or external is None:
            continue
        if name == "balanced_accuracy" and _present(panel.table) != _present(other.table):
            continue
        figures[name] = {
            "internal": internal.value,
            "external": external.value,
            "drop": independent_difference(internal, external),
        }
    return {
        "table": panel.table.name,
        "against": other.table.name,
        "n": panel.metrics["n"],
        "n_against": other.metrics["n"],
        "group": panel.table.group_is,
        "figures": figures,
        "shares": _shares(panel.metrics, other.metrics),
        "shared": shared,
        "wanted": list(_carried(panel.table, other.metrics.get("two_class") or {})),
    }


def _shares(external: Metrics, internal: Metrics) -> Entry | None:
    """Return what other shares of classes do to the accuracy; None if shares are equal, or a class has no inner rows.

    ``expected`` is the external accuracy if of each class as many were right as internally, and ``explains`` whether
    the interval of the external accuracy holds it, but not the internal one. ``label`` is the class whose share,
    ``internal`` and ``external``, differs most.
    """
    expected = 0.0
    shares = []
    for label, figures in external.get("per_class", {}).items():
        internal_figures = internal["per_class"][label]
        share = figures["n"] / external["n"]
        internal_share = internal_figures["n"] / internal["n"]
        shares.append((abs(share - internal_share), label, internal_share, share))
        if share:
            if internal_figures["recall"] is None:
                return None
            expected += share * internal_figures["recall"].value
    change, label, internal_share, share = max(shares, default=(0.0, "", 0.0, 0.0))
    if change == 0.0:
        return None
    accuracy = external["accuracy"]
    explains = False
    if accuracy.interval:
        is_changed = not accuracy.low <= internal["accuracy"].value <= accuracy.high
        explains = bool(is_changed and accuracy.low <= expected <= accuracy.high)
    return {
        "expected": expected,
        "explains": explains,
        "label": label,
        "internal": internal_share,
        "external": share,
    }


def _compared(metrics: Metrics) -> dict[str, Figure | None]:
    """Return the figures of a table that are compared; those of operating points name their threshold."""
    figures = {name: metrics.get(name) for name in _DROPS}
    view = metrics.get("two_class")
    if not view:
        return figures
    if len(metrics["classes"]) > 2:  # for two classes it is the other AUC
        figures["two_class_auc"] = view["auc"]
    for point in view["thresholds"]:
        for name in ("sensitivity", "specificity"):
            figures[f"{name}_at_{point['threshold']:g}"] = point[name]
    return figures


def _shared(table: PredictionTable, other: PredictionTable) -> dict[str, int]:
    """Return by noun how many images, and groups, have the same name in two tables; those that are 0 are left out."""
    images = set(table.image_ids) & set(other.image_ids)
    groups = set(table.groups) & set(other.groups) - {None}
    name = table.row_is  # a group, if rows are groups
    if table.patches is not None:
        name = table.image_is
    counts = {name: len(images), table.group_is: len(groups)}
    return {name: count for name, count in counts.items() if count}


def _present(table: PredictionTable) -> set[str]:
    """Return the classes that have rows."""
    return {table.classes[label] for label in np.unique(table.labels)}


def _carried(table: PredictionTable, view: Metrics) -> Iterator[Entry]:
    """Yield the figures of a table at the thresholds that another table's view gave for wanted sensitivities."""
    if table.probabilities is None or not view.get("wanted"):
        return
    sides = two_sides(table, view["positive"], view["rule"])
    units = Units.of(table)
    for point in view["wanted"]:
        is_positive = sides.scores >= point["threshold"]  # a fitted threshold is not a tie
        yield {
            "wanted": point["wanted"],
            **called_point(units, sides.truth, is_positive, point["threshold"]),
        }


def independent_difference(first: Figure, second: Figure) -> Figure:
    """Return the difference of two independent figures, the first less the second.

    Of d = a - b the ends are d - sqrt((a - low of a)^2 + (high of b - b)^2) and d + sqrt((high of a - a)^2 +
    (b - low of b)^2) (MOVER). If one of them has no interval, the difference has none either, for the same reason.
    """
    gap = first.value - second.value
    if first.interval is None or second.interval is None:
        return Figure(gap, reason=first.reason or second.reason)
    lower_width = float(np.hypot(first.value - first.low, second.high - second.value))
    upper_width = float(np.hypot(first.high - first.value, second.value - second.low))
    return Figure(gap, gap - lower_width, gap + upper_width, IntervalMethod.UNPAIRED)


def column_values(path: Path, column: str, *, images_sha256: str) -> dict[str, str]:
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
    table = read_csv(path, needed=(IMAGE,), expected="image_id")
    name = table.named(column)
    if name is not None:
        image_column = table.choose(IMAGE)
        table.check({IMAGE: image_column}, name)
        value_of: dict[str, str] = {}
        for _, row in table.rows:
            image = row[image_column]
            first = value_of.setdefault(image, row[name])
            if first != row[name]:
                raise InputError(
                    f"{path}: {image} has two values in column {table.columns[name]}, {first} and {row[name]}; "
                    "subgroups are of whole images"
                )
        return value_of
    key = column_key(column)
    for file in facts_files(path):
        values = read_dataset_facts(file, images_sha256=images_sha256).columns.get(key)
        if values is not None:
            if key == CHOSEN:
                values = {image: drawn_or_not(mark) for image, mark in values.items()}
            return {visible(image): value for image, value in values.items()}
    raise InputError(
        "{}: {by} {}: neither this table nor the manifest of its run has such a column; add it to "
        "the table, with a value for each image",
        path,
        column,
    )


def subgroups(table: PredictionTable, values: Mapping[str, str], *, column: str) -> list[Entry]:
    """Measure the rows of each value of a column, and compare them with all other rows.

    Parameters
    ----------
    table : PredictionTable
        Table of images or patches, or with a row per group.
    values : mapping of str to str
        Image id to value, or group to value if a row is a group; empty or absent if it is not known.
    column : str
        For messages.

    Returns
    -------
    list of dict
        By value: ``value``, ``n``, ``units``, ``tested``, and the figures ``accuracy``, ``balanced_accuracy``, ``auc``
        and ``difference`` (accuracy less that of all other rows, taken for independent of them; None without others);
        ``mixed``, whether there are rows of several classes.

    Raises
    ------
    InputError
        There are too many values for subgroups, or they are names of groups.
    """
    value_of_row = np.array([values.get(image) or _UNKNOWN for image in table.image_ids])
    names = sorted(set(value_of_row.tolist()), key=lambda name: (name == _UNKNOWN, name))
    if len(names) > _MOST or _names_groups(value_of_row.tolist(), table):
        raise InputError(
            "{by} {}: has {} values, or names patients or slides; choose a column of at most {} "
            "values that images of several patients share",
            column,
            len(names),
            _MOST,
        )
    specs = [spec for spec in list_metrics() if spec.name in ("balanced_accuracy", "auc")]
    entries = []
    for name in names:
        inside = value_of_row == name
        part = take_rows(table, np.flatnonzero(inside))
        accuracy = _accuracy(part)
        difference = None
        if not inside.all():
            others = _accuracy(take_rows(table, np.flatnonzero(~inside)))
            difference = independent_difference(accuracy, others)
        units = Units.of(part)
        figures: Entry = {}
        for spec in specs:
            figures |= metric_values(spec, part, units, draws=0)
        entries.append(
            {
                "value": name,
                "n": len(part),
                "units": units.count,
                "accuracy": accuracy,
                **figures,
                "mixed": len(_present(part)) > 1,
                "difference": difference,
                "tested": part.tested,
            }
        )
    return entries


def alone(table: PredictionTable, values: Mapping[str, str]) -> Entry:
    """Measure how much the value of a column alone tells of the class, and what a model tells beyond that.

    Each row is called the class that most rows of other units with its value have (units are patients, or else
    images).

    Parameters
    ----------
    table, values
        As for `subgroups`.

    Returns
    -------
    dict
        The figure ``accuracy`` of these calls; whether the value ``predicts`` the class, since its interval lies above
        what the largest class for all rows reaches; the ``verdict`` on the table against these calls (``better``,
        ``worse`` or ``not shown``), and the ``difference`` of its accuracy from theirs, see `compare_tables`.
    """
    _, place = np.unique([values.get(image, "") for image in table.image_ids], return_inverse=True)
    _, unit = sampling_units(table)
    truth = np.eye(len(table.classes))[table.labels]
    shares = truth.mean(axis=0)
    # of equal ones, the largest class of all
    others = _counts(truth, place) - _counts(truth, place, unit) + 1e-9 * shares
    known = replace(table, probabilities=None, predicted=others.argmax(axis=1))
    accuracy = _accuracy(known)
    (pair,) = holm([compare_tables(known, table, by="accuracy")])
    return {
        "accuracy": accuracy,
        "predicts": bool(accuracy.interval and accuracy.low > shares.max()),
        "verdict": pair["verdict"],
        "difference": pair["differences"]["accuracy"],
    }


def _counts(truth: Values, *numbers: Integers) -> Values:
    """Return for each row how many rows with all its numbers have each class, shape (n, classes)."""
    _, member = np.unique(np.stack(numbers), axis=1, return_inverse=True)
    member = member.ravel()
    return np.stack([np.bincount(member, of_class)[member] for of_class in truth.T], axis=1)


def _names_groups(values: Sequence[str], table: PredictionTable) -> bool:
    """Return whether each value is of only one group, and one of them is the name of a group.

    Sites may be called "1" and "2" as patients are, but are of several patients.
    """
    pairs = {pair for pair in zip(values, table.groups, strict=True) if pair[1] is not None}
    if len({value for value, _ in pairs}) < len(pairs):
        return False
    return not {group for _, group in pairs}.isdisjoint(values)


def _accuracy(table: PredictionTable) -> Figure:
    """Return the accuracy of a table that has rows."""
    return cast("Figure", Units.of(table).share(table.hits))


def of_groups(table: PredictionTable, values: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each group: that of its images, or `_SEVERAL` if these differ."""
    values_of_group: dict[str, set[str]] = {}
    for image, group in zip(table.image_ids, table.groups, strict=True):
        if group is not None:
            values_of_group.setdefault(group, set()).add(values.get(image) or _UNKNOWN)
    return {
        group: several.pop() if len(several) == 1 else _SEVERAL
        for group, several in values_of_group.items()
    }
