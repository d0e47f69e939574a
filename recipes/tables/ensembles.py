"""Published figures of a boosted ensemble beside those of a run."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...evaluate import CROSS_VALIDATION, Interval, PredictionTable, PublishedFigure, Sampled, share_interval
from ...formats import read_records
from .obtained import Compared, Key, Obtained, Points, Runs, Value, figure_of, mean_change

FUSION = "Model fusion"
"""The row of all stores together."""


@dataclass(frozen=True)
class _Run:
    """What a protocol's folder holds.

    Attributes
    ----------
    table : PredictionTable
        Of the fusion.
    metrics : dict
        ``metrics.json``: table name to metrics.
    hits : dict of str to (ndarray, ndarray, list)
        Store (or ``Model fusion``) to whether each seed is right (rows, seeds), the fold of each row, and its unit of
        resampling (group or image).
    averaged : dict of str to ndarray
        Store to whether the mean of its seeds is right.
    """

    table: PredictionTable
    metrics: dict[str, Any]
    hits: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[str]]]
    averaged: dict[str, npt.NDArray[np.float64]]


def _read(obtained: Obtained) -> _Run:
    by_image: defaultdict[str, defaultdict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    units: dict[tuple[str, int], str] = {}
    sums: defaultdict[str, dict[tuple[str, int], npt.NDArray[np.float64]]] = defaultdict(dict)
    labels: dict[tuple[str, int], int] = {}
    for file, store in (("predictions-by-model.csv", None), ("predictions.csv", FUSION)):
        with (obtained.folder / file).open(newline="", encoding="utf-8") as handle:
            reader = read_records(handle)
            scores = [column for column in reader.fieldnames or () if column.startswith("p_")]
            for row in reader:
                values = np.array([float(row[column]) for column in scores])
                key, name = (row["image_id"], int(row["fold"])), store or row["store"]
                labels[key] = scores.index(f"p_{row['label']}") if f"p_{row['label']}" in scores else -1
                by_image[name][key].append(float(np.argmax(values) == labels[key]))
                sums[name][key] = sums[name].get(key, 0.0) + values
                units[key] = row["group"] or row["image_id"]
    hits = {
        store: (np.array([*found.values()]), np.array([fold for _, fold in found]), [units[key] for key in found])
        for store, found in by_image.items()
    }
    averaged = {
        store: np.array([float(np.argmax(total) == labels[key]) for key, total in found.items()])
        for store, found in sums.items()
    }
    return _Run(obtained.panel.table, obtained.files["tables"], hits, averaged)


_Figures = Callable[[_Run, Mapping[str, Any]], list[PublishedFigure]]


def _at_each(figures_of: _Figures) -> Callable[[Runs, Mapping[str, Any]], Compared]:
    """Return the comparison at every magnification that makes these figures at one.

    What it decorates takes a `_Run`; the result takes `Runs`, as `TableKind.compare` does.
    """

    @functools.wraps(figures_of)
    def compare(runs: Runs, table: Mapping[str, Any]) -> Compared:
        points: Points = {}
        figures = []
        for magnification, obtained in runs.of(table):
            for figure in figures_of(_read(obtained), table):
                if figure.obtained is not None:
                    points[figure.name, magnification] = figure.obtained
                where = "" if magnification is None else f" at {magnification}x"
                figures.append(replace(figure, name=f"{figure.name}{where}"))
        return points, figures

    return compare


@_at_each
def _stores(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    unknown = {"mean": None, "std": None}
    return [
        _of_store(run, name, table["rows"].get(name, unknown)) for name in dict.fromkeys([*table["rows"], *run.hits])
    ]


def _of_store(run: _Run, name: str, row: Mapping[str, Any]) -> PublishedFigure:
    """Compare a mean over folds; the interval resamples images and keeps the seeds.

    The spread is that over all folds and seeds: the paper's is larger than that of its row of seed means, which is all
    that it can mean otherwise.
    """
    figure = PublishedFigure(name, row["mean"], None, row["std"])
    if name not in run.hits:
        return figure
    hits, _, units = run.hits[name]
    per_fold = 100 * _by_fold(run, name)
    several = CROSS_VALIDATION if len(per_fold) > 1 else 1.0
    return replace(
        figure,
        obtained=float(per_fold.mean()),
        obtained_spread=float(per_fold.std()) if per_fold.size > 1 else None,
        interval=_percent(share_interval(hits.mean(axis=1), units, widen=several)),
        paired=_by_folds(per_fold.mean(axis=1), row.get("folds", ())),
    )


def _by_folds(obtained: npt.NDArray[np.float64], published: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of the difference over the folds of a partition, of which the source gives each.

    Models of both share their training parts from fold to fold, hence the correction of Nadeau and Bengio.
    """
    if len(published) != len(obtained) or len(obtained) < 2:
        return None
    middle, half = mean_change((obtained - np.array(published)).tolist(), share=1.0 / (len(obtained) - 1))
    return middle - half, middle + half


