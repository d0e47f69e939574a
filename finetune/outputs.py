"""What a protocol leaves in its folder: predictions of images and patches, metrics, report, bundle."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Dataset, FoldPlan
from ..errors import InputError
from ..evaluate import (
    AGGREGATIONS,
    Panel,
    PredictionTable,
    TwoClassView,
    aggregate,
    fit_temperature,
    fold_notes,
    measure,
    reporting,
    write_predictions,
    write_report,
)
from ..jobs import write_json
from .bundle import CnnBundle
from .model import network_of, resolved
from .settings import FinetuneSettings
from .units import FoldUnit

__all__ = ["write_outputs"]

_REPLICATES = 2000
_MOST_RESAMPLED = 20_000
"""Patches up to which intervals are computed at once (ours): of 200,000 they take a minute on one core, and ``bchisto
evaluate --level row`` gives them."""


def write_outputs(
    folder: Path,
    *,
    units: Sequence[FoldUnit],
    probabilities: npt.NDArray[np.float64],
    dataset: Dataset,
    reading: dict[str, Any],
    plan: FoldPlan,
    digest: str,
    protocol: str,
    banners: tuple[str, ...],
    view: TwoClassView,
    failed: list[str],
) -> Panel | None:
    """Write everything; return predictions and metrics of images, None where none is tested.

    What others need comes first: predictions, ``metrics.json``, the bundle. Then ``report.html``, whose failure costs
    nothing and is put into `failed`.
    """
    settings = units[0].settings
    table = _table(units, probabilities, dataset, protocol) if len(probabilities) else None
    tables: list[PredictionTable] = []
    temperature = None
    if table is not None:
        tables = [table if table.patches is None else aggregate(table, level="image"), *_levels(table, view.positive)]
        image = tables[0]
        _write_table(folder / "predictions.csv", image)
        if table.patches is not None:
            _write_table(folder / "predictions-by-patch.csv", table)
        if image.probabilities is not None and len(image.fold_numbers) > 1:
            temperature = fit_temperature(image.probabilities, image.labels)
    metrics = {
        one.name: measure(
            one,
            positive=view.positive,
            two_class=view.rule,
            thresholds=view.thresholds,
            bootstrap=_REPLICATES if one.patches is None or len(one) <= _MOST_RESAMPLED else 0,
        )
        for one in tables
    }
    facts = {
        "protocol": protocol,
        "classes": list(dataset.classes),
        "banners": list(banners),
        "folds": plan.name,
        "fold_warnings": list(plan.warnings),
        "images_sha256": digest,
        "two_class": view.recorded(dataset.classes),
        "validation": {str(unit.fold): _best(unit) for unit in units},
    }
    write_json(folder / "metrics.json", {"tables": metrics, "run": facts})
    CnnBundle.save(
        folder / "model.bchisto",
        settings=settings,
        classes=dataset.classes,
        models={unit.fold: unit.weights for unit in units},
        dataset=dataset.name,
        reading=reading,
        protocol=protocol,
        banners=banners,
        temperature=temperature,
    )
    panels = [Panel(one, metrics[one.name]) for one in tables]
    with reporting(folder / "report.html", failed):
        write_report(
            folder / "report.html",
            title=f"bchisto finetune: {folder.name}",
            panels=panels,
            banners=banners,
            settings=_shown(settings),
        )
    return panels[0] if panels else None


def _table(
    units: Sequence[FoldUnit], probabilities: npt.NDArray[np.float64], dataset: Dataset, protocol: str
) -> PredictionTable:
    known = {record.image_id: record for record in dataset.records}
    keys = [(image, patch, unit.fold) for unit in units for image, patch in unit.test_names]
    made = PredictionTable.from_probabilities(
        name=units[0].settings.network,
        classes=dataset.classes,
        image_ids=[image for image, _, _ in keys],
        labels=[known[image].label or "" for image, _, _ in keys],
        probabilities=probabilities,
        folds=[fold for _, _, fold in keys],
        groups=[known[image].group for image, _, _ in keys],
        protocol=protocol,
    )
    trained = {unit.fold: [dataset.classes[unit.labels[place]] for place in unit.train] for unit in units}
    table = replace(made, fold_notes=fold_notes(trained, dataset.classes))
    cut = units[0].settings.rule.kind != "resize"
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


def _write_table(path: Path, table: PredictionTable) -> None:
    rows = [
        (image, table.classes[label], group, "" if fold is None else fold)
        for image, label, group, fold in zip(
            table.image_ids, table.labels.tolist(), table.groups, table.folds, strict=True
        )
    ]
    probabilities = table.probabilities
    if probabilities is None:
        raise InputError(f"{path}: a table without probabilities")
    patches = [] if table.patches is None else [("patch", table.patches)]
    write_predictions(path, classes=table.classes, rows=rows, probabilities=probabilities, extra=patches)


def _best(unit: FoldUnit) -> dict[str, Any]:
    """Return the epoch whose weights were kept, from the log; nothing where that was removed."""
    if not unit.log.is_file():
        return {}
    with unit.log.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    best = min(rows, key=lambda row: float(row["val_loss"])) if rows[-1]["val_loss"] else rows[-1]
    return {
        "epochs": len(rows), "epoch": int(best["epoch"]),
        **{name: float(best[name]) for name in ("val_loss", "val_accuracy") if best[name]},
    }  # fmt: skip


def _shown(settings: FinetuneSettings) -> dict[str, str]:
    return {
        "source": network_of(settings.network).source,
        **{key: str(value) for key, value in {**asdict(settings), **resolved(settings)}.items()},
    }
