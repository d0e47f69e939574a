"""The kinds of published tables, and their comparison with a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ....core.formats import Floats
from ....evaluate import Units, confusion, fold_error
from ....evaluate.report import PublishedFigure, PublishedTable
from .challenge import agreement
from .obtained import FUSION, Published, Runs, Value, figure_of, value_in

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

    If the source prints each fold, the difference has an interval over folds.
    """
    for name, row in rows_of(table):
        key = (row.get("variant", name), magnification)
        level = row.get("level", "")
        value = runs.value(key, level, row["path"])
        figure = figure_of(name, value, row["value"], digits=row["digits"], times=row.get("times"))
        if "folds" in row:
            folds = range(1, len(row["folds"]) + 1)
            of_folds = [runs.value(key, f"fold {fold}", row["path"])[0] for fold in folds]
            obtained = [100 * value for value in of_folds if value is not None]
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
        In percent.
    """
    figure = replace(figure, published_spread=row.get("std"))
    if obtained.size > 1:
        figure = replace(figure, obtained_spread=float(obtained.std()))
    published = row.get("folds", ())
    if len(published) == len(obtained) > 1:
        means = obtained.reshape(len(obtained), -1).mean(axis=1)
        figure = replace(figure, paired=_over_folds(means - np.array(published))[1])
    return figure


def _over_folds(changes: Floats) -> Value:
    """Return the mean of a difference in each fold, and its interval.

    Folds share training images, so that it is wider than that of independent ones (Nadeau & Bengio 2003).
    """
    from scipy.stats import t as student

    if len(changes) < 2:
        return (float(changes.mean()) if changes.size else None), None
    middle, error = fold_error(
        changes.tolist(), [1.0] * len(changes), share=1.0 / (len(changes) - 1)
    )
    half = float(student.ppf(0.975, len(changes) - 1)) * error
    return middle, (middle - half, middle + half)


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


def gains(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the gain in accuracy over each feature file of what is ``better``: another one, or the ensemble.

    With ``accuracies: averaged`` it is the better one's mean prediction over seeds.
    """
    run = runs.of(table, magnification)
    of_run = {} if run is None else run.accuracies
    for name, row in rows_of(table):
        changes = np.empty(0)
        if {name, row["better"]} <= of_run.keys():
            better = of_run[row["better"]]
            # an ensemble has no other seeds to average
            accuracies = better[row.get("accuracies", "per_fold")] or better["per_fold"]
            changes = np.array(accuracies) - np.array(of_run[name]["per_fold"])
        yield figure_of(name, _over_folds(changes), row["value"])


def spreads(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare standard deviations of accuracies: over feature files in each fold, and over folds (and seeds)."""
    run = runs.of(table, magnification)
    used = [] if run is None else [name for name in table["stores"] if name in run.hits]
    obtained: dict[str, float] = {}
    if run is not None and used:
        accuracies = [run.by_fold(name) for name in used]
        if len(used) > 1:
            over_stores = np.std([store.mean(axis=1) for store in accuracies], axis=0)
            for number, spread in enumerate(over_stores.tolist(), start=1):
                obtained[f"over the feature files, fold {number}"] = spread
            obtained["over the feature files, mean of the folds"] = float(over_stores.mean())
        fused = run.by_fold(FUSION)
        if len(fused) > 1:
            over_folds = float(np.mean([store.std() for store in accuracies]))
            obtained["over the folds, mean of the feature files"] = over_folds
            obtained["over the folds, ensemble"] = float(fused.std())
            if over_folds:
                obtained["ensemble by mean of the feature files"] = float(fused.std()) / over_folds
    for name, row in rows_of(table):
        yield PublishedFigure(name, row["value"], obtained.get(name), digits=row["digits"])


def shares(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Compare the confusion matrix of the test images, as fractions of the true class."""
    run = runs.of(table, magnification)
    if run is None:
        return
    predictions = run.panel.table
    names = predictions.classes
    for true, counts in zip(table["classes"], table["matrix"], strict=True):
        for predicted, count in zip(table["classes"], counts, strict=True):
            value: Value = (None, None)
            if {true, predicted} <= {*names}:
                inside = predictions.labels == names.index(true)
                called = predictions.predicted == names.index(predicted)
                value = value_in(Units.of(predictions).share(called, inside))
            yield figure_of(f"{true} predicted as {predicted}", value, 100 * count / sum(counts))


def folds(runs: Runs, magnification: int | None, table: Published) -> Figures:
    """Show AUC and confusion matrix of each fold, and the mean AUC."""
    run = runs.of(table, magnification)
    if run is None:
        return
    view = run.panel.metrics.get("two_class") or {}
    predictions = run.panel.table
    classes = predictions.classes
    numbers = run.panel.metrics["folds"]
    areas = view.get("auc_per_fold") or [None] * len(numbers)
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


class TableKind(NamedTuple):
    """A kind of table.

    Attributes
    ----------
    needs : tuple of str
        Keys that a table of this kind requires, in addition to ``key``, ``title`` and ``source``.
    of_rows : tuple of str
        Keys that each row requires, unless its table has them.
    figures : callable
        ``figures(runs, magnification, table)`` yields its rows at one magnification.
    """

    needs: tuple[str, ...]
    of_rows: tuple[str, ...]
    figures: Callable[[Runs, int | None, Published], Figures]


KINDS = {
    "figures": TableKind(("rows",), ("path",), figures),
    "stores": TableKind(("rows",), (), stores),
    "gains": TableKind(("rows",), ("better",), gains),
    "spreads": TableKind(("stores", "rows"), (), spreads),
    "confusion": TableKind(("classes", "matrix"), (), shares),
    "folds": TableKind(("variant",), (), folds),
    "agreement": TableKind(("predictions",), (), agreement),
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
        figures += [_cited(name, printed) for name, printed in table.get("others", {}).items()]
        lines = [line for line in (table.get("note"), note) if line]
        compared.append(
            PublishedTable(
                table["key"], table["title"], table["source"], tuple(figures), "\n".join(lines)
            )
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
