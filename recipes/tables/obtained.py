"""What the variants of a recipe gave, as the tables of published figures look it up, and how it becomes a figure."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import InputError
from ...evaluate import Panel, aggregate, fold_error, measure
from ...formats import read_json, read_records
from ...report import PublishedFigure

Value = tuple[float | None, tuple[float, float] | None]
"""A value (a share, or seconds) and its 95 % interval; None where it was not obtained."""

Key = tuple[str, int | None]
"""A row or a variant, and a magnification."""

Figures = Iterator[tuple[float | None, PublishedFigure]]
"""Rows of a table at one magnification: the value that a conclusion is about, and the figure."""

PATIENTS = "group, average"
"""The level of patients, each the mean of its images."""

FUSION = "Model fusion"
"""The row of all stores of an ensemble together."""


@dataclass(frozen=True)
class StoreHits:
    """Whether the models of a store, or the fusion of all, are right.

    Attributes
    ----------
    hits : ndarray of float64, shape (rows, seeds)
    averaged : ndarray of float64, shape (rows,)
        Whether the mean of the seeds is right.
    folds : ndarray of int64, shape (rows,)
    units : ndarray of str, shape (rows,)
        The unit of resampling of each row: its group, or the image.
    """

    hits: npt.NDArray[np.float64]
    averaged: npt.NDArray[np.float64]
    folds: npt.NDArray[np.int64]
    units: npt.NDArray[np.str_]

    @property
    def by_fold(self) -> npt.NDArray[np.float64]:
        """Accuracies, shape (folds, seeds)."""
        return np.array([self.hits[self.folds == number].mean(axis=0) for number in np.unique(self.folds)])


@dataclass(frozen=True)
class Obtained:
    """What a variant gave.

    Attributes
    ----------
    folder : Path
        With ``metrics.json``.
    panel : Panel
        Predictions of images and their metrics.
    """

    folder: Path
    panel: Panel

    @functools.cached_property
    def files(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        content: dict[str, Any] = read_json(self.folder / "metrics.json")
        return content

    def table(self, suffix: str = "") -> dict[str, Any] | None:
        """Return the metrics of another level, such as ``image, vote``; None where there are none."""
        if not suffix:
            return self.panel.metrics
        tables: dict[str, dict[str, Any]] = self.files["tables"]
        written = next((metrics for name, metrics in tables.items() if name.endswith(f" ({suffix})")), None)
        return self._patients if written is None and suffix == PATIENTS else written

    @functools.cached_property
    def _patients(self) -> dict[str, Any] | None:
        """The metrics of patients, which an ensemble does not write."""
        try:
            return measure(aggregate(self.panel.table))
        except InputError:  # groups unknown, or of two classes
            return None

    @functools.cached_property
    def stores(self) -> dict[str, StoreHits]:
        """Of an ensemble, what each store and the fusion got right."""
        scores: dict[str, dict[tuple[str, int], list[list[float]]]] = {}
        labels: dict[tuple[str, int], int] = {}
        units: dict[tuple[str, int], str] = {}
        for file in ("predictions-by-model.csv", "predictions.csv"):
            with (self.folder / file).open(newline="", encoding="utf-8") as handle:
                reader = read_records(handle)
                columns = [column for column in reader.fieldnames or () if column.startswith("p_")]
                for row in reader:
                    key, label = (row["image_id"], int(row["fold"])), f"p_{row['label']}"
                    labels[key] = columns.index(label) if label in columns else -1
                    units[key] = row["group"] or row["image_id"]
                    store = scores.setdefault(row.get("store", FUSION), {})
                    store.setdefault(key, []).append([float(row[column]) for column in columns])
        stores = {}
        for name, by_image in scores.items():
            shares, wanted = np.array([*by_image.values()]), np.array([labels[key] for key in by_image])
            stores[name] = StoreHits(
                (shares.argmax(axis=2) == wanted[:, np.newaxis]).astype(np.float64),
                (shares.sum(axis=1).argmax(axis=1) == wanted).astype(np.float64),
                np.array([fold for _, fold in by_image]),
                np.array([units[key] for key in by_image]),
            )
        return stores


@dataclass(frozen=True)
class Runs:
    """What all variants gave, at each magnification.

    Attributes
    ----------
    first : str
        The published variant, which tables are about that name none.
    obtained : mapping
        Variant and magnification (None where the recipe does not tell them apart) to what it gave.
    magnifications : sequence of int or None
        All of the recipe.
    further : sequence of mapping
        The same as `obtained`, of further seeds.
    times : mapping of str to sequence of float
        Variant to the seconds that a sample took to train, timed several times in turns.
    sizes : mapping of str to int
        Variant to the number of parameters of its network, of those that a table asks for.
    """

    first: str
    obtained: Mapping[tuple[str, int | None], Obtained] = field(default_factory=dict)
    magnifications: Sequence[int | None] = (None,)
    further: Sequence[Mapping[tuple[str, int | None], Obtained]] = ()
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def seeds(self) -> list[Mapping[tuple[str, int | None], Obtained]]:
        """What was run, of each seed."""
        return [self.obtained, *self.further]

    @property
    def at(self) -> list[int | None]:
        """Magnifications at which something was run."""
        return [at for at in self.magnifications if any(key[1] == at for key in self.obtained)]

    def get(self, variant: str, magnification: int | None) -> Obtained | None:
        """Return what a variant gave; None where it was not run."""
        return self.obtained.get((variant, magnification))

    def of(self, table: Mapping[str, Any], magnification: int | None) -> Obtained | None:
        """Return what the one variant gave that a table is about."""
        return self.get(str(table.get("variant", self.first)), magnification)


def figure_of(
    name: str,
    value: Value,
    published: float | None = None,
    *,
    digits: int = 1,
    times: float | None = None,
    published_spread: float | None = None,
    spread: float | None = None,
) -> tuple[float | None, PublishedFigure]:
    """Return a value and its figure: in percent, as it is where three decimals are printed, or by `times`."""
    obtained, interval = value
    if times is None:
        times = 1.0 if digits == 3 else 100.0
    return obtained, PublishedFigure(
        name,
        published,
        None if obtained is None else times * obtained,
        published_spread,
        None if spread is None else times * spread,
        None if interval is None else (times * interval[0], times * interval[1]),
        digits,
    )


def mean_change(changes: Sequence[float], *, share: float = 0.0) -> tuple[float, float]:
    """Return the mean of at least two differences and half its 95 % interval; `share` as in `fold_error`."""
    from scipy.stats import t as student

    middle, error = fold_error(changes, [1.0] * len(changes), share=share)
    return middle, float(student.ppf(0.975, len(changes) - 1)) * error
