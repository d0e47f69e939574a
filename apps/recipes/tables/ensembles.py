"""Compares published figures of a boosted ensemble with those of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import PurePath
from typing import Any

import numpy as np

from ....data import match_class
from ....evaluate import CROSS_VALIDATION, Figure, PredictionTable, Units, share_interval, two_sides
from ....evaluate.report import PublishedFigure
from .obtained import (
    FUSION,
    Figures,
    Floats,
    Key,
    Obtained,
    Published,
    Results,
    Runs,
    StoreHits,
    Value,
    figure_of,
    mean_change,
    value_in,
)


def by_store(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the mean accuracy over folds of each feature file, and of the ensemble.

    A row with a variant is a feature file of that variant; if it was not run, the row has no obtained figure.
    """
    main = str(table.get("variant", runs.first))
    rows = table["rows"]
    main_run = runs.of(table, magnification)
    names = [*rows]
    if main_run is not None:
        names += main_run.stores
    for name in dict.fromkeys(names):
        row = rows.get(name, {"mean": None, "std": None})
        variant = str(row.get("variant", main))
        if variant == main and main_run is None:
            continue
        run = runs.obtained.get((variant, magnification))
        figure = PublishedFigure(name, row["mean"], None, row["std"])
        if run is not None and name in run.stores:
            figure = _of_store(figure, run.stores[name], row.get("folds", ()))
        yield figure


def _of_store(
    figure: PublishedFigure, store: StoreHits, published: Sequence[float]
) -> PublishedFigure:
    """Compare a mean over folds; the interval resamples images and keeps the seeds.

    The SD is over all folds and seeds, since the paper's SD is larger than the SD of its printed means over seeds. If
    the source prints each fold of the partition, the difference has an interval over folds. Folds share training
    images, so it uses the correction of Nadeau and Bengio.
    """
    per_fold = 100 * store.by_fold
    widen = CROSS_VALIDATION if len(per_fold) > 1 else 1.0
    figure = replace(
        figure,
        obtained=float(per_fold.mean()),
        interval=_percent(share_interval(store.hits.mean(axis=1), store.units, widen=widen)),
        paired=_over_folds(per_fold.mean(axis=1), published),
    )
    if per_fold.size > 1:
        figure = replace(figure, obtained_spread=float(per_fold.std()))
    return figure


