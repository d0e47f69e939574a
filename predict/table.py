"""The predictions of new images as a table, with marks of images that trained the model or are unlike its images.

`tabulate` decides on the columns that follow those of `bchisto.evaluate.write_predictions`.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import logging
import tempfile
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..boost import MARKED, MEANING, TRAINING_NAMES, Bundle, Compared, nearest_names
from ..core import DAMAGE, Banner, BchistoError, Kind, OutputError, counted, limited, neutral
from ..core.formats import Flags, Integers, file_sha256, read_rows
from ..core.jobs import atomic_output
from ..core.models import BundleFacts
from ..data import ImageRecord, mixes_patients
from ..evaluate import Answers, apply_temperature, called, equalised, write_predictions
from .blocks import Predicted
from .boosted import Floats
from .images import notes_of_training
from .settings import OperatingPoint, PredictSettings

_log = logging.getLogger(__name__)

TESTED = "predictions.csv"
"""The table of the cross-validation, in the folder of a training."""

MARKS = frozenset({"uncertain", "trained", "group_trained", "outlier", "blank"})
"""Columns of marks."""

TRUTHS = {"yes": True, "no": False, "": None}
"""Cells of marks, and what they are in Python."""

Column = tuple[str, list[str]]
"""Name and cells of a column."""


@dataclass(frozen=True)
class Table:
    """Predictions in the form in which they are written.

    Attributes
    ----------
    format : str
        See `PredictSettings`.
    records : sequence of ImageRecord
    probabilities : ndarray of float64, shape (n, classes)
    classes : tuple of str
    answers : Answers
    further : sequence of (str, sequence of str)
        Names and cells of further columns, after those of the answers.
    """

    format: str
    records: Sequence[ImageRecord]
    probabilities: Floats
    classes: Sequence[str]
    answers: Answers
    further: Sequence[Column] = ()

    def finish(self, path: Path, *, overwrite: bool) -> None:
        """Write the table. If another process has written the same table meanwhile, keep that one.

        Parameters
        ----------
        path : Path
        overwrite : bool
            Whether a table that exists is replaced, see `OutputFiles.may_replace`.

        Raises
        ------
        OutputError
            Somebody has written a different table, or the table cannot be written.
        """
        if overwrite or not path.exists():
            self._write(path)
        elif file_sha256(path) == self.sha256:
            _log.info("%s: another process finished the same table meanwhile; it is kept", path)
        else:
            raise OutputError(
                "{}: another process wrote another table meanwhile; use {overwrite} or another {out}",
                path,
            )

    @functools.cached_property
    def sha256(self) -> str:
        """Checksum of the file that `finish` writes."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "table.csv"
            self._write(draft)
            return file_sha256(draft)

    def _write(self, path: Path) -> None:
        if self.format == "iciar2018":
            self._write_challenge(path)
            return
        write_predictions(
            path,
            classes=self.classes,
            rows=[
                (record.image_id, record.label_text, record.group, "") for record in self.records
            ],
            probabilities=self.probabilities,
            extra=[*self.answers.columns, *self.further],
        )

    def _write_challenge(self, path: Path) -> None:
        """Write the rows of the challenge: name and class, without a header."""
        rows = zip(self.records, self.answers.predicted, strict=True)
        with (
            atomic_output(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as handle,
        ):
            csv.writer(handle, lineterminator="\n").writerows(
                [neutral(Path(record.image_id).name), neutral(name)] for record, name in rows
            )


@dataclass(frozen=True)
class Outliers:
    """How far images are from the training images.

    Attributes
    ----------
    percentiles : ndarray of float64, shape (n,)
        For each image, the percentage of left-out training images that were nearer to the other training images.
    nearest : tuple of str
        The nearest training images of each image, with class and distance.
    """

    percentiles: Floats
    nearest: tuple[str, ...]

    @classmethod
    def of(
        cls, bundle: BundleFacts, compared: Sequence[Floats], *, model: Path | None
    ) -> Outliers | None:
        """Compare images with the training images. Return None if the model file has no reference for that.

        Parameters
        ----------
        bundle : BundleFacts
        compared : sequence of ndarray of float64, shape (n,)
            Comparison of each image, see `bchisto.boost.Bundle.compare`.
        model : Path or None
            The model file. In the folder of its training, a file next to it lists the names of the training images.
        """
        if not isinstance(bundle, Bundle) or bundle.reference is None:
            return None
        names = {
            row.get("sha256", ""): row["image_id"] for row in _rows_beside(model, TRAINING_NAMES)
        }
        images = Compared.of(compared)
        nearest = nearest_names(bundle.reference, images, classes=bundle.classes, names=names)
        return cls(images.percentiles, tuple(nearest))

    @property
    def marked(self) -> Flags:
        """Which images are marked as outliers, bool of shape (n,)."""
        return self.percentiles >= MARKED

    @property
    def columns(self) -> list[Column]:
        """Names and cells of the columns for the table of predictions."""
        return [
            _yes_or_no("outlier", self.marked),
            ("outlier_percentile", [f"{share:.1f}" for share in self.percentiles]),
            ("nearest_training_images", list(self.nearest)),
        ]

    def notes(self, place: int) -> tuple[str, ...]:
        """Return notes about the image at one position: its mark, if any, and its nearest training images."""
        nearest = f"nearest training images: {self.nearest[place]}"
        if self.marked[place]:
            return (f"outlier: {MEANING}", nearest)
        return (nearest,)

    @property
    def summary(self) -> str:
        """Number of marked images, and the meaning of the mark."""
        return f"outliers: {int(self.marked.sum())} of {len(self.marked)} images, {MEANING}"


def _rows_beside(model: Path | None, name: str) -> list[dict[str, str]]:
    """Return the rows of a table next to a model file that name an image; none without that table."""
    if model is None:
        return []
    with contextlib.suppress(BchistoError, *DAMAGE):
        return [row for row in read_rows(model.with_name(name)) if "image_id" in row]
    return []


@dataclass(frozen=True)
class Tabulated:
    """Predictions with everything that the outputs show of them.

    Attributes
    ----------
    table : Table
    raw : ndarray of float64, shape (n, classes)
        Probabilities before calibration.
    calibrated : ndarray of float64, shape (n, classes)
        Probabilities after calibration; for a model without a temperature those before.
    predicted : Predicted
    banners : tuple of Banner
        Warnings that every reader must see.
    trained : tuple of bool
        Whether each image trained a model.
    blank : tuple of bool
        Whether each image shows nothing.
    outliers : Outliers or None
    positive : ndarray of bool, shape (n,), or None
        Whether each image is predicted positive; None without an operating point.
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
    point : OperatingPoint or None
        The operating point, if it applies to probabilities as the cross-validation has them.
    mixed : str
        The return value of `mixed_note`.
    """

    table: Table
    raw: Floats
    calibrated: Floats
    predicted: Predicted
    banners: tuple[Banner, ...]
    trained: tuple[bool, ...]
    blank: tuple[bool, ...]
    outliers: Outliers | None
    positive: Flags | None
    called: str
    point: OperatingPoint | None
    mixed: str

    @property
    def failures(self) -> dict[str, str]:
        """Images that cannot be used, with the reason."""
        return self.predicted.failures


def tabulate(
    predicted: Predicted, *, settings: PredictSettings, point: OperatingPoint | None
) -> Tabulated:
    """Return predictions as a table, with everything else that the outputs show.

    Parameters
    ----------
    predicted : Predicted
    settings : PredictSettings
    point : OperatingPoint or None
        Operating point from which an image is predicted positive.
    """
    bundle = predicted.bundle
    records = [record for record, _ in predicted.usable]
    predictions = [prediction for _, prediction in predicted.usable]
    raw = np.array([prediction.probabilities for prediction in predictions]).reshape(
        -1, len(bundle.classes)
    )
    calibrated, answers = answers_of(bundle, raw)
    probabilities = raw
    if settings.calibrated:
        probabilities = calibrated
        answers = answers._replace(called_from=confidence_from(bundle, answers.numbers))
    trained = tuple(prediction.trained for prediction in predictions)
    blank = tuple(prediction.blank for prediction in predictions)
    compared = [prediction.compared for prediction in predictions]
    outliers = Outliers.of(bundle, compared, model=predicted.model)
    groups = set(filter(None, (record.group for record in records)))
    shared = groups and groups & groups_beside(predicted.model)
    columns = _columns(bundle, trained, blank, outliers, predicted.warnings)
    if shared:
        columns.append(_yes_or_no("group_trained", [record.group in shared for record in records]))
    positive = None
    called_text = ""
    as_measured = None
    if point is not None:
        # a threshold that was fitted for a sensitivity is one of uncalibrated probabilities
        scores = probabilities if point.sensitivity is None else raw
        positive = point.is_positive(scores, answers.numbers)
        columns.append(_yes_or_no("called", positive, yes="positive", no="negative"))
        as_measured = point if scores is raw or point.by_class else None
        called_text = f"predicted positive: {int(positive.sum())} of {len(positive)}, {point}"
    return Tabulated(
        Table(settings.format, records, probabilities, bundle.classes, answers, columns),
        raw,
        calibrated,
        predicted,
        _banners(bundle, trained, blank, groups, shared),
        trained,
        blank,
        outliers,
        positive,
        called_text,
        as_measured,
        mixed_note(bundle),
    )


def mixed_note(bundle: BundleFacts) -> str:
    """Return what the confidence is worth if patients of the model's folds were mixed; else an empty text."""
    if not mixes_patients(bundle.banners):
        return ""
    return "the folds mixed patients, or may have: of new patients expect fewer right than the confidence says"


def answers_of(bundle: BundleFacts, raw: Floats) -> tuple[Floats, Answers]:
    """Return calibrated probabilities, and the answers of the models, whatever a table shows.

    Parameters
    ----------
    bundle : BundleFacts
    raw : ndarray of float64, shape (n, classes)
        Their probabilities, which decide the class: calibration may make two of them equal.
    """
    calibrated = _calibrated(bundle, raw)
    numbers = called(raw, bundle.shares)
    called_from = None
    if bundle.shares is not None:
        called_from = np.take(bundle.shares, numbers)
    rows = np.arange(len(raw))
    unsure = None
    if bundle.unsure is not None:
        sureness = _calibrated(bundle, equalised(raw, bundle.shares))[rows, numbers]
        unsure = sureness < bundle.unsure["below"]
    confidence = calibrated[rows, numbers]
    return calibrated, Answers(bundle.classes, numbers, confidence, unsure, called_from)


def _calibrated(bundle: BundleFacts, probabilities: Floats) -> Floats:
    """Scale probabilities by the temperature of a model, if it has one."""
    if bundle.temperature is None:
        return probabilities
    return apply_temperature(probabilities, bundle.temperature)


def confidence_from(bundle: BundleFacts, numbers: Integers) -> Floats | None:
    """Return the confidence from which each class is called, its share calibrated; None if the most probable one is."""
    if bundle.shares is None:
        return None
    return np.asarray(_calibrated(bundle, np.array([bundle.shares]))[0, numbers])


def _banners(
    bundle: BundleFacts,
    trained: Sequence[bool],
    blank: Sequence[bool],
    groups: Set[str],
    seen: Set[str],
) -> tuple[Banner, ...]:
    """Return the notes of training, and those on patients and images that trained the model, or that show nothing."""
    banners = [*notes_of_training(bundle.banners)]
    if seen:
        text = (
            f"{len(seen)} of {counted(len(groups), 'patient')} named as those that trained this model (column "
            "group_trained); if they are the same, these predictions do not show how it performs on new ones"
        )
        banners.append(Banner(Kind.PATIENTS_SEEN, text, seen=len(seen)))
    if any(trained):
        text = (
            f"{sum(trained)} of {len(trained)} images trained this model (column trained); these predictions do not "
            "show how it performs on new images"
        )
        banners.append(Banner(Kind.SEEN, text, seen=sum(trained)))
    if any(blank):
        text = (
            f"{sum(blank)} of {len(blank)} images show nothing (column blank); leave them out, since their class "
            "means nothing"
        )
        banners.append(Banner(Kind.NO_TISSUE, text, blank=sum(blank)))
    return tuple(banners)


def _columns(
    bundle: BundleFacts,
    trained: Sequence[bool],
    blank: Sequence[bool],
    outliers: Outliers | None,
    warnings: Sequence[Sequence[str]],
) -> list[Column]:
    """Return columns: images that trained the model, whether it learnt anything, outliers, blank images, warnings."""
    columns = []
    if bundle.training is not None:
        columns.append(_yes_or_no("trained", trained))
    for banner in bundle.banners:
        if banner.kind == Kind.NOTHING_LEARNT:
            # the note counts the models, since the others may have learnt
            note = f"{banner.heading.lower()}: {banner.text}"
            columns.append(("note", [note] * len(trained)))
            break
    if outliers is not None:
        columns += outliers.columns
    if any(blank):
        columns.append(_yes_or_no("blank", blank))
    if any(warnings):
        # their readers have no options
        texts = ["; ".join(limited(text, ()) for text in notes) for notes in warnings]
        columns.append(("warnings", texts))
    return columns


def groups_beside(model: Path | None) -> frozenset[str]:
    """Return the patients of the table of the cross-validation next to a model file; none without that table."""
    return frozenset(row.get("group", "") for row in _rows_beside(model, TESTED))


def _yes_or_no(name: str, values: Iterable[Any], *, yes: str = "yes", no: str = "no") -> Column:
    return name, [yes if value else no for value in values]
