"""What a table answers: how much is right, how sure that is, and for whom; on a terminal and the card of a model."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core import counted
from ...core.formats import file_sha256
from ...core.jobs import atomic_output
from ...core.models import BundleFacts, bundle_lines
from .. import images_tested
from .methods import cite
from .page import render

_LARGE = 0.2
"""If one unit holds more than this share of the rows, the figure by unit comes first."""

_WIDTH, _LINES = 100, 11
"""Characters of a line that does not go to a narrower terminal, and number of lines of a table."""

LOUD = re.compile(r"\b[A-Z]{4,}\b")
"""A word in capitals, as the most important warnings have."""


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
    return [
        *sorted(banners, key=lambda text: not LOUD.search(text)),
        *([ungrouped] if missing else []),
        *metrics["fold_notes"],
    ]


def headline(name: str, metrics: Mapping[str, Any], *, banners: Sequence[str] = ()) -> list[str]:
    """Return a table as lines for a terminal: the answer first, then warnings and what it means.

    Parameters
    ----------
    name : str
        What the table is called.
    metrics : mapping
        Of `measure`, or as ``metrics.json`` holds them.
    banners : sequence of str
        What a reader must know first; none of it is left out.

    Returns
    -------
    list of str
        Eleven lines of 100 signs, more only where warnings take them; the report has the rest.
    """
    warnings, lines = warnings_of(metrics, banners), list[str]()
    for sentence in sentences("terminal.txt", name=name, a=answer(metrics), warnings=warnings):
        more = wrapped(sentence, "  " * bool(lines))
        if len(lines) + len(more) > _LINES and sentence not in warnings:
            return [*lines, "  The report has further results."]
        lines += more
    return lines


def sentences(template: str, **values: Any) -> list[str]:
    """Return the lines of a template as sentences."""
    return [line.strip() for line in render(template, **values).splitlines() if line.strip()]


def terminal_width() -> int:
    """Return how many characters a line of stdout has, if it is a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH


def wrapped(sentence: str, indent: str = "") -> list[str]:
    """Return a sentence in lines for a terminal, of 100 characters at most."""
    lines = textwrap.wrap(
        sentence.replace(" %", "\u00a0%"), min(_WIDTH, max(terminal_width(), 40)), initial_indent=indent,
        subsequent_indent="    ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\u00a0", " ") for line in lines]


def write_card(path: Path, *, model: Path, bundle: BundleFacts, metrics: Mapping[str, Any] | None) -> None:
    """Write the card of a model as Markdown, with the header that hubs of models read.

    What only the author knows is a marked blank.

    Parameters
    ----------
    path : Path
        The card to write.
    model : Path
        The model file.
    bundle : BundleFacts
        Facts from the model file.
    metrics : mapping or None
        Content of the ``metrics.json`` next to it.
    """
    name = model.absolute().parent.name or model.stem
    text, sources = cite(" ".join((metrics or {}).get("run", {}).get("methods", ())))
    values = {"name": name, "file": model.name, "bundle": bundle, "facts": bundle_lines(bundle, file_sha256(model))}
    card = render("card.md", **values, **measured(name, metrics), methods=text, sources=sources)
    with atomic_output(path) as temporary:
        temporary.write_text(card, encoding="utf-8")


def measured(name: str, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of how good a model is, and of the images that it was trained on.

    Parameters
    ----------
    name : str
        What the model is called.
    metrics : mapping or None
        What ``metrics.json`` beside it holds.

    Returns
    -------
    dict
        ``lines``, sentences; ``protocol``, how it was measured; ``used``, how many images; ``dataset``; ``counts``, of
        each class.
    """
    run, tables = ((metrics or {}).get(key, {}) for key in ("run", "tables"))
    table = tables.get("fusion") or next(iter(tables.values()), None)
    return {
        "lines": sentences("terminal.txt", name=name, a=answer(table), warnings=warnings_of(table)) if table else [],
        "protocol": run.get("protocol"),
        "used": run.get("flow", {}).get("used"),
        "dataset": run.get("dataset"),
        "counts": [] if table is None else list(zip(table["classes"], map(sum, table["confusion"]), strict=True)),
    }