def _percent(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (100 * found.low, 100 * found.high)


def by_store(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the mean accuracy over folds of each store, and of their fusion.

    A row that names a variant is about a store of that one, and stands there without a figure where it was not run.
    """
    main = str(table.get("variant", runs.first))
    points: Points = {}
    figures: list[PublishedFigure] = []
    others = {str(row.get("variant", main)) for row in table["rows"].values()} - {main}
    for variant in (main, *sorted(others)):
        rows = {name: row for name, row in table["rows"].items() if row.get("variant", main) == variant}
        found, made = _stores(runs, {**table, "variant": variant, "rows": rows})
        if variant != main:  # its other stores are those of the main one once more
            found = {key: value for key, value in found.items() if key[0] in rows}
            made = [one for one in made if _row_of(one) in rows]
            made = made or [PublishedFigure(name, row["mean"], None, row["std"]) for name, row in rows.items()]
        points |= found
        figures += made
    order = [*dict.fromkeys([*table["rows"], *map(_row_of, figures)])]
    return points, sorted(figures, key=lambda figure: order.index(_row_of(figure)))


def _row_of(figure: PublishedFigure) -> str:
    return figure.name.partition(" at ")[0]


@_at_each
def fusion_by_fold(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    """Compare the accuracy of the fusion in each fold."""
    hits, folds, units = run.hits[FUSION]
    figures = []
    for fold, published in enumerate(table["values"], start=1):
        right = hits[folds == fold]
        figure = PublishedFigure(f"fold {fold}", published, 100 * float(right.mean()) if len(right) else None)
        found = share_interval(right.mean(axis=1), np.array(units)[folds == fold]) if len(right) else None
        figures.append(replace(figure, interval=_percent(found)))
    return figures


def gain_of(runs: Runs, key: Key, table: Mapping[str, Any], *, than: Key | None = None) -> Value:
    """Return by how much the fusion, or the mean of its seeds, is better than a store: mean over folds, and interval.

    Parameters
    ----------
    runs : Runs
        Of several seeds, their mean in each fold.
    key : (store, magnification)
    table : mapping
        ``of`` is ``fusion`` or ``seeds``.
    than : (store, magnification), optional
        Less the gain of this store.
    """
    variant, of = table.get("variant", runs.first), table["of"]
    changes = []
    for found in runs.seeds:
        if (variant, key[1]) in found:
            run = _read(found[variant, key[1]])
            changes.append(_gains(run, key[0], of) - (0.0 if than is None else _gains(run, than[0], of)))
    if not changes or not changes[0].size:
        return None, None
    folds = np.mean(changes, axis=0)
    if len(folds) < 2:
        return float(folds.mean()), None
    middle, half = mean_change(folds.tolist(), share=1.0 / (len(folds) - 1))
    return middle, (middle - half, middle + half)


def _gains(run: _Run, store: str, of: str) -> npt.NDArray[np.float64]:
    """Return the gain in each fold; nothing of a store that was not run."""
    if store not in run.hits:
        return np.empty(0)
    (_, folds, _), (_, fused, _) = run.hits[store], run.hits[FUSION]
    better, inside = (run.averaged[store], folds) if of == "seeds" else (run.averaged[FUSION], fused)
    means = np.array([better[inside == fold].mean() for fold in np.unique(folds)])
    return np.asarray(means - _by_fold(run, store).mean(axis=1))


def gains(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare by how much the fusion of stores, or the mean of the seeds of each, is better than each store."""
    alone = replace(runs, further=())
    points: Points = {}
    figures = []
    for (name, published), at in product(table["rows"].items(), runs.at):
        found = gain_of(alone, (name, at), table)
        if found[0] is not None:
            points[name, at] = found[0]
        figures.append(figure_of(name, found, published, magnification=at))
    return points, figures


@_at_each
def spreads(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    """Compare standard deviations of accuracies: over the stores in each fold, and over the folds (and seeds)."""
    known = [100 * _by_fold(run, name) for name in table["stores"] if name in run.hits]
    fused = 100 * _by_fold(run, FUSION)
    over_stores = np.std([found.mean(axis=1) for found in known], axis=0).tolist() if len(known) > 1 else []
    over_folds = [float(found.std()) for found in known] if len(fused) > 1 else []
    each, fusion = _mean(over_folds), float(fused.std()) if over_folds else None
    obtained = [*over_stores, *[None] * len(table["folds"])]
    return [
        *(PublishedFigure(f"over the stores, fold {place}", printed, found)
          for place, (printed, found) in enumerate(zip(table["folds"], obtained, strict=False), start=1)),
        PublishedFigure("over the stores, mean of the folds", table["over_stores"], _mean(over_stores)),
        PublishedFigure("over the folds, mean of the stores", table["over_folds"], each),
        PublishedFigure("over the folds, fusion", table["fusion"], fusion),
        PublishedFigure("fusion by mean of the stores", table["fusion"] / table["over_folds"],
                        fusion / each if fusion is not None and each else None, digits=2),
    ]  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _by_fold(run: _Run, name: str) -> npt.NDArray[np.float64]:
    """Return accuracies of shape (folds, seeds)."""
    hits, folds, _ = run.hits[name]
    return np.array([hits[folds == number].mean(axis=0) for number in np.unique(folds)])


@_at_each
def two_class(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    """Compare the two-class view of the fusion: accuracy, AUC, and both sides at each threshold."""
    metrics = run.metrics["fusion"]
    # classes without a known positive side have none
    view = metrics.get("two_class") or {"accuracy": None, "accuracy_std": None, "auc": None, "thresholds": []}
    inside, published = metrics["intervals"].get("two_class", {}), table["accuracy"]
    spread = view["accuracy_std"] if len(metrics["folds"]) > 1 else None
    accuracy = figure_of("accuracy, percent", (view["accuracy"], inside.get("accuracy")), published["mean"])
    figures = [
        replace(accuracy, published_spread=published["std"], obtained_spread=None if spread is None else 100 * spread),
        figure_of("AUC", (view["auc"], inside.get("auc")), table["auc"], digits=3),
    ]
    obtained = {point["threshold"]: point for point in view["thresholds"]}
    bounds = {point["threshold"]: point for point in inside.get("thresholds", [])}
    for point, side in product(table["set_points"], ("sensitivity", "specificity")):
        threshold = point["threshold"]
        value = obtained.get(threshold, {}).get(side), bounds.get(threshold, {}).get(side)
        figures.append(figure_of(f"{side} at {threshold:g}, percent", value, point[side]))
    return figures


@_at_each
def confusion(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    """Compare the confusion matrix of the fusion, as shares of the true class."""
    classes, predictions = run.metrics["fusion"]["classes"], run.table
    figures = []
    for true, counts in zip(table["classes"], table["matrix"], strict=True):
        for predicted, count in zip(table["classes"], counts, strict=True):
            value: Value = (None, None)
            if true in classes and predicted in classes:
                inside = predictions.labels == classes.index(true)
                right = predictions.predicted == classes.index(predicted)
                if (found := Sampled(predictions).share(right, inside)) is not None:
                    value = float(right[inside].mean()), (found.low, found.high)
            figures.append(figure_of(f"{true} called {predicted}", value, 100 * count / sum(counts)))
    return figures
