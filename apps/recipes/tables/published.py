"""The kinds of published tables, and their comparison with a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ....core.formats import Floats
from ....evaluate import Units
from ....evaluate.report import PublishedFigure, PublishedTable
from .challenge import agreement
from .obtained import Published, Runs, figure_of, value_in

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
        figure = replace(figure, paired=_over_folds(means - np.array(published)))
    return figure


def _over_folds(changes: Floats) -> tuple[float, float]:
    """Return the interval of the mean difference over folds.

    Folds share training images, so that it is wider than that of independent ones (Nadeau & Bengio 2003).
    """
    from scipy.stats import t as student

    count = len(changes)
    weights = np.full(count, 1.0 / count)
    middle = float(weights @ changes)
    variance = float(weights @ np.square(changes - middle)) / (count - 1)
    # each image is tested once for count - 1 times that it trains
    error = (variance * (1.0 + count * (1.0 / (count - 1)))) ** 0.5
    half = float(student.ppf(0.975, count - 1)) * error
    return middle - half, middle + half


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
