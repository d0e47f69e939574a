"""What a protocol leaves in its folder: predictions of images and patches, metrics, report, bundle."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..crossval import CrossValidation, Outputs, Tested
from ..data import decode_record
from ..evaluate import AGGREGATIONS, PredictionTable, aggregate, write_predictions
from ..formats import read_rows
from ..report import choose_samples
from .bundle import CnnBundle
from .methods import methods_of
from .model import network_of, resolved
from .settings import FinetuneSettings
from .units import FoldUnit

if TYPE_CHECKING:
    from .training import CnnTraining

_MOST_RESAMPLED = 20_000
"""Patches up to which intervals are computed at once (ours): of 200,000 they take a minute on one core, and ``bchisto
evaluate --level row`` gives them."""


def write_outputs(
    training: CnnTraining, result: CrossValidation, units: Sequence[FoldUnit], probabilities: npt.NDArray[np.float64]
) -> CrossValidation:
    """Write everything; return the result with predictions and metrics of images, if any is tested."""
    folder, plan, dataset = result.folder, training.plan, training.dataset
    settings = units[0].settings
    table = _table(training.images, units, probabilities, result.protocol) if len(probabilities) else None
    tables: list[PredictionTable] = []
    if table is not None:
        positive = training.view.positive
        tables = [table if table.patches is None else aggregate(table, level="image"), *_levels(table, positive)]
        _write_table(folder / "predictions.csv", tables[0], training.images)
        if table.patches is not None:
            _write_table(folder / "predictions-by-patch.csv", table, training.images)
    known = {record.image_id: record for record in dataset.records}
    outputs = Outputs(
        training,
        tables=tables,
        methods=list(methods_of(settings, folds=len(units), inner=not any(plan.images(u.fold, "val") for u in units))),
        settings=_shown(settings),
        facts={
            "validation": {str(unit.fold): _best(unit) for unit in units},
            "curves": {str(unit.fold): curve for unit in units if (curve := _curve(unit))},
        },
        samples=lambda: choose_samples(tables[0], lambda image: decode_record(known[image])),
        most_resampled=_MOST_RESAMPLED,
    )

    bundle = functools.partial(
        CnnBundle.save,
        result.model,
        settings=settings,
        models={unit.fold: unit.weights for unit in units},
        dataset=dataset.name,
        reading=training.reading,
    )
    return outputs.write(result, bundle=bundle)


def _table(
    images: Tested, units: Sequence[FoldUnit], probabilities: npt.NDArray[np.float64], protocol: str
) -> PredictionTable:
    keys = [(image, patch, unit.fold) for unit in units for image, patch in unit.test_names]
    settings = units[0].settings
    table = images.table(
        settings.network,
        [(image, fold) for image, _, fold in keys],
        probabilities,
        protocol=protocol,
        trained=images.trained({unit.fold: [unit.labels[place] for place in unit.train] for unit in units}),
    )
    cut = settings.rule.kind != "resize"
    return replace(table, patches=tuple(patch for _, patch, _ in keys)) if cut else table


def _levels(table: PredictionTable, positive: Sequence[str]) -> list[PredictionTable]:
    """Return the further tables: of patches, and of images and groups by each rule, as far as the data has them."""
    found = [] if table.patches is None else [replace(table, name=f"{table.name} (patch)")]
    levels = ("group",) if table.patches is None else ("image", "group")
    for level in levels:
        for rule in AGGREGATIONS:
            try:
                made = aggregate(table, rule=rule, level=level, positive=positive)
            except InputError:  # groups unknown or of two classes, or no two sides for this rule
                continue
            found.append(replace(made, name=f"{table.name} ({level}, {rule})"))
    return found


def _write_table(path: Path, table: PredictionTable, images: Tested) -> None:
    if table.probabilities is None:
        raise InputError(f"{path}: a table without probabilities")
    rows = images.rows(zip(table.image_ids, table.folds, strict=True))
    patches = [] if table.patches is None else [("patch", table.patches)]
    write_predictions(path, classes=table.classes, rows=rows, probabilities=table.probabilities, extra=patches)


def _curve(unit: FoldUnit) -> dict[str, list[float | None]]:
    """Return loss and accuracy of each epoch, and both on what validates, where something does."""
    rows = list(read_rows(unit.log))
    names = [name for name in ("loss", "accuracy", "val_loss", "val_accuracy") if any(row[name] for row in rows)]
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in names}


def _best(unit: FoldUnit) -> dict[str, Any]:
    """Return the epoch whose weights were kept, from the log; nothing where that was removed."""
    rows = list(read_rows(unit.log))
    if not rows:
        return {}
    best = (
        min(rows, key=lambda row: float(row["val_loss"]))
        if rows[-1]["val_loss"] and unit.settings.patience
        else rows[-1]
    )
    return {
        "epochs": len(rows), "epoch": int(best["epoch"]),
        **{name: float(best[name]) for name in ("val_loss", "val_accuracy") if best[name]},
    }  # fmt: skip


def _shown(settings: FinetuneSettings) -> dict[str, str]:
    # a report says which file, and settings.json its hash, but not where it lies
    weights = {"weights": Path(resolved(settings)["weights"]).name}
    return {
        "source": network_of(settings.network).source,
        **{key: str(value) for key, value in {**asdict(settings), **resolved(settings), **weights}.items()},
    }
