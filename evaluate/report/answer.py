"""What a table answers: how much is right, how sure that is, and for whom."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ...core import counted
from .. import called, images_tested, name_of, nested
from .page import render

_LARGE = 0.2
"""If one unit holds more than this share of the rows, the figure by unit comes first."""

ABOUT = ("rows", "grouped", "units", "majority", "majority_share", "majority_by_unit", "best_by_unit")
"""What `answer` says of the images, and not of the predictions."""

_WIDTH, _LINES = 100, 11
"""Characters of a line, and number of lines, of a table on a terminal."""

_LOUD = re.compile(r"\b[A-Z]{4,}\b")


def answer(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first sentences on a table are made of.

    Parameters
    ----------
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.

    Returns
    -------
    dict
        ``right``, ``rows`` (what they are and how many), ``accuracy``, ``interval`` and, without one, its ``reason``;
        the same by ``unit`` (``by_unit`` is None if it adds nothing); ``leads``, whether that comes first;
        ``majority`` and its share, and the best class by unit with its; ``balanced`` accuracy and ``chance``; what to
        expect of a new patient.
    """
    intervals = metrics.get("intervals") or {}
    counts = [sum(row) for row in metrics["confusion"]]
    present = [count for count in counts if count]
    row, group = name_of(metrics, "row"), name_of(metrics, "group")
    rate, by_group = metrics.get("patient_recognition_rate"), intervals.get("unit") == "group"
    grouped = by_group and row != group
    by_unit = rate if grouped and rate != metrics["accuracy"] else None  # equal if patients are of equal size
    leads = by_unit is not None and intervals.get("largest", 0.0) > _LARGE
    figure = "patient_recognition_rate" if by_unit is not None else "accuracy"
    return {
        "right": sum(line[column] for column, line in enumerate(metrics["confusion"])),
        "rows": images_tested(metrics),
        "row": row,
        "accuracy": metrics["accuracy"],
        "interval": intervals.get("accuracy"),
        "reason": _reason(metrics, "accuracy"),
        "grouped": grouped,
        "by_unit": by_unit,
        "unit": group,
        "units": intervals.get("groups" if grouped else "units"),
        "unit_interval": intervals.get("patient_recognition_rate"),
        "unit_reason": _reason(metrics, "patient_recognition_rate"),
        "largest": intervals.get("largest"),
        "leads": leads,
        "majority": metrics["classes"][counts.index(max(counts))],
        "majority_share": max(counts) / max(sum(counts), 1),
        "majority_by_unit": nested(metrics, "chance", "by_group") if by_unit is not None else None,
        "best_by_unit": nested(metrics, "chance", "class_by_group"),
        "balanced": metrics.get("balanced_accuracy"),
        "balanced_interval": intervals.get("balanced_accuracy"),
        "chance": 1.0 / max(len(present), 1),
        "unknown": not by_group and row != group,
        "expected": intervals.get(figure),
        "expected_value": metrics[figure],
        "needed": nested(intervals, "units_needed", figure),
        "counted": intervals.get("groups" if by_unit is not None else "units"),
        "expected_reason": _reason(metrics, figure) or _reason(metrics, "accuracy"),
    }


def _reason(metrics: Mapping[str, Any], name: str) -> str:
    """Return why the interval of a figure cannot be estimated."""
    return called(metrics, nested(metrics, "intervals", "not_estimable", name) or "")


def warnings_of(metrics: Mapping[str, Any], banners: Sequence[str] = ()) -> list[str]:
    """Return what a reader must know of a table, the most important first."""
    missing = nested(metrics, "intervals", "ungrouped") or 0
    row, image, group = (name_of(metrics, what) for what in ("row", "image", "group"))
    ungrouped = (
        f"{counted(missing, row)} {'names' if missing == 1 else 'name'} no {group}: each {image} of these is a unit of "
        f"its own, which makes intervals too narrow if images share a {group}"
    )
    return [*by_weight(banners), *([ungrouped] if missing else []), *metrics["fold_notes"]]


def by_weight(banners: Sequence[str]) -> list[str]:
    """Return warnings with those first that are written in capitals."""
    return sorted(banners, key=lambda text: not _LOUD.search(text))


def headline(name: str, metrics: Mapping[str, Any], *, banners: Sequence[str] = (), brief: bool = False) -> list[str]:
    """Return a table as lines for a terminal: the answer first, then warnings and what it means.

    Parameters
    ----------
    name : str
        What the table is called.
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.
    banners : sequence of str
        What a reader must know first; none of it is left out.
    brief : bool
        Only the answer, what chance would reach, and the three most important warnings.

    Returns
    -------
    list of str
        Eleven lines of 100 signs, more only where warnings take them; the report has the rest.
    """
    warnings = warnings_of(metrics, banners)
    lines: list[str] = []
    for sentence in sentences(name, metrics, warnings, brief=brief):
        more = wrapped(sentence, "  " * bool(lines))
        if len(lines) + len(more) > _LINES and sentence not in warnings:
            return [*lines, "  The report has further results."]
        lines += more
    return lines


def sentences(name: str, metrics: Mapping[str, Any], warnings: Sequence[str], *, brief: bool = False) -> list[str]:
    """Return the sentences that `headline` puts in lines."""
    values = {"name": name, "a": answer(metrics), "metrics": metrics, "warnings": warnings, "tested": images_tested}
    return [line.strip() for line in render("terminal.txt", brief=brief, **values).splitlines() if line.strip()]


def wrapped(sentence: str, indent: str = "") -> list[str]:
    """Return a sentence in lines of 100 characters for a terminal."""
    lines = textwrap.wrap(
        sentence.replace(" %", "\u00a0%"), _WIDTH, initial_indent=indent, subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\u00a0", " ") for line in lines]


def comparison_lines(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each comparison of tables, with one another and with those of the images of training.

    Parameters
    ----------
    result : mapping
        What ``metrics.json`` holds.
    """
    values = {"tables": result["tables"], "pairs": result["comparisons"], "external": result.get("external")}
    return [line for text in render("lines.txt", **values).splitlines() for line in wrapped(text)]
