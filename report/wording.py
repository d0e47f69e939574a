"""Figures with their intervals, and a table in a few lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluate import FEW_IMAGES, called, counted, images_tested, name_of, nested

NO_POSITIVES = "no positive images, so no threshold"
"""Why a wanted sensitivity has no operating point."""

_MOST_LINES = 3
"""Folds that are named one by one (ours)."""

_MOST_CLASSES = 3
"""Classes of a fold that are named (ours)."""


def p_value(p: float, *, sign: bool = True) -> str:
    """Write a p value with three decimals, the smallest as less than 0.001.

    Examples
    --------
    >>> p_value(0.0341), p_value(0.0341, sign=False), p_value(0.00004, sign=False)
    ('= 0.034', '0.034', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{'= ' * sign}{p:.3f}"


def named_test(pair: Mapping[str, Any], unit: str) -> str:
    """Say by which test two tables were compared, and that its p is not the exact one where variances were raised.

    Parameters
    ----------
    pair : mapping
        Of `compare_tables`.
    unit : str
        What its ``unit`` is called.

    Examples
    --------
    >>> named_test({"test": "sign_flip", "units": 12, "variance_factor": 1.5}, "patient")
    'sign flips of 12 patients, variance times 1.5'
    """
    said = f"sign flips of {counted(pair['units'], unit)}" if pair.get("test") == "sign_flip" else "McNemar"
    factor = pair.get("variance_factor", 1.0)
    return said if factor == 1.0 else f"{said}, variance times {factor:g}"


def within(ends: Sequence[float] | None, *, times: int = 100, form: str = ".1f") -> str:
    """Write the ends of an interval in brackets behind its figure; nothing where there is none.

    Examples
    --------
    >>> within([0.708, 0.917])
    ' (70.8 to 91.7)'
    """
    return "" if ends is None else f" ({' to '.join(format(times * end, form) for end in ends)})"


def interval_source(metrics: Mapping[str, Any]) -> str:
    """Say how the interval of the accuracy was made, and over how many of what."""
    intervals = metrics["intervals"]
    method = (intervals.get("methods") or {}).get("accuracy", "bootstrap")
    return f"over {counted(intervals['units'], name_of(metrics, intervals['unit']))}: {called(metrics, method)}"


def interval_notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say what warns of the interval of the accuracy, and which rows name no group though others do."""
    if warning := nested(metrics, "intervals", "warning"):
        yield called(metrics, warning)
    if missing := nested(metrics, "intervals", "ungrouped"):
        said = f"{counted(missing, name_of(metrics, 'row'))} {'names' if missing == 1 else 'name'} no"
        yield f"{said} {name_of(metrics, 'group')}: each {name_of(metrics, 'image')} of these is a unit of its own"


def fold_note_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each fold of a table that hardly trained on a class, one for all where these are many.

    Parameters
    ----------
    metrics : mapping
        Of `compute_metrics`.
    """
    accuracy = dict(zip(metrics["folds"], metrics["accuracy_per_fold"], strict=True))
    by_fold: dict[int, list[str]] = {}
    for note in metrics["fold_notes"]:
        images = counted(note["trained"], "image") if note["trained"] else "no image"
        by_fold.setdefault(note["fold"], []).append(f"{images} of {note['label']}")
    lines = [
        f"fold {fold} trained on {_listed(few)}, fewer than {FEW_IMAGES}"
        + (f": its {100 * accuracy[fold]:.1f} % says little" if fold in accuracy else "")
        for fold, few in by_fold.items()
    ]
    if len(lines) <= _MOST_LINES:
        return lines
    first = lines[0].partition(", fewer")[0]
    return [
        f"{len(lines)} folds trained on fewer than {FEW_IMAGES} images of a class and their figures say little; the "
        f"first: {first}"
    ]


def _listed(few: Sequence[str]) -> str:
    more = f" and {len(few) - _MOST_CLASSES} further classes" if len(few) > _MOST_CLASSES else ""
    return ", ".join(few[:_MOST_CLASSES]) + more


def headline(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """Say the accuracy of a table with its interval, spread and protocol, what warns of it, and its two-class view.

    Parameters
    ----------
    name : str
        What the table is called.
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.

    Returns
    -------
    list of str
        Lines: the accuracy first; then, indented, warnings, folds that hardly trained on a class, and the two-class
        view with its rule and operating points, each figure with its interval.
    """
    said = f"{name}: accuracy {_percent(metrics['accuracy'])} % of {images_tested(metrics)}"
    if ends := within(nested(metrics, "intervals", "accuracy")):
        said += f" (95 % interval {ends[2:-1]}, {interval_source(metrics)})"
    if len(metrics["folds"]) > 1:
        spread = f"{_percent(metrics['accuracy_mean'])} +- {_percent(metrics['accuracy_std'])}"
        said += f", {spread} over {len(metrics['folds'])} folds"
    lines = [*interval_notes(metrics), *fold_note_lines(metrics)]
    if view := metrics.get("two_class"):
        lines += _two_class(view, nested(metrics, "intervals", "two_class") or {})
    lines += [_subgroup(metrics, by, one) for by, found in metrics.get("subgroups", {}).items() for one in found]
    return [f"{said}. Protocol: {metrics['protocol'] or 'unknown'}", *(f"  {line}" for line in lines)]


def _two_class(view: Mapping[str, Any], inside: Mapping[str, Any]) -> Iterator[str]:
    said = f"{' + '.join(view['positive'])} against the rest (rule {view['rule']}): {_percent(view['accuracy'])} %"
    said += within(inside.get("accuracy"))
    if view["auc"] is not None:
        said += f", AUC {view['auc']:.3f}{within(inside.get('auc'), times=1, form='.3f')}"
    known = [value for value in view["auc_per_fold"] if value is not None]
    if len(known) > 1:
        said += f", folds {view['auc_mean']:.3f} +- {view['auc_std']:.3f}"
    yield said
    ends = {one["threshold"]: one for one in inside.get("thresholds", ())}
    for point in view["thresholds"]:
        yield f"operating point {point['threshold']:g}: {_reached(point, ends.get(point['threshold'], {}))}"
    for point in view.get("wanted", ()):
        promise = "" if point["enough"] else "; too few positives to promise it"
        if promise and point["wanted"] < 1:  # see `sensitive_threshold`
            promise += f", which takes {math.ceil(point['wanted'] / (1 - point['wanted']) - 1e-6)} beside each fold"
        yield (
            f"wanted sensitivity {_percent(point['wanted'])}, thresholds fitted on the {point['fitted']}: "
            f"{_reached(point, {})}, threshold for new images {point['threshold']:.3f}{promise}"
        )
    for wanted in view.get("without_positives", ()):
        yield f"wanted sensitivity {_percent(wanted)}: {NO_POSITIVES}"


def external_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an external validation says: the drop, and what thresholds of the internal table reach.

    Parameters
    ----------
    row : mapping
        Of `external_validation`.
    """
    yield row["sentence"]
    for point in row["wanted"]:
        yield (
            f"{row['table']}, threshold {point['threshold']:.3f} of {row['against']} for a wanted sensitivity of "
            f"{_percent(point['wanted'])}: {_reached(point, {})}"
        )


def _subgroup(metrics: Mapping[str, Any], by: str, one: Mapping[str, Any]) -> str:
    said = f"{by} {one['value']}: accuracy {_percent(one['accuracy'])} %{within(one['interval'])} of "
    said += images_tested(metrics, one)
    if one["difference"] is None:
        return said
    apart = f"{100 * one['difference']:+.1f} points{within(one['difference_interval'], form='+.1f')}"
    return f"{said}, {apart} against all others; exploratory"


def _reached(point: Mapping[str, Any], ends: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {_percent(point[name])}{within(ends.get(name) or point.get(f'{name}_interval'))}"
        for name in ("sensitivity", "specificity")
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
