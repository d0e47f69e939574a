"""The results of a recipe's variants, the kinds of published tables, and their comparison."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from ...core import Content, Entries, InputError
from ...core.formats import Floats, read_json, read_rows
from ...data import match_class
from ...evaluate import (
    Figure,
    Panel,
    PredictionTable,
    Units,
    aggregate,
    metrics_of,
    read_predictions,
    take_rows,
)
from ...evaluate.report import PublishedFigure, PublishedTable

Value = tuple[float | None, Sequence[float] | None]
"""A value and its 95 % interval; None if it was not obtained."""

Key = tuple[str, int | None]
"""A variant, and a magnification."""

Published = Entries
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
    def files(self) -> Content:
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
            gaps = [
                fold["accuracy"][-1] - fold["val_accuracy"][-1]
                for fold in self.files["run"].get("curves", {}).values()
                if fold.get("accuracy") and fold.get("val_accuracy")
            ]
            if not gaps:
                return None, None
            return float(np.mean(gaps)), None
        entry: Any = self._metrics(level)
        if entry is None:
            return None, None
        if path == "confidence":
            return _mean_confidence(entry), None
        if path == "auc_mean":
            path = "two_class auc_mean" if len(entry["folds"]) > 1 else "auc"
        try:
            for name in path.split():
                if isinstance(
                    entry, list
                ):  # such as of thresholds, which have no other name than their first value
                    entry = {str(next(iter(item.values()))): item for item in entry}
                entry = entry[name]
            return value_in(entry)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ):  # no such name, or no figure there
            return None, None

    def _metrics(self, level: str) -> Entries | None:
        """Return the metrics of a level; None if there are none."""
        if not level:
            return self.panel.metrics
        if level == "validation":
            return None if self.validated is None else metrics_of(self.validated)
        if level.startswith("fold "):
            folds = self.panel.table.fold_array.astype(str)
            rows = np.flatnonzero(folds == level.removeprefix("fold "))
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

    @functools.cached_property
    def hits(self) -> dict[str, Floats]:
        """For an ensemble, whether the models of each feature file, or the ensemble, predict each row correctly.

        The arrays have shape (rows, seeds); 1 is right.
        """
        table = self.panel.table
        hits: dict[str, dict[tuple[str, int | None], list[float]]] = {}
        for row in read_rows(self.folder / "predictions-by-model.csv"):
            predicted = max(table.classes, key=lambda name: float(row[f"p_{name}"]))
            key = (row["image_id"], int(row["fold"]))
            hits_of_row = hits.setdefault(row["store"], {}).setdefault(key, [])
            hits_of_row.append(float(predicted == row["label"]))
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


def _mean_confidence(metrics: Entries) -> float | None:
    """Return the mean probability of the predicted class; None without rows."""
    bins = (metrics.get("calibration") or {}).get("bins", ())
    rows = sum(entry["n"] for entry in bins)
    if not rows:
        return None
    return float(sum(entry["n"] * entry["confidence"] for entry in bins) / rows)


def value_in(figure: Figure | Entries | float | None) -> Value:
    """Return the value and the interval of a figure of ``metrics.json``; a plain number has none."""
    if figure is None or isinstance(figure, (int, float)):
        return figure, None
    return figure["value"], figure["interval"]


def figure_of(
    name: str,
    value: Value,
    published: float | None = None,
    *,
    factor: float = 100.0,
    digits: int = 1,
) -> PublishedFigure:
    """Return the figure of a value and its interval, both multiplied by a factor: by default in percent."""
    obtained, interval = value
    if obtained is not None:
        obtained *= factor
    if interval is not None:
        interval = (factor * interval[0], factor * interval[1])
    return PublishedFigure(name, published, obtained, digits=digits, interval=interval)


Figures = Iterator[PublishedFigure]
"""Rows of a table at one magnification."""


def rows_of(table: Published) -> Iterator[tuple[str, Published]]:
    """Yield each row by its name; what it does not say itself is as in its table, with ``{row}`` for its name."""
    for name, row in table.get("rows", {}).items():
        fields = {"value": None, "digits": 1, **table}
        fields |= row if isinstance(row, Mapping) else {"value": row}
        yield (
            name,
            {
                key: value.replace("{row}", name) if isinstance(value, str) else value
                for key, value in fields.items()
            },
        )


def figures(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare figures by their paths, see `Obtained.value`: of the variant of the table, or of that of each row.

    Figures and those of folds are multiplied by ``times``, by default to percent, or unchanged if the source prints
    three decimals. If the source prints each fold, the difference has an interval over folds.
    """
    for name, row in rows_of(table):
        key = (row.get("variant", name), magnification)
        value = runs.value(key, row.get("level", ""), row["path"])
        factor = row.get("times") or (1.0 if row["digits"] == 3 else 100.0)
        figure = figure_of(name, value, row["value"], factor=factor, digits=row["digits"])
        if "folds" in row:
            levels = (f"fold {fold}" for fold, _ in enumerate(row["folds"], start=1))
            of_folds = [runs.value(key, level, row["path"])[0] for level in levels]
            obtained = [factor * value for value in of_folds if value is not None]
            figure = _with_folds(figure, row, np.array(obtained))
        yield figure


