"""The figures of a table in a few lines for a terminal, each beside what qualifies it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .fold_notes import fold_note_lines
from .wording import NO_POSITIVES, called, images_tested, interval_note, interval_source, within


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
    intervals = metrics.get("intervals") or {}
    said = f"{name}: accuracy {_percent(metrics['accuracy'])} % of {images_tested(metrics)}"
    if ends := within(intervals.get("accuracy")):
        said += f" (95 % interval {ends[2:-1]}, {interval_source(metrics)})"
    if len(metrics["folds"]) > 1:
        spread = f"{_percent(metrics['accuracy_mean'])} +- {_percent(metrics['accuracy_std'])}"
        said += f", {spread} over {len(metrics['folds'])} folds"
    notes = filter(None, (called(metrics, intervals.get("warning") or ""), interval_note(metrics)))
    lines = [*notes, *fold_note_lines(metrics), *_two_class(metrics.get("two_class"), intervals.get("two_class") or {})]
    lines += [_subgroup(metrics, by, one) for by, found in metrics.get("subgroups", {}).items() for one in found]
    return [f"{said}. Protocol: {metrics['protocol'] or 'unknown'}", *(f"  {line}" for line in lines)]


def _two_class(view: Mapping[str, Any] | None, inside: Mapping[str, Any]) -> Iterator[str]:
    if view is None:
        return
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
