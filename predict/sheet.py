"""The prediction report: each image with its class and confidence, in one HTML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import ImageError, listed
from ..core.jobs import default_jobs, map_ahead_in_threads
from ..core.models import BundleFacts, bundle_lines
from ..data import ImageRecord, decode_record
from ..evaluate import apply_temperature
from ..evaluate.report import render_page, thumbnail
from .predicted import Outliers
from .records import Table

NOT_A_DEVICE = (
    "For research: bchisto is not a medical device, and nothing on this page is a diagnosis. The page names images and "
    "shows them; pass it on only as you would the images."
)

_ON_OUTLIERS = (
    "The outlier percentile of an image is the share of training images, left out with all of their patient or slide, "
    "that were nearer to the others than this image is to all. An outlier may be of another scanner, magnification or "
    "organ, or out of focus: its prediction rests on no similar image. Images of patients of whom the training "
    "images know few like them are marked, too, and an image without the mark may still be new to the model. The "
    "nearest training images are named with their class and cosine distance."
)


@dataclass(frozen=True)
class SheetRow:
    """A row of the prediction report: one image.

    Attributes
    ----------
    image : str
    predicted : str
    confidence : float
        Probability of the predicted class.
    unsure : bool or None
        Whether the image is marked uncertain; None if the model has no rule for it.
    next_class : str
        The second most probable class with its probability.
    further : tuple of str
        Cells of `Sheet.columns`.
    record : ImageRecord
        The image file, for the picture.
    """

    image: str
    predicted: str
    confidence: float
    unsure: bool | None
    next_class: str
    further: tuple[str, ...]
    record: ImageRecord


@dataclass(frozen=True)
class Sheet:
    """The content of the prediction report, with the least confident images first.

    Attributes
    ----------
    title : str
    banners : tuple of str
        Warnings that every reader must see.
    classes : tuple of str
    rows : tuple of SheetRow
    columns : tuple of str
        Names of further columns.
    summary : tuple of str
        Sentences on positive images, outliers, the model, the date, and what to do next.
    paragraphs : tuple of str
        Explanations of confidence, of the mark uncertain, and of outliers.
    failures : tuple of (image, message)
    facts : tuple of (str, str)
        Name and value of facts about the model.
    """

    title: str
    banners: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    columns: tuple[str, ...]
    summary: tuple[str, ...]
    paragraphs: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def unsure(self) -> int | None:
        """Number of images marked uncertain; None if the model has no rule for it."""
        marks = [row.unsure for row in self.rows]
        return None if None in marks else sum(map(bool, marks))

    @property
    def counts(self) -> list[tuple[str, int, int]]:
        """For each class: its name, the number of images, and how many of them are marked uncertain."""
        images = Counter(row.predicted for row in self.rows)
        unsure = Counter(row.predicted for row in self.rows if row.unsure)
        return [(name, images[name], unsure[name]) for name in self.classes]


def make_sheet(
    table: Table,
    raw: npt.NDArray[np.float64],
    *,
    bundle: BundleFacts,
    sha256: str,
    banners: Sequence[str],
    failures: Mapping[str, str],
    title: str,
    called: str,
    outliers: Outliers | None = None,
) -> Sheet:
    """Return the content of the prediction report for a table.

    Parameters
    ----------
    table : Table
    raw : ndarray of float64, shape (n, classes)
        Probabilities before calibration.
    bundle : BundleFacts
    sha256 : str
        Checksum of the model file.
    banners, failures
        See `Sheet`.
    title : str
        Name of the table.
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
    outliers : Outliers, optional
        Distance of the images from the training images.
    """
    on_confidence = "Confidence is the probability of the class, as the models give it: this model has no temperature."
    probabilities = raw
    if bundle.temperature is not None:
        probabilities = apply_temperature(raw, bundle.temperature)
        on_confidence = (
            f"Confidence is the probability of the class, calibrated by the temperature {bundle.temperature:.3f}, "
            "which follows from images that the models did not train on and changes no class."
        )
        if not np.array_equal(table.probabilities, probabilities):
            on_confidence += f" The table {title} holds the probabilities as the models give them."
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
                image=record.image_id,
                predicted=bundle.classes[first],
                confidence=confidence,
                unsure=None if rule is None else confidence < rule["below"],
                next_class=f"{bundle.classes[second]} {100 * shares[second]:.1f} %",
                further=tuple(cells[index] for _, cells in columns),
                record=record,
            )
        )
    marked = sum(bool(row.unsure) for row in rows)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    first_to_see = f"the {marked} marked uncertain" if marked else "those of the lowest confidence"
    far = outliers is not None and outliers.marked.any()
    summary = (
        f"{called[0].upper()}{called[1:]}." if called else "The model has no positive class, so no threshold applies.",
        *([] if outliers is None else [f"{outliers.summary[0].upper()}{outliers.summary[1:]}."]),
        f"Predicted on {day} by {listed(bundle.model_names)}, cross-validated with {bundle.protocol}.",
        *([] if rule is None else [_accuracy(rule)]),
        f"Next: look at {first_to_see}, which come first{', and at the outliers' if far else ''}. If the true classes "
        f"are known, bchisto evaluate compares {title} with them.",
    )
    marked_text = [] if rule is None else [f"Uncertain: {marked} of {len(rows)} images."]
    return Sheet(
        title=f"Predictions: {title}",
        banners=tuple(banners),
        classes=tuple(bundle.classes),
        rows=tuple(sorted(rows, key=lambda row: row.confidence)),
        columns=tuple(name for name, _ in columns),
        summary=summary,
        paragraphs=(
            on_confidence,
            " ".join([*marked_text, *rule_sentences(rule)]),
            _ON_OUTLIERS
            if outliers is not None
            else "The model file does not know what its training images look "
            "like, so that no image is marked as an outlier.",
        ),
        failures=tuple((image, _shortened(image, text)) for image, text in failures.items()),
        facts=(("Predicted on", day), *bundle_lines(bundle, sha256)),
    )


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


def _accuracy(rule: Mapping[str, Any]) -> str:
    """Return how often models were right on images that they had not trained on."""
    right, count = (rule["sure"][name] + rule["unsure"][name] for name in ("right", "n"))
    text = f"Models were right in {right:,} of {count:,} predictions ({100 * right / count:.1f} %) of images that they "
    text += "had not trained on."
    return text + ' The mark "uncertain" is uninformative for this model.' * _uninformative(rule)


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
    pictures = list(map_ahead_in_threads(_picture, shown[:_MOST_PICTURES], threads=default_jobs()))
    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="sheet.js",
        title=sheet.title,
        goal="images",
        banners=sheet.banners,
        sheet=sheet,
        rows=list(zip(shown, [*pictures, *[""] * (len(shown) - len(pictures))], strict=True)),
        left_out=len(sheet.rows) - len(shown),
        bare=len(shown) - len(pictures),
        note=NOT_A_DEVICE,
    )


def _picture(row: SheetRow) -> str:
    """Return the picture of an image as a data URL; empty if its file can no longer be read."""
    try:
        return thumbnail(decode_record(row.record), side=_PICTURE)
    except (ImageError, OSError):
        return ""
