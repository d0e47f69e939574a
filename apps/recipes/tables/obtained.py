"""The results of a recipe's variants, as the tables of published figures use them."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ....core import InputError
from ....core.formats import Floats, Integers, read_json, read_rows
from ....evaluate import (
    Figure,
    Panel,
    PredictionTable,
    aggregate,
    fold_error,
    metrics_of,
    read_predictions,
)
from ....evaluate.report import PublishedFigure

Value = tuple[float | None, tuple[float, float] | None]
"""A value (a fraction, or seconds) and its 95 % interval; None if it was not obtained."""

Key = tuple[str, int | None]
"""A row or a variant, and a magnification."""

Published = Mapping[str, Any]
"""A table of published figures, as a recipe has it."""


Figures = Iterator[PublishedFigure]
"""Rows of a table at one magnification."""

Metrics = dict[str, Any]
"""The figures of a table, as in ``metrics.json``."""

PATIENTS = "group, average"
"""Name of the table of patients, each with the mean of its images."""

VALIDATED = "validation"
"""Name of the table of the images that validated."""

_Row = tuple[str, int]
"""An image, and the fold that tests it."""

FUSION = "Model fusion"
"""Name of the row for the ensemble of all feature files."""


class StoreHits(NamedTuple):
    """Whether the models of a feature file, or the ensemble, predict each image correctly.

    Attributes
    ----------
    hits : ndarray of float64, shape (rows, seeds)
        1 if the model of a seed is right, else 0.
    averaged : ndarray of float64, shape (rows,)
        The same for the mean over seeds.
    folds : ndarray of int64, shape (rows,)
    units : ndarray of str, shape (rows,)
        The unit of resampling of each row: its group, or the image.
    """

    hits: Floats
    averaged: Floats
    folds: Integers
    units: npt.NDArray[np.str_]

    @property
    def by_fold(self) -> Floats:
        """Accuracies, shape (folds, seeds)."""
        return np.array(
            [self.hits[self.folds == number].mean(axis=0) for number in np.unique(self.folds)]
        )


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

    def table(self, suffix: str = "") -> Metrics | None:
        """Return the metrics of another level, such as ``image, vote``; None if there are none."""
        if not suffix:
            return self.panel.metrics
        if suffix == VALIDATED:
            return self._of_validated
        tables: dict[str, Metrics] = self.files["tables"]
        for name, metrics in tables.items():
            if name.endswith(f" ({suffix})"):
                return metrics
        if suffix == PATIENTS:
            return self._patients
        return None

    @functools.cached_property
    def validated(self) -> PredictionTable | None:
        """Predictions of the images that validated; None if there were none."""
        path = self.folder / "predictions-validation.csv"
        if not path.is_file():
            return None
        return read_predictions(path, classes=self.panel.table.classes)[0]

    @functools.cached_property
    def _of_validated(self) -> Metrics | None:
        if self.validated is None:
            return None
        return metrics_of(self.validated)

    @functools.cached_property
    def _patients(self) -> Metrics | None:
        """The metrics of patients, which ``metrics.json`` of an ensemble does not contain."""
        with contextlib.suppress(InputError):  # groups are unknown, or have images of two classes
            return metrics_of(aggregate(self.panel.table))
        return None

    @functools.cached_property
    def stores(self) -> dict[str, StoreHits]:
        """For an ensemble, the correct predictions of each feature file and of the ensemble."""
        scores: dict[str, dict[_Row, list[list[float]]]] = {}
        labels: dict[_Row, int] = {}
        units: dict[_Row, str] = {}
        of_models = read_rows(self.folder / "predictions-by-model.csv")
        # those of the ensemble name no feature file
        for row in itertools.chain(of_models, read_rows(self.folder / "predictions.csv")):
            columns = [column for column in row if column.startswith("p_")]
            label = f"p_{row['label']}"
            key = (row["image_id"], int(row["fold"]))
            labels[key] = columns.index(label) if label in columns else -1
            units[key] = row["group"] or row["image_id"]
            scores_of_store = scores.setdefault(row.get("store", FUSION), {})
            scores_of_store.setdefault(key, []).append([float(row[column]) for column in columns])
        stores = {}
        for name, scores_of_store in scores.items():
            values = np.array([*scores_of_store.values()])
            true = np.array([labels[key] for key in scores_of_store])
            stores[name] = StoreHits(
                hits=(values.argmax(axis=2) == true[:, np.newaxis]).astype(np.float64),
                averaged=(values.sum(axis=1).argmax(axis=1) == true).astype(np.float64),
                folds=np.array([fold for _, fold in scores_of_store]),
                units=np.array([units[key] for key in scores_of_store]),
            )
        return stores


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
    times : mapping of str to sequence of float
        Variant to the training seconds per sample, measured in several rounds.
    sizes : mapping of str to int
        Variant to the number of parameters of its network, for the variants in tables of parameters.
    tested : mapping of str to str
        Test image, as `stem_of` names it, to the class that the published variant predicts.
    """

    first: str
    obtained: Results
    magnifications: Sequence[int | None]
    times: Mapping[str, Sequence[float]]
    sizes: Mapping[str, int]
    tested: Mapping[str, str]

    def of(self, table: Published, magnification: int | None) -> Obtained | None:
        """Return the results of the variant of a table; None if it was not run."""
        variant = str(table.get("variant", self.first))
        return self.obtained.get((variant, magnification))


def value_in(figure: Figure | Mapping[str, Any] | None) -> Value:
    """Return the value and the interval of a figure of ``metrics.json``."""
    if figure is None:
        return None, None
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


def mean_change(changes: Sequence[float], *, share: float = 0.0) -> tuple[float, float]:
    """Return the mean of at least two differences, and half its 95 % interval; `share` is as in `fold_error`."""
    from scipy.stats import t as student

    middle, error = fold_error(changes, [1.0] * len(changes), share=share)
    return middle, float(student.ppf(0.975, len(changes) - 1)) * error
