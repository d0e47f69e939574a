"""The results of a recipe's variants, as the tables of published figures use them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....core import InputError
from ....core.formats import Floats, read_json, read_rows
from ....evaluate import (
    Figure,
    Panel,
    PredictionTable,
    aggregate,
    metrics_of,
    read_predictions,
    take_rows,
)
from ....evaluate.report import PublishedFigure

Value = tuple[float | None, tuple[float, float] | None]
"""A value and its 95 % interval; None if it was not obtained."""

Key = tuple[str, int | None]
"""A variant, and a magnification."""

Published = Mapping[str, Any]
"""A table of published figures, as a recipe has it."""

FUSION = "Model fusion"
"""Name of the row for the ensemble of all feature files."""

_PATIENTS = "group, average"
"""Name of the table of patients, each with the mean of its images."""


@dataclass(frozen=True)
class Obtained:
    """The results of a variant.

    Attributes
    ----------
    folder : Path
        Folder with ``metrics.json``.
    panel : Panel
        Predictions of images and their metrics.
    """

    folder: Path
    panel: Panel

    @functools.cached_property
    def files(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        return dict(read_json(self.folder / "metrics.json"))

    def value(self, level: str, path: str) -> Value:
        """Return a figure of a level and its interval.

        Parameters
        ----------
        level : str
            Empty for the test images. ``validation`` for those that validated, ``fold 3`` for those of one fold; or
            what is in brackets behind the name of the first table in ``metrics.json``: ``patch``, ``image, vote``.
        path : str
            Names in ``metrics.json`` below that table, such as ``per_class malignant recall`` or ``two_class thresholds
            0.5 sensitivity``. A path that ends with ``value`` leaves out the interval. Also ``confidence``, the mean
            probability of the predicted class; ``auc_mean``, the mean AUC over the networks of the folds, which has an
            interval only with a single fold; and ``gap``, the accuracy in training minus that in validation at the last
            epoch, as mean over folds.
        """
        if path == "gap":
            return self._gap(), None
        metrics = self._metrics(level)
        if metrics is None:
            return None, None
        if path == "confidence":
            return _mean_confidence(metrics), None
        if path == "auc_mean":
            path = "two_class auc_mean" if len(metrics["folds"]) > 1 else "auc"
        entry: Any = metrics
        try:
            for name in path.split():
                if isinstance(
                    entry, list
                ):  # such as of thresholds, which have no other name than their first value
                    entry = {str(next(iter(item.values()))): item for item in entry}
                entry = entry[name]
        except (KeyError, TypeError):
            return None, None
        return value_in(entry)

    def _metrics(self, level: str) -> Mapping[str, Any] | None:
        """Return the metrics of a level; None if there are none."""
        if not level:
            return self.panel.metrics
        if level == "validation":
            return None if self.validated is None else metrics_of(self.validated)
        if level.startswith("fold "):
            rows = np.flatnonzero(self.panel.table.fold_array == int(level.removeprefix("fold ")))
            if not rows.size:
                return None
            return metrics_of(take_rows(self.panel.table, rows), self.panel.view)
        tables = self.files["tables"]
        metrics = tables.get(f"{next(iter(tables))} ({level})")
        if metrics is not None:
            return dict(metrics)
        if level == _PATIENTS:  # which an ensemble does not write
            with contextlib.suppress(
                InputError
            ):  # groups are unknown, or have images of two classes
                return metrics_of(aggregate(self.panel.table))
        return None

    @functools.cached_property
    def validated(self) -> PredictionTable | None:
        """Predictions of the images that validated; None if there were none."""
        path = self.folder / "predictions-validation.csv"
        if not path.is_file():
            return None
        return read_predictions(path, classes=self.panel.table.classes)[0]

    def _gap(self) -> float | None:
        gaps = [
            fold["accuracy"][-1] - fold["val_accuracy"][-1]
            for fold in self.files["run"].get("curves", {}).values()
            if fold.get("accuracy") and fold.get("val_accuracy")
        ]
        return float(np.mean(gaps)) if gaps else None

    @functools.cached_property
    def hits(self) -> dict[str, Floats]:
        """For an ensemble, whether the models of each feature file, or the ensemble, predict each row correctly.

        The arrays have shape (rows, seeds); 1 is right.
        """
        table = self.panel.table
        columns = [f"p_{name}" for name in table.classes]
        hits: dict[str, dict[tuple[str, int | None], list[float]]] = {}
        for row in read_rows(self.folder / "predictions-by-model.csv"):
            highest = columns[int(np.argmax([float(row[column]) for column in columns]))]
            hits_of_row = hits.setdefault(row["store"], {})
            key = (row["image_id"], int(row["fold"]))
            hits_of_row.setdefault(key, []).append(float(highest == f"p_{row['label']}"))
        keys = list(zip(table.image_ids, table.folds, strict=True))
        stores = {name: np.array([rows[key] for key in keys]) for name, rows in hits.items()}
        return {**stores, FUSION: table.hits[:, np.newaxis].astype(np.float64)}

    def by_fold(self, store: str) -> Floats:
        """Return the accuracies of a feature file in percent, shape (folds, seeds)."""
        rows = (self.hits[store][inside] for _, inside in self.panel.table.fold_rows())
        return np.array([100 * hits.mean(axis=0) for hits in rows])


Results = Mapping[Key, Obtained]
"""The results of the variants with one seed."""


@dataclass(frozen=True)
class Runs:
    """The results of all variants at each magnification.

    Attributes
    ----------
    first : str
        The published variant, which is used for tables without a variant.
    obtained : mapping
        Variant and magnification (None if the recipe does not separate them) to the results.
    magnifications : sequence of int or None
        All magnifications of the recipe.
    parameters : mapping of str to int
        Variant to the size of its network.
    tested : mapping of str to str
        Test image, as `stem_of` names it, to the class that the published variant predicts.
    """

    first: str
    obtained: Results
    magnifications: Sequence[int | None]
    parameters: Mapping[str, int]
    tested: Mapping[str, str]

    def of(self, table: Published, magnification: int | None) -> Obtained | None:
        """Return the results of the variant of a table; None if it was not run."""
        variant = str(table.get("variant", self.first))
        return self.obtained.get((variant, magnification))

    def value(self, key: Key, level: str, path: str) -> Value:
        """Return a figure of a variant, see `Obtained.value`; or the ``parameters`` of its network."""
        if path == "parameters":
            return self.parameters.get(key[0]), None
        if key not in self.obtained:
            return None, None
        return self.obtained[key].value(level, path)


def _mean_confidence(metrics: Mapping[str, Any]) -> float | None:
    """Return the mean probability of the predicted class; None without rows."""
    bins = (metrics.get("calibration") or {}).get("bins", ())
    rows = sum(entry["n"] for entry in bins)
    if not rows:
        return None
    return float(sum(entry["n"] * entry["confidence"] for entry in bins) / rows)


def value_in(figure: Figure | Mapping[str, Any] | float | None) -> Value:
    """Return the value and the interval of a figure of ``metrics.json``; a plain number has none."""
    if figure is None or isinstance(figure, (int, float)):
        return figure, None
    interval = figure["interval"]
    if interval:
        interval = tuple(interval)
    return figure["value"], interval


def figure_of(
    name: str,
    value: Value,
    published: float | None = None,
    *,
    digits: int = 1,
    times: float | None = None,
) -> PublishedFigure:
    """Return the figure of a value: in percent, multiplied by `times` if given, or unchanged with three decimals."""
    factor = times
    if factor is None:
        factor = 1.0 if digits == 3 else 100.0
    figure = PublishedFigure(name, published, None, digits=digits)
    obtained, interval = value
    if obtained is not None:
        figure = replace(figure, obtained=factor * obtained)
    if interval is not None:
        figure = replace(figure, interval=(factor * interval[0], factor * interval[1]))
    return figure
