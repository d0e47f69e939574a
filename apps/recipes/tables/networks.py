"""Compares published figures of networks, variants and test images without public labels with those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ....core import InputError
from ....core.formats import file_sha256, read_rows
from ....core.jobs import key_of
from ....evaluate import confusion, default_positive
from ....predict import predict
from ..recipe import Recipe, ReproduceRequest
from .ensembles import published_predictions, stem_of
from .obtained import (
    PATIENTS,
    VALIDATED,
    Figures,
    Key,
    Obtained,
    Published,
    Results,
    Runs,
    Value,
    figure_of,
    value_in,
)


def find_test_images(recipe: Recipe, folder: Path | None) -> dict[str, Path]:
    """Return the files in a folder and below that are images of a recipe's published predictions, by their names.

    Raises
    ------
    InputError
        The recipe has no published predictions of test images, or the folder has none of these images.
    """
    if folder is None:
        return {}
    tables = [table for table in recipe.published if table["kind"] == "agreement"]
    names = {name for table in tables for name in published_predictions(table)}
    if not names:
        raise InputError(
            "{test_images} {}: {} has no published predictions of test images", folder, recipe.name
        )
    files = {stem_of(path.name): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not names & files.keys():
        raise InputError(
            "{test_images} {}: no test image is in it; their names are {} and so on",
            folder,
            min(names),
        )
    return {name: files[name] for name in sorted(names & files.keys())}


def predict_test_images(
    trained: Obtained | None,
    images: Mapping[str, Path],
    *,
    folder: Path,
    request: ReproduceRequest,
) -> dict[str, str]:
    """Predict test images with the models of the published variant, once; return classes by names of images.

    The table is written to a folder in `folder` that is named after the content of the model file and the images.
    """
    if trained is None or not images:
        return {}
    model = trained.folder / "model.bchisto"
    contents = {name: file_sha256(path) for name, path in images.items()}
    key = key_of("test images 1", model=file_sha256(model), images=contents)
    table = folder / f"test-images-{key[:16]}" / "predictions.csv"
    if not table.is_file():
        predict(model, list(images.values()), out=table, weights=request.weights, work=request.work)
    return {stem_of(row["image_id"]): row["predicted"] for row in read_rows(table)}


LEVELS = {"patch": "patch", "image": "", "patient": PATIENTS}
"""First word of a row in a table of levels, to the end of the name of that level's table."""

_METRICS = ("accuracy", "precision", "recall", "f1", "auc")


_OF_ALL_CLASSES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auc",
    "auc_mean",
    "patient_recognition_rate",
)
"""Metrics that are not of one class."""


def value_of(metrics: Mapping[str, Any] | None, metric: str) -> Value:
    """Return a metric of a table and its interval.

    Precision, recall and others are those of the one positive class. ``auc_mean`` is the mean AUC over the networks of
    the folds, which has an interval only with a single fold.
    """
    if metrics is None:
        return None, None
    if metric == "auc_mean" and len(metrics["folds"]) > 1:
        return (metrics.get("two_class") or {}).get("auc_mean"), None
    if metric == "confidence":
        return _mean_confidence(metrics), None
    if metric in _OF_ALL_CLASSES:
        return value_in(metrics[metric.removesuffix("_mean")])
    positive = default_positive(metrics["classes"])
    if len(positive) != 1:
        return None, None
    return value_in(metrics["per_class"][positive[0]][metric])


def _mean_confidence(metrics: Mapping[str, Any]) -> float | None:
    """Return the mean probability of the predicted class; None without rows."""
    bins = (metrics.get("calibration") or {}).get("bins", ())
    rows = sum(entry["n"] for entry in bins)
    if not rows:
        return None
    return float(sum(entry["n"] * entry["confidence"] for entry in bins) / rows)


def value_at(seed: Results, key: Key, table: Published) -> Value:
    """Return the metric of a row in a table of variants or levels; None if it was not run.

    Parameters
    ----------
    seed : mapping
        Results of the variants with one seed.
    key : (row, magnification)
    table : mapping
        The published table.
    """
    name, magnification = key
    kind = table["kind"]
    metric = table.get("metric", "accuracy")
    run_key = key
    if kind in ("variants", "scores"):
        suffix = LEVELS[table.get("level", "image")]
    elif kind == "validation":
        suffix = VALIDATED
    else:
        run_key = (table["variant"], magnification)
        suffix = f"{table.get('level')}, {name}"
    if kind == "levels":
        level, _, metric = name.partition(" ")
        suffix = LEVELS[level]
    run = seed.get(run_key)
    if run is None:
        return None, None
    return value_of(run.table(suffix), metric)


def metrics_of_rows(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare one metric of variants, of rules that combine patches to images, or of levels (all by default).

    Of variants it is that of the test images, or of those that validated.
    """
    rows = table.get("rows")
    if not rows:
        rows = {f"{level} {metric}": None for level, metric in product(LEVELS, _METRICS)}
    for name, published in rows.items():
        value = value_at(runs.obtained, (name, magnification), table)
        yield figure_of(name, value, published, digits=table.get("digits", 1))


def scores(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare several metrics of several variants; a conclusion names the ``metric`` that it compares."""
    for name, row in table["rows"].items():
        for metric, published in row.items():
            value = value_at(runs.obtained, (name, magnification), {**table, "metric": metric})
            yield figure_of(f"{name}: {metric}", value, published, digits=table["digits"])


def by_fold(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Show AUC and confusion matrix of each fold, and the mean AUC."""
    run = runs.of(table, magnification)
    if run is None:
        return
    metrics = run.panel.metrics
    predictions = run.panel.table
    view = metrics.get("two_class") or {}
    areas = view.get("auc_per_fold") or [None] * len(metrics["folds"])
    classes = predictions.classes
    for (fold, rows), auc in zip(predictions.fold_rows(), areas, strict=True):
        yield figure_of(f"fold {fold}: auc", (auc, None))
        matrix = confusion(predictions.labels[rows], predictions.predicted[rows], len(classes))
        for (row, true), (column, called) in product(enumerate(classes), repeat=2):
            count = matrix[row, column]
            total = matrix[row].sum()
            share = float(count / total) if total else None
            name = f"fold {fold}: {true} predicted as {called}, {count:.0f} of {total:.0f}"
            yield figure_of(name, (share, None))
    yield figure_of("mean of the folds: auc", (view.get("auc_mean"), None))


def learning_gap(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Show the accuracy in training minus that in validation at the last epoch, as mean over folds."""
    for name, published in table["rows"].items():
        run = runs.obtained.get((name, magnification))
        gaps = [
            fold["accuracy"][-1] - fold["val_accuracy"][-1]
            for fold in (run.files["run"].get("curves", {}).values() if run else ())
            if fold.get("accuracy") and fold.get("val_accuracy")
        ]
        yield figure_of(name, ((float(np.mean(gaps)) if gaps else None), None), published)


def training_time(runs: Runs, _: int | None, table: Published) -> Figures:
    """Show the training time per sample in milliseconds, as median of all measurements."""
    for name, published in table["rows"].items():
        times = runs.times.get(name)
        median = float(np.median(times)) if times else None
        yield figure_of(name, (median, None), published, digits=2, times=1000.0)


def parameters(runs: Runs, _: int | None, table: Published) -> Figures:
    """Compare the number of parameters of each network, in millions."""
    for name, published in table["rows"].items():
        size = runs.sizes.get(name)
        yield figure_of(name, (size, None), published, digits=table["digits"], times=1e-6)
