"""Write the outputs of a fine-tuning: predictions of images and patches, metrics, report and model file."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..core.formats import read_rows
from ..crossval import CrossValidation, LabelledImages, Outputs, Training
from ..data import Dataset, decode_record
from ..evaluate import AGGREGATIONS, PredictionTable, aggregate, write_predictions
from .bundle import CnnBundle
from .methods import methods_of
from .model import network_of, resolved
from .settings import FinetuneSettings
from .units import FoldUnit, read_network

_Part = tuple[tuple[tuple[str, str], ...], npt.NDArray[np.float64]]
"""Image and patch of each prediction of a fold, and their probabilities."""


def write_outputs(
    training: Training[FoldUnit, Any],
    result: CrossValidation,
    units: Sequence[FoldUnit],
    outcomes: Sequence[npt.NDArray[np.float64]],
    *,
    dataset: Dataset,
    reading: Mapping[str, str],
) -> CrossValidation:
    """Write all outputs, and return the result with the predictions and metrics of images, if any were tested."""
    validated = any(training.plan.images(unit.fold, "val") for unit in units)
    settings, records = units[0].settings, {record.image_id: record for record in dataset.records}
    parts = [(unit.test_names, rows[: len(unit.test_names)]) for unit, rows in zip(units, outcomes, strict=True)]
    tables = _tables(training, units, parts, result) if any(names for names, _ in parts) else []
    held = [(unit.held_names, rows[len(unit.test_names) :]) for unit, rows in zip(units, outcomes, strict=True)]
    if any(names for names, _ in held):
        _, whole = _table(training, units, held, result)
        _write_table(result.folder / "predictions-validation.csv", whole, training.images)
    logs = {str(unit.fold): list(read_rows(unit.log)) for unit in units}
    # a report shows the name of the weights file but not its folder; settings.json holds its checksum
    shown = {**asdict(settings), **resolved(settings), "weights": Path(resolved(settings)["weights"]).name}
    outputs = Outputs(
        training,
        tables=tables,
        methods=list(methods_of(settings, folds=len(units), inner=not validated)),
        settings={"source": network_of(settings.network).source, **{key: str(value) for key, value in shown.items()}},
        facts={
            "validation": {fold: _best(rows, settings) for fold, rows in logs.items()},
            "curves": {fold: _curve(rows) for fold, rows in logs.items() if rows},
        },
        picture=lambda image: decode_record(records[image]),
    )
    bundle = functools.partial(
        CnnBundle.save,
        result.model,
        settings=settings,
        models={unit.fold: functools.partial(read_network, unit) for unit in units},
        dataset=dataset.name,
        reading=reading,
    )
    return outputs.write(result, bundle=bundle)


def _table(
    training: Training[FoldUnit, Any], units: Sequence[FoldUnit], parts: Sequence[_Part], result: CrossValidation
) -> tuple[PredictionTable, PredictionTable]:
    """Return the table of patches, and that of images; both are the same if networks see whole images."""
    keys = [(image, unit.fold) for unit, (names, _) in zip(units, parts, strict=True) for image, _ in names]
    table = training.images.table(
        units[0].settings.network,
        keys,
        np.concatenate([rows for _, rows in parts]),
        protocol=result.protocol,
        trained={unit.fold: [unit.labels[position] for position in unit.train] for unit in units},
    )
    if units[0].settings.rule.kind == "resize":
        return table, table
    table = replace(table, patches=tuple(patch for names, _ in parts for _, patch in names))
    return table, aggregate(table, level="image")


def _tables(
    training: Training[FoldUnit, Any], units: Sequence[FoldUnit], parts: Sequence[_Part], result: CrossValidation
) -> list[PredictionTable]:
    """Return the tables of images, of patches, and of images and groups by each rule; write the first two."""
    images, tables, levels = training.images, [], ["group"]
    table, whole = _table(training, units, parts, result)
    if table is not whole:
        tables, levels = [replace(table, name=f"{table.name} (patch)")], ["image", "group"]
        _write_table(result.folder / "predictions-by-patch.csv", table, images)
    _write_table(result.folder / "predictions.csv", whole, images)
    for level in levels:
        for rule in AGGREGATIONS:
            try:
                aggregated = aggregate(table, rule=rule, level=level, positive=training.view.positive)
            except InputError:  # groups are unknown or have two classes, or the rule needs two-class data
                continue
            tables.append(replace(aggregated, name=f"{table.name} ({level}, {rule})"))
    return [whole, *tables]


def _write_table(path: Path, table: PredictionTable, images: LabelledImages) -> None:
    assert table.probabilities is not None  # networks always predict probabilities
    rows = images.rows(zip(table.image_ids, table.folds, strict=True))
    patches = [] if table.patches is None else [("patch", table.patches)]
    write_predictions(path, classes=table.classes, rows=rows, probabilities=table.probabilities, extra=patches)


def _curve(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float | None]]:
    """Return loss and accuracy per epoch, and both on the validation images, if any."""
    names = [name for name in ("loss", "accuracy", "val_loss", "val_accuracy") if any(row[name] for row in rows)]
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in names}


def _best(rows: Sequence[Mapping[str, str]], settings: FinetuneSettings) -> dict[str, Any]:
    """Return the epoch whose weights were kept, from the log; empty if the log was removed."""
    if not rows:
        return {}
    validated = rows[-1]["val_loss"] and settings.patience
    best = min(rows, key=lambda row: float(row["val_loss"])) if validated else rows[-1]
    return {
        "epochs": len(rows), "epoch": int(best["epoch"]),
        **{name: float(best[name]) for name in ("val_loss", "val_accuracy") if best[name]},
    }  # fmt: skip
