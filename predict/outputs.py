"""What is written of predictions: the table, the list of images that failed, and the sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluate import NOTHING_LEARNT, apply_temperature
from ..jobs import remove_output, write_rows
from .advice import said_of_training
from .operating_point import OperatingPoint
from .predicted import Predicted, Prediction
from .settings import PredictSettings
from .sheet import make_sheet
from .table import Table, to_pandas


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
    sheets : tuple of Path
        Sheets that were written.
    unsure : int or None
        Images that a sheet marks as unsure; None without a sheet or a rule.
    labelled : int
        Images with a label that the model knows.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""
    sheets: tuple[Path, ...] = ()
    unsure: int | None = None
    labelled: int = 0

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`, a row per image.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        return to_pandas(self.path)


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
    bundle, results = predicted.bundle, predicted.results
    failures = {image: result for image, result in results.items() if isinstance(result, str)}
    records = [record for record in predicted.records if record.image_id not in failures]
    predictions = [result for record in records if isinstance(result := results[record.image_id], Prediction)]
    raw = np.array([prediction.probabilities for prediction in predictions]).reshape(-1, len(bundle.classes))
    probabilities = apply_temperature(raw, bundle.temperature) if settings.calibrated and bundle.temperature else raw
    trained = [prediction.trained for prediction in predictions]
    banners = said_of_training(bundle.banners)
    if any(trained):
        banners += (
            f"NOT NEW: {sum(trained)} of {len(trained)} images trained models of this bundle (column trained); what it "
            "says of them does not show what it would say of new ones",
        )
    columns: list[tuple[str, list[str]]] = []
    if bundle.training is not None:
        columns.append(("trained", ["yes" if known else "no" for known in trained]))
    if idle := [banner for banner in banners if banner.startswith(NOTHING_LEARNT)]:
        # how many models, since the others may have learnt
        columns.append(("note", [idle[0].replace(NOTHING_LEARNT, NOTHING_LEARNT.lower())] * len(trained)))
    called = ""
    if point is not None:
        positive = point.is_positive(probabilities if point.sensitivity is None else raw)
        columns.append(("called", ["positive" if above else "negative" for above in positive]))
        called = f"called positive: {int(positive.sum())} of {len(positive)}, {point}"
    table = Table(settings.format, records, probabilities, bundle.classes, columns)
    table.finish(path, overwrite=overwrite)
    _write_failures(path.with_name(f"{path.name}.failures.csv"), failures)
    unsure = None
    if settings.sheets:
        from .page import write_html, write_xlsx

        sheet = make_sheet(
            table, raw, bundle=bundle, sha256=predicted.sha256, banners=banners, failures=failures, title=path.name
        )
        unsure = sheet.unsure
        for name, sheet_path in settings.sheets.items():
            {"html": write_html, "xlsx": write_xlsx}[name](sheet, sheet_path)
    return PredictResult(
        path,
        images=len(trained),
        counts={name: table.predicted.count(name) for name in bundle.classes},
        failures=tuple(failures.items()),
        banners=banners,
        trained=None if bundle.training is None else sum(trained),
        called=called,
        sheets=tuple(settings.sheets.values()),
        unsure=unsure,
        labelled=sum(record.label in bundle.classes for record in records),
    )


def _write_failures(path: Path, failures: Mapping[str, str]) -> None:
    if failures:
        write_rows(path, ["image_id", "error"], failures.items())
    else:
        remove_output(path)
