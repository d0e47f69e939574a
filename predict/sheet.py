"""The prediction report: each image with its class and confidence, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core import ImageError
from ..core.jobs import default_jobs, in_threads
from ..core.models import bundle_lines
from ..data import ImageRecord, decode_record
from ..evaluate import apply_temperature
from ..evaluate.report import render_page, thumbnail

if TYPE_CHECKING:
    from .outputs import Tabulated
    from .predicted import Predicted

NOT_A_DEVICE = (
    "For research: bchisto is not a medical device, and nothing on this page is a diagnosis. The page names images and "
    "shows them; pass it on only as you would the images."
)


class SheetRow(NamedTuple):
    """A row of the prediction report: one image.

    Attributes
    ----------
    predicted : str
    confidence : float
        Probability of the predicted class.
    unsure : bool or None
        Whether the image is marked uncertain; None if the model has no rule for it.
    next_class : str
        The second most probable class with its probability.
    further : tuple of str
        Cells of the further columns.
    record : ImageRecord
        The image, for its name and the picture.
    """

    predicted: str
    confidence: float
    unsure: bool | None
    next_class: str
    further: tuple[str, ...]
    record: ImageRecord


class Sheet(NamedTuple):
    """The content of the prediction report.

    Attributes
    ----------
    rows : tuple of SheetRow
        The least confident images first.
    unsure : int or None
        Number of images marked uncertain; None if the model has no rule for it.
    values : mapping
        What the template shows besides the rows.
    """

    rows: tuple[SheetRow, ...]
    unsure: int | None
    values: Mapping[str, Any]


def make_sheet(shown: Tabulated, predicted: Predicted, *, title: str) -> Sheet:
    """Return the content of the prediction report for predictions and their table, whose name is the title."""
    table, bundle, raw = shown.table, predicted.bundle, shown.raw
    probabilities = raw if bundle.temperature is None else apply_temperature(raw, bundle.temperature)
    rule = bundle.unsure
    if rule is not None and rule["calibrated"] != (bundle.temperature is not None):
        rule = None  # the rule was fitted on another scale of confidence
    labels = [record.label or "" for record in table.records]
    columns = [(name, cells) for name, cells in table.further if name not in ("trained", "outlier") or "yes" in cells]
    if any(labels):
        columns.append(("label", labels))
    rows = []
    for index, (record, shares) in enumerate(zip(table.records, probabilities, strict=True)):
        first, second = np.argsort(-shares, kind="stable")[:2].tolist()
        confidence = float(shares[first])
        rows.append(
            SheetRow(
                predicted=bundle.classes[first],
                confidence=confidence,
                unsure=None if rule is None else confidence < rule["below"],
                next_class=f"{bundle.classes[second]} {100 * shares[second]:.1f} %",
                further=tuple(cells[index] for _, cells in columns),
                record=record,
            )
        )
    values = {
        "title": f"Predictions: {title}",
        "table": title,
        "banners": shown.banners,
        "shown": shown,
        "bundle": bundle,
        "columns": [name for name, _ in columns],
        "rule": rule,
        "uninformative": rule is not None and _uninformative(rule),
        "on_rule": rule_sentences(rule),
        "raw_table": not np.array_equal(table.probabilities, probabilities),
        "day": datetime.now(UTC).strftime("%Y-%m-%d"),
        "facts": bundle_lines(bundle, predicted.sha256),
        "failures": [(image, _shortened(image, text)) for image, text in shown.failures.items()],
    }
    unsure = None if rule is None else sum(bool(row.unsure) for row in rows)
    return Sheet(tuple(sorted(rows, key=lambda row: row.confidence)), unsure, values)


def rule_sentences(rule: Mapping[str, Any] | None) -> list[str]:
    """Return sentences on what the mark uncertain means, and how often marked and unmarked images were right.

    The numbers come from out-of-fold predictions.

    Parameters
    ----------
    rule : mapping or None
        See `bchisto.evaluate.unsure_rule`.

    Examples
    --------
    >>> sides = {"sure": {"n": 320, "right": 296, "interval": [0.88, 0.95]},
    ...          "unsure": {"n": 80, "right": 48, "interval": [0.5, 0.7]}}
    >>> print(rule_sentences({"below": 0.623, "share": 0.2, **sides})[1])
    Correct of those at or above it: 92.5 % (95 % CI 88.0 to 95.0); of those below it: 60.0 % (95 % CI 50.0 to 70.0).
    """
    if rule is None:
        return [
            "No image is marked uncertain: this model has no rule for it, which is taken from predictions of images "
            "that the model did not train on."
        ]
    sure, unsure = rule["sure"], rule["unsure"]

    def right(side: Mapping[str, Any]) -> str:
        ends = side["interval"]
        within = f" (95 % CI {100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""
        return f"{100 * side['right'] / side['n']:.1f} %{within}"

    lines = [
        f"An image is marked uncertain if its confidence is below {100 * rule['below']:.1f} %, as for {unsure['n']} "
        f"of {sure['n'] + unsure['n']} predictions of images by models that had not trained on them.",
        f"Correct of those at or above it: {right(sure)}; of those below it: {right(unsure)}.",
    ]
    if _uninformative(rule):
        lines.append("Those below it were not wrong more often: for this model, the mark is uninformative.")
    return [
        *lines,
        "New images are predicted by all models together and may be of another kind: the mark shows where to look "
        "twice, and an unmarked image can still be wrong.",
    ]


def _uninformative(rule: Mapping[str, Any]) -> bool:
    """Return whether marked images were not wrong more often than the others."""
    sure, unsure = rule["sure"], rule["unsure"]
    return bool(unsure["right"] * sure["n"] >= sure["right"] * unsure["n"])


def _shortened(image: str, text: str) -> str:
    """Return a message without the path at its beginning, since the report shows the name of the image."""
    path, _, rest = text.partition(": ")
    return rest if rest and Path(path).name == Path(image).name else text


_PICTURE = 160
"""Longest side of a picture in pixels; about 6 kB."""

_MOST_PICTURES = 2000
"""Largest number of pictures; about 15 MB."""

_MOST_ROWS = 10_000
"""Largest number of rows; a browser still sorts as many without delay."""


def write_html(sheet: Sheet, path: Path) -> None:
    """Write the prediction report."""
    shown = sheet.rows[:_MOST_ROWS]
    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="sheet.js",
        goal="images",
        sheet=sheet,
        rows=shown,
        pictures=list(in_threads(_picture, shown[:_MOST_PICTURES], threads=default_jobs())),
        note=NOT_A_DEVICE,
        **sheet.values,
    )


def _picture(row: SheetRow) -> str:
    """Return the picture of an image as a data URL; empty if its file can no longer be read."""
    try:
        return thumbnail(decode_record(row.record), side=_PICTURE)
    except (ImageError, OSError):
        return ""
