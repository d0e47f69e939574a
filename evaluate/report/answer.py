"""What a table answers: how much is right, how sure that is, and for whom."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ...core import counted
from .. import images_tested
from .page import render

_LARGE = 0.2
"""If one unit holds more than this share of the rows, the figure by unit comes first."""

_WIDTH, _LINES = 100, 11
"""Characters of a line, and number of lines, of a table on a terminal."""

LOUD = re.compile(r"\b[A-Z]{4,}\b")
"""A word in capitals: warnings that have one stand before the others."""


def answer(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first sentences on a table are made of.

    Parameters
    ----------
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.

    Returns
    -------
    dict
        ``m``, the metrics; ``right``, how many rows are; ``rows``, what they are and how many; ``grouped``, whether
        their groups are the units; ``by_unit``, the accuracy by group, None if it adds nothing; ``leads``, whether that
        comes first; ``expected``, the figure of a new unit; ``majority``, the largest class.
    """
    units, names, rate = metrics["units"], metrics["names"], metrics["patient_recognition_rate"]
    counts = [sum(row) for row in metrics["confusion"]]
    grouped = units["kind"] == "group" and names["row"] != names["group"]
    # equal if patients are of equal size
    by_unit = rate if grouped and rate and rate["value"] != metrics["accuracy"]["value"] else None
    return {
        "m": metrics,
        "right": sum(line[column] for column, line in enumerate(metrics["confusion"])),
        "rows": images_tested(metrics),
        "grouped": grouped,
        "by_unit": by_unit,
        "leads": by_unit is not None and units["largest"] > _LARGE,
        "expected": by_unit or metrics["accuracy"],
        "majority": metrics["classes"][counts.index(max(counts))],
    }


def warnings_of(metrics: Mapping[str, Any], banners: Sequence[str] = ()) -> list[str]:
    """Return what a reader must know of a table, the most important first."""
    missing = metrics["units"]["ungrouped"]
    row, image, group = (metrics["names"][what] for what in ("row", "image", "group"))
    ungrouped = (
        f"{counted(missing, row)} {'names' if missing == 1 else 'name'} no {group}: each {image} of these is a unit of "
        f"its own, which makes intervals too narrow if images share a {group}"
    )
    loud_first = sorted(banners, key=lambda text: not LOUD.search(text))
    return [*loud_first, *([ungrouped] if missing else []), *metrics["fold_notes"]]


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
