"""The outputs of a prediction: the table, the failures and the report; and a model file for publication."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, PathInput, converted, html_lines, html_table
from ..core.formats import file_sha256, read_cells, read_json
from ..core.jobs import atomic_output, ensure_folder, write_or_remove
from ..evaluate import NOTHING_LEARNT, apply_temperature
from ..evaluate.report import write_card
from .model import find_bundle, load_bundle
from .predicted import Outliers, Predicted, Prediction
from .records import Table, notes_of_training
from .settings import OperatingPoint, PredictSettings
from .sheet import write_html

_SHOWN = ("image_id", "label", "predicted", "trained", "outlier")
"""Columns of the table that a notebook shows, in addition to probabilities."""


@dataclass(frozen=True)
class PredictResult:
    """The result of a prediction.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Number of predicted images.
    counts : dict of str to int
        Number of images per predicted class.
    failures : tuple of (image_id, message)
        Images that could not be used; also in ``<out>.failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    trained : int or None
        Number of images that trained a model; None if the model file does not record its training images.
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
    sheet : Path or None
        The prediction report, if one was written.
    unsure : int or None
        Number of images that the report marks as uncertain; None without a report, or if the model has no rule for it.
    labelled : int
        Number of images whose label is a class of the model.
    outliers : str
        Number of outliers and what the mark means; empty if the model file has no reference for it.
    unchanged : bool
        Whether nothing was written, since `PredictSettings.update` found nothing new. Counts are then left out.
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
    unchanged: bool = False

    def _repr_html_(self) -> str:
        lines = [*self.banners, *filter(None, (self.called, self.outliers)), f"table: {self.path}"]
        with self.path.open(newline="", encoding="utf-8") as handle:
            rows = list(read_cells(handle))
        # rows for the challenge have no header
        header = rows.pop(0) if rows and rows[0][:1] == ["image_id"] else ["image_id", "predicted"]
        shown = [at for at, name in enumerate(header) if name in _SHOWN or name.startswith("p_")]
        cells = (
            [f"{float(row[at]):.3f}" if header[at].startswith("p_") else row[at] for at in shown]
            for row in rows
        )
        return html_lines(lines) + html_table(
            f"{self.images} images", [header[at] for at in shown], cells
        )


@dataclass(frozen=True)
class Tabulated:
    """Predictions with everything that the outputs show of them.

    Attributes
    ----------
    table : Table
    raw : ndarray of float64, shape (n, classes)
        Probabilities before calibration.
    failures : dict of str to str
        Images that cannot be used, with the reason.
    banners : tuple of str
        Warnings that every reader must see.
    trained : tuple of bool
        Whether each image trained a model.
    outliers : Outliers or None
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
    """

    table: Table
    raw: npt.NDArray[np.float64]
    failures: dict[str, str]
    banners: tuple[str, ...]
    trained: tuple[bool, ...]
    outliers: Outliers | None
    called: str


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
    bundle, results = predicted.bundle, predicted.results
    failures = {image: result for image, result in results.items() if isinstance(result, str)}
    records = [record for record in predicted.records if record.image_id not in failures]
    predictions = [
        result for record in records if isinstance(result := results[record.image_id], Prediction)
    ]
    raw = np.array([prediction.probabilities for prediction in predictions]).reshape(
        -1, len(bundle.classes)
    )
    probabilities = (
        apply_temperature(raw, bundle.temperature)
        if settings.calibrated and bundle.temperature
        else raw
    )
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
    if untrained := [banner for banner in banners if banner.startswith(NOTHING_LEARNT)]:
        # a note that counts these models, since the others may have learnt
        columns.append(
            ("note", [untrained[0].replace(NOTHING_LEARNT, NOTHING_LEARNT.lower())] * len(trained))
        )
    outliers = Outliers.of(
        bundle, [prediction.compared for prediction in predictions], model=predicted.model
    )
    if outliers is not None:
        columns += outliers.columns
    called = ""
    if point is not None:
        positive = point.is_positive(probabilities if point.sensitivity is None else raw)
        columns.append(("called", ["positive" if above else "negative" for above in positive]))
        called = f"predicted positive: {int(positive.sum())} of {len(positive)}, {point}"
    table = Table(settings.format, records, probabilities, bundle.classes, columns)
    return Tabulated(table, raw, failures, banners, tuple(trained), outliers, called)


def failures_of(path: Path) -> Path:
    """Return the list of the images that a table lacks, since they could not be used."""
    return path.with_name(f"{path.name}.failures.csv")


def write_outputs(
    path: Path,
    shown: Tabulated,
    predicted: Predicted,
    *,
    html: Path | None,
    overwrite: bool,
    known: Collection[str],
) -> PredictResult:
    """Write the table, its failures, and a report at `html`.

    Parameters
    ----------
    path : Path
        The table.
    shown : Tabulated
    predicted : Predicted
    html : Path or None
    overwrite, known
        As of `Table.finish`.

    Raises
    ------
    OutputError
        An output cannot be written, or another process has written a different table.
    """
    bundle, table = predicted.bundle, shown.table
    table.finish(path, overwrite=overwrite, known=known)
    write_or_remove(failures_of(path), ["image_id", "error"], shown.failures.items())
    unsure = None if html is None else write_html(html, shown, predicted, title=path.name)
    return PredictResult(
        path,
        images=len(shown.trained),
        counts={name: table.predicted.count(name) for name in bundle.classes},
        failures=tuple(shown.failures.items()),
        banners=shown.banners,
        trained=None if bundle.training is None else sum(shown.trained),
        called=shown.called,
        sheet=html,
        unsure=unsure,
        outliers="" if shown.outliers is None else shown.outliers.summary,
        labelled=sum(record.label in bundle.classes for record in table.records),
    )


CARD = "README.md"
"""Name of the card; model hubs show this file of a folder."""


def export(model: PathInput, *, to: PathInput) -> Path:
    """Copy a model into a folder of its own, with a model card.

    The card has the header that model hubs read, and marked blanks for what only the author knows. It shows the
    metrics; ``metrics.json`` itself is not copied, since it may name patients.

    Parameters
    ----------
    model : str or Path
        A model file, or a run folder that holds one.
    to : str or Path
        The new folder.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    BundleError, MissingInputError
        The model is missing or damaged.
    InputError
        The folder exists and contains other files.
    OutputError
        The folder cannot be written.
    """
    source, folder = find_bundle(converted(model, "model", Path)), converted(to, "to", Path)
    bundle = load_bundle(source)
    sha256 = file_sha256(source)
    copy = folder / source.name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not copy.is_file())):
        raise InputError("{to} {}: holds other files; give a new folder", folder)
    if copy.is_file() and file_sha256(copy) != sha256:
        raise InputError("{to} {}: holds another model; give a new folder", folder)
    metrics_file = source.parent / "metrics.json"
    metrics: dict[str, Any] | None = read_json(metrics_file) if metrics_file.is_file() else None
    ensure_folder(folder)
    if not copy.is_file():
        with atomic_output(copy) as temporary:
            shutil.copyfile(source, temporary)
    if not (
        folder / CARD
    ).exists():  # keep an existing card: the author may have filled in its blanks
        write_card(folder / CARD, model=source, bundle=bundle, metrics=metrics)
    return folder / CARD
