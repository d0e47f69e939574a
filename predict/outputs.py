"""What is written of predictions: the table, the list of images that failed, and the sheet."""

from __future__ import annotations

import csv
import filecmp
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import OutputError, as_frame, html_lines, html_table, neutral
from ..data import ImageRecord
from ..evaluate import NOTHING_LEARNT, apply_temperature, write_predictions
from ..formats import Cells
from ..jobs import atomic_output, remove_output, write_rows
from .outliers import Outliers
from .predicted import Predicted, Prediction
from .records import notes_of_training
from .settings import OperatingPoint, PredictSettings
from .sheet import Sheet, make_sheet

_log = logging.getLogger(__name__)


_SHOWN = ("image_id", "label", "predicted", "trained", "outlier")
"""Columns that a notebook shows, beside probabilities: the table has the rest."""


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Images predicted.
    counts : dict of str to int
        Images per predicted class.
    failures : tuple of (image_id, message)
        Images left out; also in ``<out>.failures.csv``.
    banners : tuple of str
        What a reader must know first.
    trained : int or None
        Images that trained a model of the bundle; None where it does not know which did.
    called : str
        How many are called positive at which operating point; empty where nothing is called.
    sheet : Path or None
        The sheet, if one was written.
    unsure : int or None
        Images that a sheet marks as unsure; None without a sheet or a rule.
    labelled : int
        Images with a label that the model knows.
    outliers : str
        How many are marked as outliers, and what that means; empty if the model knows too few training images.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""
    sheet: Path | None = None
    unsure: int | None = None
    labelled: int = 0
    outliers: str = ""

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`, a row per image: probabilities as numbers, all else as text.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        header, rows = self._read()
        return as_frame(
            {
                name: [float(row[column]) if name.startswith("p_") else row[column] for row in rows]
                for column, name in enumerate(header)
            }
        )

    def _read(self) -> tuple[list[str], list[list[str]]]:
        with self.path.open(newline="", encoding="utf-8") as handle:
            rows = list(Cells(handle))
        header = rows.pop(0) if rows and rows[0][:1] == ["image_id"] else ["image_id", "predicted"]  # of the challenge
        return header, rows

    def _repr_html_(self) -> str:
        lines = [*self.banners, *filter(None, (self.called, self.outliers)), f"table: {self.path}"]
        header, rows = self._read()
        shown = [at for at, name in enumerate(header) if name in _SHOWN or name.startswith("p_")]
        cells = ([f"{float(row[at]):.3f}" if header[at].startswith("p_") else row[at] for at in shown] for row in rows)
        return html_lines(lines) + html_table(f"{self.images} images", [header[at] for at in shown], cells)


@dataclass(frozen=True)
class Table:
    """What is written.

    Attributes
    ----------
    format : str
        Of `FORMATS`.
    records : sequence of ImageRecord
    probabilities : ndarray of float64, shape (n, classes)
    classes : tuple of str
    further : sequence of (str, sequence of str)
        Names and cells of columns after the predicted class.
    """

    format: str
    records: Sequence[ImageRecord]
    probabilities: npt.NDArray[np.float64]
    classes: Sequence[str]
    further: Sequence[tuple[str, Sequence[str]]] = ()

    @property
    def predicted(self) -> list[str]:
        """The likeliest class of each image."""
        return [self.classes[index] for index in self.probabilities.argmax(axis=1)] if len(self.records) else []

    def finish(self, path: Path, *, overwrite: bool) -> None:
        """Write the table; where another process has written it meanwhile, keep that if it says the same.

        Raises
        ------
        OutputError
            Another table lies there by now, or it cannot be written.
        """
        if overwrite or not path.exists():
            self._write(path)
            return
        ours = path.with_name(f"{path.name}.part-{secrets.token_hex(4)}")
        try:
            self._write(ours)
            same = filecmp.cmp(ours, path, shallow=False)
        finally:
            ours.unlink(missing_ok=True)
        if not same:
            raise OutputError(
                "{}: another process wrote another table meanwhile; use {overwrite} or another {out}", path
            )
        _log.info("%s: another process finished the same table meanwhile; it is kept", path)

    def _write(self, path: Path) -> None:
        if self.format == "iciar2018":
            with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle, lineterminator="\n").writerows(
                    [neutral(Path(record.image_id).name), neutral(name)]
                    for record, name in zip(self.records, self.predicted, strict=True)
                )
        else:
            write_predictions(
                path,
                classes=self.classes,
                rows=[(record.image_id, record.label or "", record.group, "") for record in self.records],
                probabilities=self.probabilities,
                extra=[("predicted", self.predicted), *self.further],
            )


@dataclass(frozen=True)
class Tabulated:
    """Predictions as they are shown.

    Attributes
    ----------
    table : Table
    raw : ndarray of float64, shape (n, classes)
        Probabilities as the models give them.
    failures : dict of str to str
        Images that cannot be used, and why.
    banners : tuple of str
        What a reader must know first.
    trained : tuple of bool
        Which images trained a model.
    outliers : Outliers or None
    called : str
        How many are called positive at which operating point; empty where nothing is called.
    """

    table: Table
    raw: npt.NDArray[np.float64]
    failures: dict[str, str]
    banners: tuple[str, ...]
    trained: tuple[bool, ...]
    outliers: Outliers | None
    called: str

    def sheet(self, predicted: Predicted, *, title: str) -> Sheet:
        """Return the sheet of the table, which is called by a title."""
        return make_sheet(
            self.table, self.raw, bundle=predicted.bundle, sha256=predicted.sha256, banners=self.banners,
            failures=self.failures, title=title, called=self.called, outliers=self.outliers,
        )  # fmt: skip


def tabulate(predicted: Predicted, *, settings: PredictSettings, point: OperatingPoint | None) -> Tabulated:
    """Return predictions as they are shown.

    Parameters
    ----------
    predicted : Predicted
    settings : PredictSettings
    point : OperatingPoint or None
        At which images are called positive.
    """
    bundle, results = predicted.bundle, predicted.results
    failures = {image: result for image, result in results.items() if isinstance(result, str)}
    records = [record for record in predicted.records if record.image_id not in failures]
    predictions = [result for record in records if isinstance(result := results[record.image_id], Prediction)]
    raw = np.array([prediction.probabilities for prediction in predictions]).reshape(-1, len(bundle.classes))
    probabilities = apply_temperature(raw, bundle.temperature) if settings.calibrated and bundle.temperature else raw
    trained = [prediction.trained for prediction in predictions]
    banners = notes_of_training(bundle.banners)
    if any(trained):
        banners += (
            f"SEEN IN TRAINING: {sum(trained)} of {len(trained)} images trained this model (column trained); these "
            "predictions do not show how it performs on new images",
        )
    columns: list[tuple[str, list[str]]] = []
    if bundle.training is not None:
        columns.append(("trained", ["yes" if known else "no" for known in trained]))
    if idle := [banner for banner in banners if banner.startswith(NOTHING_LEARNT)]:
        # how many models, since the others may have learnt
        columns.append(("note", [idle[0].replace(NOTHING_LEARNT, NOTHING_LEARNT.lower())] * len(trained)))
    outliers = Outliers.of(bundle, [prediction.compared for prediction in predictions], model=predicted.model)
    if outliers is not None:
        columns += outliers.columns
    called = ""
    if point is not None:
        positive = point.is_positive(probabilities if point.sensitivity is None else raw)
        columns.append(("called", ["positive" if above else "negative" for above in positive]))
        called = f"predicted positive: {int(positive.sum())} of {len(positive)}, {point}"
    table = Table(settings.format, records, probabilities, bundle.classes, columns)
    return Tabulated(table, raw, failures, banners, tuple(trained), outliers, called)


def write_outputs(
    path: Path,
    predicted: Predicted,
    *,
    settings: PredictSettings,
    point: OperatingPoint | None,
    overwrite: bool,
) -> PredictResult:
    """Write what the settings ask for.

    Parameters
    ----------
    path : Path
        The table.
    predicted : Predicted
    settings : PredictSettings
    point : OperatingPoint or None
        At which images are called positive.
    overwrite : bool

    Raises
    ------
    OutputError
        Something cannot be written, or another table lies there by now.
    """
    bundle, shown = predicted.bundle, tabulate(predicted, settings=settings, point=point)
    table = shown.table
    table.finish(path, overwrite=overwrite)
    problems = path.with_name(f"{path.name}.failures.csv")
    if shown.failures:
        write_rows(problems, ["image_id", "error"], shown.failures.items())
    else:
        remove_output(problems)
    unsure = None
    if settings.html is not None:
        from .page import write_html

        sheet = shown.sheet(predicted, title=path.name)
        unsure = sheet.unsure
        write_html(sheet, settings.html)
    return PredictResult(
        path,
        images=len(shown.trained),
        counts={name: table.predicted.count(name) for name in bundle.classes},
        failures=tuple(shown.failures.items()),
        banners=shown.banners,
        trained=None if bundle.training is None else sum(shown.trained),
        called=shown.called,
        sheet=settings.html,
        unsure=unsure,
        outliers="" if shown.outliers is None else shown.outliers.summary,
        labelled=sum(record.label in bundle.classes for record in table.records),
    )
