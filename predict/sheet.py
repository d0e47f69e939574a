"""The prediction report: each image with its class and confidence, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..core import written
from ..core.jobs import default_jobs, in_threads
from ..data import decode_record
from ..evaluate import Metrics, with_figures
from ..evaluate.report import known_of, render_page, thumbnail
from .blocks import Predicted
from .settings import OperatingPoint
from .table import Tabulated

_PICTURE = 160
"""Longest side of a picture in pixels; about 6 kB."""

_MOST_ROWS = 2000
"""Largest number of rows, each with its picture; about 15 MB."""


class SheetRow(NamedTuple):
    """A row of the prediction report: one image.

    Attributes
    ----------
    place : int
        Position of the image in the table.
    predicted : str
    confidence : float
        Probability of the predicted class.
    uncertain : bool or None
        Whether the image is marked uncertain; None if the model has no rule for it.
    next_class : str
        The second most probable class with its probability.
    """

    place: int
    predicted: str
    confidence: float
    uncertain: bool | None
    next_class: str


def sheet_rows(shown: Tabulated) -> list[SheetRow]:
    """Return a row for each predicted image, the least confident first."""
    answers = shown.table.answers
    classes = shown.table.classes
    rows = []
    for place, number in enumerate(answers.numbers):
        shares = shown.calibrated[place]
        order = (-shares).argsort(kind="stable")
        second = order[order != number][0]
        unsure = None
        if answers.unsure is not None:
            unsure = bool(answers.unsure[place])
        confidence = float(answers.confidence[place])
        next_class = f"{classes[second]} {100 * shares[second]:.1f}\N{NO-BREAK SPACE}%"
        rows.append(SheetRow(place, classes[number], confidence, unsure, next_class))
    return sorted(rows, key=lambda row: row.confidence)


def measured_at(table: Metrics | None, point: OperatingPoint | None) -> Metrics | None:
    """Return what the cross-validation of a model has of an operating point; None if it did not measure there.

    Parameters
    ----------
    table : mapping or None
        Metrics of the model, if any are known.
    point : OperatingPoint or None
    """
    view = (table or {}).get("two_class")
    if point is None or not view:
        return None
    points: Sequence[Metrics] = (*view["thresholds"], *view["wanted"])
    for entry in points:
        if (entry["threshold"], entry.get("wanted")) == (point.threshold, point.sensitivity):
            return entry
    return None


def write_html(path: Path, shown: Tabulated, predicted: Predicted, *, title: str) -> None:
    """Write the prediction report.

    Parameters
    ----------
    path : Path
    shown : Tabulated
    predicted : Predicted
    title : str
        Name of the table.
    """
    rows = sheet_rows(shown)
    training = with_figures(known_of(predicted.model))
    records = shown.table.records
    columns = [*shown.table.further, ("label", [record.label_text for record in records])]

    def picture(row: SheetRow) -> str:
        return thumbnail(decode_record(records[row.place]), side=_PICTURE)

    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="sheet.js",
        table=title,
        rows=rows,
        shown=shown,
        predicted=predicted,
        known=training,
        # as readers of a page know options
        banners=[
            *shown.banners,
            *(written(text, lambda name, _: f"the option {name}") for text in predicted.warned),
        ],
        reached=measured_at(training["table"], shown.point),
        columns=[column for column in columns if {*column[1]} - {"", "no"}],
        pictures=list(in_threads(picture, rows[:_MOST_ROWS], threads=default_jobs())),
        day=datetime.now(UTC).date(),
    )