def _with_folds(figure: PublishedFigure, row: Published, obtained: Floats) -> PublishedFigure:
    """Add standard deviations over folds (and seeds), and the interval of the mean difference over folds.

    Parameters
    ----------
    figure : PublishedFigure
    row : mapping
        ``std`` and ``folds``, as the source prints them.
    obtained : ndarray of float64, shape (folds,) or (folds, seeds)
        In the unit of the figure.
    """
    from scipy.stats import t as student

    figure = replace(figure, published_spread=row.get("std"))
    if obtained.size > 1:
        figure = replace(figure, obtained_spread=float(obtained.std()))
    published = row.get("folds", ())
    if len(published) == len(obtained) > 1:
        changes = obtained.reshape(len(obtained), -1).mean(axis=1) - np.array(published)
        count = len(changes)
        middle = float(changes.mean())
        variance = float(changes.var()) / (count - 1)
        # Folds share training images, so that the interval is wider than that of independent ones (Nadeau & Bengio
        # 2003): each image is tested once for count - 1 times that it trains.
        error = (variance * (1.0 + count / (count - 1))) ** 0.5
        half = float(student.ppf(0.975, count - 1)) * error
        figure = replace(figure, paired=(middle - half, middle + half))
    return figure


def stores(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the mean accuracy over folds of each feature file, and of the ensemble.

    The interval resamples images and keeps the seeds. The SD is over all folds and seeds, since the paper's is larger
    than that of its printed means over seeds.
    """
    for name, row in rows_of(table):
        run = runs.of(row, magnification)
        if run is None or name not in run.hits:
            yield PublishedFigure(name, row["value"], None, row.get("std"))
            continue
        share = Units.of(run.panel.table).share(run.hits[name].mean(axis=1))
        by_fold = run.by_fold(name)
        figure = figure_of(name, value_in(share), row["value"])
        figure = replace(figure, obtained=float(by_fold.mean()))
        yield _with_folds(figure, row, by_fold)


def agreement(runs: Runs, _: int | None, table: Published) -> Iterator[PublishedFigure]:
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
        printed = f"{len(images)} images"
        if runs.tested:
            printed = f"{len(hits)} of {printed}"
        figure = figure_of(name, value_in(Units(np.arange(len(hits))).share(hits)))
        yield replace(figure, cited=True, printed=printed)


def published_predictions(table: Published) -> dict[str, str]:
    """Return the class of each test image that a source predicted, by the name of its file without the suffix."""
    return {stem_of(name): label for label, names in table["predictions"].items() for name in names}


def stem_of(name: str) -> str:
    """Return the name of a file as test images are compared: without folder, suffix and case."""
    return PurePath(name).stem.casefold()


class TableKind(NamedTuple):
    """A kind of table.

    Attributes
    ----------
    needs : tuple of str
        Keys that a table of this kind requires, in addition to ``key``, ``title`` and ``source``.
    figures : callable
        ``figures(runs, magnification, table)`` yields its rows at one magnification.
    """

    needs: tuple[str, ...]
    figures: Callable[[Runs, int | None, Published], Figures]


KINDS = {
    "figures": TableKind(("rows",), figures),
    "stores": TableKind(("rows",), stores),
    "agreement": TableKind(("predictions",), agreement),
}
"""The kinds of tables by name; rows of ``figures`` name paths in ``metrics.json``, the others compute."""


def compare_published(
    tables: Sequence[Published], runs: Runs, *, note: str
) -> list[PublishedTable]:
    """Compare the published tables of a recipe with the results of its variants.

    Parameters
    ----------
    tables : sequence of mapping
        The recipe's ``published``.
    runs : Runs
    note : str
        The reason why figures cannot be compared, or empty.

    Returns
    -------
    list of PublishedTable
        Tables with at least one obtained figure, or with figures that are shown without one; each row is repeated for
        every magnification. Intervals are 95 %, over groups if known, else over images.
    """
    compared = []
    for table in tables:
        figures = _compare(table, runs, note=note)
        if all(figure.obtained is None and not figure.cited for figure in figures):
            continue
        figures += itertools.starmap(_cited, table.get("others", {}).items())
        lines = "\n".join(filter(None, (table.get("note"), note)))
        compared.append(
            PublishedTable(table["key"], table["title"], table["source"], tuple(figures), lines)
        )
    return compared


def _compare(table: Published, runs: Runs, *, note: str) -> list[PublishedFigure]:
    """Return the rows of a table, those of a name together."""
    kind = KINDS[table.get("kind", "figures")]
    rows: dict[str, list[PublishedFigure]] = {}
    run_at = {magnification for _, magnification in runs.obtained}
    for magnification in runs.magnifications:
        if magnification not in run_at:
            continue
        for figure in kind.figures(runs, magnification, table):
            name = figure.name
            if magnification is not None:
                name = f"{name} at {magnification}x"
            shown = replace(figure, name=name)
            if note:  # no interval of a difference if the figures cannot be compared
                shown = replace(shown, paired=None)
            rows.setdefault(figure.name, []).append(shown)
    return [figure for row in rows.values() for figure in row]


def _cited(name: str, printed: Any) -> PublishedFigure:
    """Return a row for a result of others that the source cites, which has no obtained figure."""
    if isinstance(printed, (int, float)):
        digits = len(str(printed).partition(".")[2])
        return PublishedFigure(name, float(printed), None, digits=digits, cited=True)
    text = "" if printed is None else str(printed)
    return PublishedFigure(name, None, None, cited=True, printed=text)
