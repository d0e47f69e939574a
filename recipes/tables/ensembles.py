"""Published figures of a boosted ensemble beside those of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...evaluate import CROSS_VALIDATION, PredictionTable, PublishedFigure, fold_error, share_interval
from ...jobs import read_records
from .obtained import Compared, Obtained, Points, Runs, percent, share_of


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
    """

    table: PredictionTable
    metrics: dict[str, Any]
    hits: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[str]]]


def by_store(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the mean accuracy over folds of each store, and of their fusion.

    A row that names a variant is about a store of that one, and stands there without a figure where it was not run.
    """
    main = str(table.get("variant", runs.first))
    points: Points = {}
    by_row: dict[str, list[PublishedFigure]] = {}
    others = {str(row.get("variant", main)) for row in table["rows"].values()} - {main}
    for variant in (main, *sorted(others)):
        rows = {name: row for name, row in table["rows"].items() if row.get("variant", main) == variant}
        own = {**table, "variant": variant, "rows": rows}
        found, figures = _compared(runs, own, _stores_of)
        if variant != main:  # its other stores are those of the main one once more
            figures = [one for one in figures if one.name.partition(" at ")[0] in rows]
            found = {key: value for key, value in found.items() if key[0] in rows}
            figures = figures or [PublishedFigure(name, row["mean"], None, row["std"]) for name, row in rows.items()]
        points |= found
        for one in figures:
            by_row.setdefault(one.name.partition(" at ")[0], []).append(one)
    listed = [figure for name in table["rows"] for figure in by_row.pop(name, [])]
    return points, [*listed, *(figure for more in by_row.values() for figure in more)]


def fusion_by_fold(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the accuracy of the fusion in each fold."""
    return _compared(runs, table, _fusion_of)


def two_class(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the two-class view of the fusion: accuracy, AUC, and both sides at each threshold."""
    return _compared(runs, table, _two_class_of)


def confusion(runs: Runs, table: Mapping[str, Any]) -> Compared:
    """Compare the confusion matrix of the fusion, as shares of the true class."""
    return _compared(runs, table, _confusion_of)


def _compared(
    runs: Runs, table: Mapping[str, Any], figures_of: Callable[[_Run, Mapping[str, Any]], list[PublishedFigure]]
) -> Compared:
    points: Points = {}
    figures = []
    for magnification, obtained in runs.of(table):
        for figure in figures_of(_read(obtained), table):
            if figure.obtained is not None:
                points[figure.name, magnification] = figure.obtained
            where = "" if magnification is None else f" at {magnification}x"
            figures.append(replace(figure, name=f"{figure.name}{where}"))
    return points, figures


def _read(obtained: Obtained) -> _Run:
    by_image: dict[str, dict[tuple[str, int], list[float]]] = {}
    units: dict[tuple[str, int], str] = {}
    for name, store in (("predictions-by-model.csv", None), ("predictions.csv", "Model fusion")):
        with (obtained.folder / name).open(newline="", encoding="utf-8") as handle:
            reader = read_records(handle)
            scores = [column for column in reader.fieldnames or () if column.startswith("p_")]
            for row in reader:
                values = [float(row[column]) for column in scores]
                right = scores[int(np.argmax(values))] == f"p_{row['label']}"
                key = (row["image_id"], int(row["fold"]))
                by_image.setdefault(store or row["store"], {}).setdefault(key, []).append(float(right))
                units[key] = row["group"] or row["image_id"]
    hits = {
        store: (
            np.array(list(found.values())),
            np.array([fold for _, fold in found]),
            [units[key] for key in found],
        )
        for store, found in by_image.items()
    }
    return _Run(obtained.panel.table, obtained.files["tables"], hits)


def _mean_figure(
    run: _Run,
    name: str,
    published: float | None,
    published_spread: float | None = None,
    fold: int | None = None,
    published_folds: Sequence[float] = (),
) -> PublishedFigure:
    """Compare a mean over folds, or one fold; the interval resamples images and keeps the seeds.

    The spread is that over all folds and seeds: the paper's is larger than that of its row of seed means, which is all
    that it can mean otherwise.
    """
    label = name if fold is None else f"fold {fold}"
    if name not in run.hits:
        return PublishedFigure(label, published, None, published_spread)
    hits, folds, units = run.hits[name]
    inside = np.ones(len(hits), dtype=bool) if fold is None else folds == fold
    if not inside.any():
        return PublishedFigure(label, published, None, published_spread)
    if fold is not None:
        of_fold = share_interval(hits[inside].mean(axis=1), np.array(units)[inside])
        return PublishedFigure(
            label, published, 100 * float(hits[inside].mean()), interval=percent(of_fold.ends if of_fold else None)
        )
    per_fold = 100 * np.array([hits[folds == number].mean(axis=0) for number in np.unique(folds)])
    several = CROSS_VALIDATION if len(per_fold) > 1 else 1.0
    whole = share_interval(hits.mean(axis=1), units, widen=several)
    return PublishedFigure(
        label,
        published,
        float(per_fold.mean()),
        published_spread,
        float(per_fold.std()) if per_fold.size > 1 else None,
        percent(whole.ends if whole else None),
        paired=_by_folds(per_fold.mean(axis=1), published_folds),
    )


def _by_folds(obtained: npt.NDArray[np.float64], published: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of the difference over the folds of a partition, of which the source gives each.

    Models of both share their training parts from fold to fold, hence the correction of Nadeau and Bengio.
    """
    from scipy.stats import t as student

    if len(published) != len(obtained) or len(obtained) < 2:
        return None
    change = (obtained - np.array(published)).tolist()
    middle, error = fold_error(change, [1.0] * len(change), share=1.0 / (len(change) - 1))
    half = float(student.ppf(0.975, len(change) - 1)) * error
    return middle - half, middle + half


def _stores_of(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    named = [
        _mean_figure(run, name, row["mean"], row["std"], published_folds=row.get("folds", ()))
        for name, row in table["rows"].items()
    ]
    more = [_mean_figure(run, name, None) for name in run.hits if name not in table["rows"]]
    return [*named, *more]


def _fusion_of(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    return [
        _mean_figure(run, "Model fusion", value, fold=number) for number, value in enumerate(table["values"], start=1)
    ]


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _two_class_of(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    view, intervals = run.metrics["fusion"].get("two_class"), run.metrics["fusion"]["intervals"]
    if view is None:  # classes without a known positive side
        view = {"accuracy": None, "accuracy_std": None, "auc": None, "thresholds": []}

    def interval(entry: Any, *, times: float = 100.0) -> tuple[float, float] | None:
        return None if entry is None else (times * entry[0], times * entry[1])

    inside = intervals.get("two_class", {})
    accuracy = table["accuracy"]
    figures = [
        PublishedFigure(
            "accuracy, percent", accuracy["mean"], _times(100, view["accuracy"]), accuracy["std"],
            _times(100, view["accuracy_std"]) if len(run.metrics["fusion"]["folds"]) > 1 else None,
            interval(inside.get("accuracy")),
        ),
        PublishedFigure(
            "AUC", table["auc"], view["auc"], interval=interval(inside.get("auc"), times=1.0), digits=3
        ),
    ]  # fmt: skip
    obtained = {point["threshold"]: point for point in view["thresholds"]}
    bounds = {point["threshold"]: point for point in inside.get("thresholds", [])}
    for point in table["set_points"]:
        threshold = point["threshold"]
        for side in ("sensitivity", "specificity"):
            value = obtained.get(threshold, {}).get(side)
            figures.append(
                PublishedFigure(
                    f"{side} at {threshold:g}, percent", point[side], None if value is None else 100 * value,
                    interval=interval(bounds.get(threshold, {}).get(side)),
                )
            )  # fmt: skip
    return figures


def _confusion_of(run: _Run, table: Mapping[str, Any]) -> list[PublishedFigure]:
    metrics = run.metrics["fusion"]
    figures = []
    for true, counts in zip(table["classes"], table["matrix"], strict=True):
        for predicted, count in zip(table["classes"], counts, strict=True):
            name, published = f"{true} called {predicted}", 100 * count / sum(counts)
            if true not in metrics["classes"] or predicted not in metrics["classes"]:
                figures.append(PublishedFigure(name, published, None))
                continue
            places = [metrics["classes"].index(label) for label in (true, predicted)]
            share, interval = share_of(run.table, run.table.labels == places[0], run.table.predicted == places[1])
            figures.append(PublishedFigure(name, published, _times(100, share), interval=percent(interval)))
    return figures