def _over_folds(obtained: Floats, published: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of the mean difference over folds; None unless the source prints each of them."""
    if len(published) != len(obtained) or len(obtained) < 2:
        return None
    return _interval_over_folds(obtained - np.array(published))[1]


def _interval_over_folds(changes: Floats) -> tuple[float, tuple[float, float]]:
    """Return the mean of a difference in each fold, and its interval; folds share training images."""
    middle, half = mean_change(changes.tolist(), share=1.0 / (len(changes) - 1))
    return middle, (middle - half, middle + half)


def _percent(share: Figure | None) -> tuple[float, float] | None:
    if share is None or share.reason:
        return None
    return 100 * share.low, 100 * share.high


def fusion_by_fold(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the accuracy of the ensemble in each fold, of all classes or of its two-class view."""
    run = runs.of(table, magnification)
    if run is None:
        return
    predictions = run.panel.table
    units = np.array(Units.of(predictions).member, dtype=np.str_)
    right = _right(run, two_class=table["kind"] == "two_class_folds")
    for fold, published in enumerate(table["values"], start=1):
        figure = PublishedFigure(f"fold {fold}", published, None)
        inside = predictions.fold_array == fold
        if right is not None and inside.any():
            interval = _percent(share_interval(right[inside], units[inside]))
            figure = replace(figure, obtained=100 * float(right[inside].mean()), interval=interval)
        yield figure


def _right(run: Obtained, *, two_class: bool) -> Floats | None:
    """Return 1 for each row that the ensemble predicts correctly, else 0; None without a two-class view."""
    predictions = run.panel.table
    if not two_class:
        return predictions.hits.astype(np.float64)
    view = run.panel.metrics.get("two_class")
    if view is None:
        return None
    sides = two_sides(predictions, view["positive"], view["rule"])
    return np.asarray(sides.right, dtype=np.float64)


def gain_by_fold(seeds: Sequence[Results], key: Key, variant: str, *, better: Any) -> Floats:
    """Return the gain in accuracy of something better over a single feature file in each fold.

    Parameters
    ----------
    seeds : sequence of mapping
        The results of each seed; the gain is the mean over seeds.
    key : (store, magnification)
        The feature file, and a magnification.
    variant : str
    better : {"fusion", "seeds"} or mapping
        What gains: the ensemble, averaging seeds, or another feature file, by the name of the single one.

    Returns
    -------
    ndarray of float64, shape (folds,)
        Empty if the feature file was not used.
    """
    store, magnification = key
    gains = [
        _gains(seed[variant, magnification].stores, store, better)
        for seed in seeds
        if (variant, magnification) in seed
    ]
    if not gains:
        return np.empty(0)
    return np.asarray(np.mean(gains, axis=0))


def _gains(stores: Mapping[str, StoreHits], name: str, better: Any) -> Floats:
    """Return the gains over a feature file with one seed."""
    if name not in stores:
        return np.empty(0)
    if isinstance(better, Mapping):
        if better.get(name) not in stores:
            return np.empty(0)
        return np.asarray((stores[better[name]].by_fold - stores[name].by_fold).mean(axis=1))
    hits = stores[name if better == "seeds" else FUSION]
    means = np.array([hits.averaged[hits.folds == fold].mean() for fold in np.unique(hits.folds)])
    return np.asarray(means - stores[name].by_fold.mean(axis=1))


def gains(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the gain of the ensemble, of averaging seeds, or of another feature file, over each feature file."""
    for name, published in table["rows"].items():
        folds = gain_by_fold(
            [runs.obtained],
            (name, magnification),
            table.get("variant", runs.first),
            better=table["of"],
        )
        value: Value = (None, None)
        if len(folds) > 1:
            value = _interval_over_folds(folds)
        elif folds.size:
            value = (float(folds.mean()), None)
        yield figure_of(name, value, published)


def spreads(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare standard deviations of accuracies: over feature files in each fold, and over folds (and seeds)."""
    run = runs.of(table, magnification)
    if run is None:
        return
    accuracies = [100 * run.stores[name].by_fold for name in table["stores"] if name in run.stores]
    over_stores: list[float] = []
    if len(accuracies) > 1:
        over_stores = np.std([store.mean(axis=1) for store in accuracies], axis=0).tolist()
    for index, published in enumerate(table["folds"]):
        obtained = over_stores[index] if index < len(over_stores) else None
        yield PublishedFigure(f"over the feature files, fold {index + 1}", published, obtained)
    fused = 100 * run.stores[FUSION].by_fold
    over_folds = None
    fusion = None
    ratio = None
    if len(fused) > 1 and accuracies:
        over_folds = float(np.mean([store.std() for store in accuracies]))
        fusion = float(fused.std())
        if over_folds:
            ratio = fusion / over_folds
    yield PublishedFigure(
        "over the feature files, mean of the folds",
        table["over_stores"],
        float(np.mean(over_stores)) if over_stores else None,
    )
    yield PublishedFigure(
        "over the folds, mean of the feature files", table["over_folds"], over_folds
    )
    yield PublishedFigure("over the folds, ensemble", table["fusion"], fusion)
    yield PublishedFigure(
        "ensemble by mean of the feature files",
        table["fusion"] / table["over_folds"],
        ratio,
        digits=2,
    )


def two_class(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the two-class view of the ensemble: accuracy, AUC, sensitivity and specificity at each threshold."""
    run = runs.of(table, magnification)
    if run is None:
        return
    metrics = run.files["tables"]["fusion"]
    # without known positive classes there is no two-class view
    view = metrics.get("two_class") or {}
    spread = view.get("accuracy_std")
    published = table["accuracy"]
    figure = figure_of("accuracy, percent", value_in(view.get("accuracy")), published["mean"])
    figure = replace(figure, published_spread=published["std"])
    if len(metrics["folds"]) > 1 and spread is not None:
        figure = replace(figure, obtained_spread=100.0 * spread)
    right = _right(run, two_class=True)
    if right is not None:
        by_fold = [100 * right[rows].mean() for _, rows in run.panel.table.fold_rows()]
        figure = replace(figure, paired=_over_folds(np.array(by_fold), published.get("folds", ())))
    yield figure
    # scores of folds come from different models, so that bchisto's own AUC is of pairs within a fold; a source that
    # ranks all images together is compared with the same, which has no interval
    within = value_in(view.get("auc"))
    pooled = view.get("auc_pooled", within[0])
    yield figure_of("AUC, all images ranked together", (pooled, None), table["auc"], digits=3)
    yield figure_of("AUC, images ranked within each fold", within, digits=3)
    obtained = {point["threshold"]: point for point in view.get("thresholds", ())}
    for point, side in product(table["set_points"], ("sensitivity", "specificity")):
        threshold = point["threshold"]
        value, _ = value_in(obtained.get(threshold, {}).get(side))
        yield figure_of(f"{side} at {threshold:g}, percent", (value, None), point[side])


def confusion(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the confusion matrix of the ensemble, as fractions of the true class."""
    run = runs.of(table, magnification)
    if run is None:
        return
    for true, counts in zip(table["classes"], table["matrix"], strict=True):
        for predicted, count in zip(table["classes"], counts, strict=True):
            value = _share_predicted(run.panel.table, true, predicted)
            yield figure_of(f"{true} predicted as {predicted}", value, 100 * count / sum(counts))


def _share_predicted(predictions: PredictionTable, true: str, predicted: str) -> Value:
    """Return the fraction of a class that is predicted as a class."""
    classes = predictions.classes
    if true not in classes or predicted not in classes:
        return None, None
    inside = predictions.labels == classes.index(true)
    right = predictions.predicted == classes.index(predicted)
    return value_in(Units.of(predictions).share(right, inside))


def published_predictions(table: Published) -> dict[str, str]:
    """Return the class of each test image that a source predicted, by the name of its file without the suffix."""
    return {stem_of(name): label for label, names in table["predictions"].items() for name in names}


def stem_of(name: str) -> str:
    """Return the name of a file as test images are compared: without folder, suffix and case."""
    return PurePath(name).stem.casefold()


def agreement(runs: Runs, _: int | None, table: Published) -> Figures:
    """Show the fraction of test images with the class that the source predicted: of all, and of each such class."""
    label_of = published_predictions(table)
    classes = list(table["predictions"])
    for name, labels in [("all classes", classes), *((label, [label]) for label in classes)]:
        images = [image for image, label in label_of.items() if label in labels]
        hits = [
            match_class(runs.tested[image], classes) == label_of[image]
            for image in images
            if image in runs.tested
        ]
        figure = PublishedFigure(name, None, None, cited=True, printed=f"{len(images)} images")
        if runs.tested:
            figure = replace(figure, printed=f"{len(hits)} of {len(images)} images")
        if hits:
            interval = _percent(share_interval(hits, range(len(hits))))
            figure = replace(figure, obtained=100 * sum(hits) / len(hits), interval=interval)
        yield figure
