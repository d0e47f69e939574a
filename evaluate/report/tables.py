"""Tables of a report: figures, intervals, and published figures beside the obtained ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core import aligned, counted
from ...core.jobs import check_file_name, write_or_remove, write_rows
from .. import (
    HEADLINE,
    Entry,
    Figure,
    Metrics,
    MetricSpec,
    comparison_rows,
    figure_rows,
    list_metrics,
)
from .page import NOTHING, cell, number, percent, written

NOT_PRINTED = "not printed"


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of a paper, and the one that was obtained here.

    Attributes
    ----------
    name : str
    published : float or None
        None if the source shows the figure only as a picture, or not at all.
    obtained : float or None
        None if it was not computed in this run.
    published_spread, obtained_spread : float or None
        Over folds, as the paper gives it.
    interval : tuple of float, or None
        Our 95 % interval.
    digits : int
        Decimals of the printed values.
    paired : tuple of float, or None
        95 % interval of the difference, fold by fold, if the source gives its figure for the same folds.
    cited : bool
        Whether the source cites it from others' work: it is shown although nothing here obtains it.
    printed : str
        What the source prints if that is not a single number, such as a range.
    """

    name: str
    published: float | None
    obtained: float | None
    published_spread: float | None = None
    obtained_spread: float | None = None
    interval: tuple[float, float] | None = None
    digits: int = 1
    paired: tuple[float, float] | None = None
    cited: bool = False
    printed: str = ""

    @property
    def difference(self) -> float | None:
        """Obtained minus published."""
        if self.published is None or self.obtained is None:
            return None
        return self.obtained - self.published

    def cells(self) -> list[str]:
        """Return cells as text: published, obtained, its interval, the difference, and its interval."""
        plain = f".{self.digits}f"
        signed = f"+.{self.digits}f"
        published = self.printed or NOT_PRINTED
        if self.published is not None:
            published = _with_spread(self.published, self.published_spread, plain)
        return [
            published,
            _with_spread(self.obtained, self.obtained_spread, plain),
            written(self.interval, plain),
            written(self.difference, signed),
            written(self.paired, signed),
        ]


def _with_spread(value: float | None, spread: float | None, form: str) -> str:
    text = written(value, form)
    if value is None or spread is None:
        return text
    return f"{text} ± {spread:{form}}"


@dataclass(frozen=True)
class PublishedTable:
    """A table of published figures.

    Attributes
    ----------
    key : str
        File name of the table.
    title : str
    source : str
        Where the published figures were printed.
    figures : tuple of PublishedFigure
    note : str
        Lines that a reader must know before comparing.
    """

    key: str
    title: str
    source: str
    figures: tuple[PublishedFigure, ...]
    note: str = ""

    @staticmethod
    def header() -> list[str]:
        """Column names of `rows`."""
        return ["figure", "published", "obtained", "95 % CI", "difference", "95 % CI, by folds"]

    def rows(self) -> list[list[str]]:
        """Return cells as text, a list for each figure that was obtained, or is cited."""
        return [
            [figure.name, *figure.cells()]
            for figure in self.figures
            if figure.obtained is not None or figure.cited
        ]

    def left_out(self) -> str:
        """Return how many published figures have no row, because no step gives them; empty if all have."""
        count = sum(figure.obtained is None and not figure.cited for figure in self.figures)
        if not count:
            return ""
        return f"Not obtained: {counted(count, 'more published figure')}, see {self.key}.csv."

    def text(self) -> str:
        """Return the table for a terminal."""
        body = aligned([self.header(), *self.rows()])
        return "\n".join(
            [f"{self.title} ({self.source})", *filter(None, (self.note, self.left_out())), *body]
        )


def write_published(folder: Path, tables: Sequence[PublishedTable]) -> list[Path]:
    """Write each table as ``<key>.csv`` in full precision, and return the files."""
    header = [
        "figure",
        "published",
        "published_spread",
        "obtained",
        "obtained_spread",
        "difference",
        "low",
        "high",
        "difference_low",
        "difference_high",
    ]
    paths = [folder / f"{check_file_name(table.key, 'the table')}.csv" for table in tables]
    for path, table in zip(paths, tables, strict=True):
        rows = [
            [
                figure.name,
                (figure.printed or NOT_PRINTED) if figure.published is None else figure.published,
                figure.published_spread,
                figure.obtained,
                figure.obtained_spread,
                figure.difference,
                *(figure.interval or (None, None)),
                *(figure.paired or (None, None)),
            ]
            for figure in table.figures
        ]
        write_rows(path, header, rows)
    return paths


Specs = Sequence[MetricSpec]


def shown_metrics(tables: Collection[Metrics]) -> list[MetricSpec]:
    """Return the metrics to show that have a value in at least one of these tables."""
    defined = {name for metrics in tables for name, value in metrics.items() if value is not None}
    return [spec for spec in list_metrics() if spec.shown and spec.name in defined]


_FIRST = (HEADLINE, "patient_recognition_rate", "balanced_accuracy")
"""Figures that a report names first."""


def further_figures(tables: Sequence[Metrics]) -> dict[str, list[str]]:
    """Return further figures and spreads over folds, which a report names after the first: title to cells of tables."""
    columns = {}
    for spec in shown_metrics(tables):
        title = spec.title if spec.higher_is_better else f"{spec.title} (lower is better)"
        if spec.name not in _FIRST:
            columns[title] = [
                cell(metrics.get(spec.name), spec.unit, between=" ") for metrics in tables
            ]
        if _has_folds(spec):
            columns[f"{title}, mean ± SD over folds"] = [
                _fold_spread(spec, metrics) for metrics in tables
            ]
    return {title: cells for title, cells in columns.items() if {*cells} != {NOTHING}}


def _has_folds(spec: MetricSpec) -> bool:
    return spec.per_fold and spec.name != "patient_recognition_rate"  # a fold has few patients


def _fold_spread(spec: MetricSpec, metrics: Metrics) -> str:
    """Return the mean and spread over folds; one fold has no spread."""
    mean = metrics.get(f"{spec.name}_mean")
    spread = metrics.get(f"{spec.name}_std")
    if len(metrics["folds"]) < 2 or mean is None:
        return NOTHING
    form = percent if spec.unit == "percent" else number
    return f"{form(mean)} ± {form(spread)}"


TABLES = ("tables", "per-fold", "confusion", "figures", "comparisons")
"""Names of the CSV files of an evaluation."""


def write_tables(folder: Path, *, tables: Mapping[str, Metrics], pairs: Sequence[Metrics]) -> None:
    """Write the figures of all prediction tables as CSV files, with full precision.

    A file without rows is not written, and that of an earlier call is removed.

    Parameters
    ----------
    folder : Path
    tables : mapping
        Name of a prediction table to its metrics.
    pairs : sequence of mapping
        Results of `compare_pairs`.
    """
    specs = shown_metrics(tables.values())
    rows_of_file: dict[str, list[Entry]] = {file: [] for file in TABLES}
    rows_of_file["comparisons"] = comparison_rows(pairs)
    for name, metrics in tables.items():
        rows_of_file["figures"] += figure_rows(name, metrics)
        rows_of_file["tables"].append({"table": name, **_summary(metrics, specs)})
        rows_of_file["per-fold"] += [{"table": name, **row} for row in _per_fold(metrics, specs)]
        rows_of_file["confusion"] += [{"table": name, **row} for row in _confusion(metrics)]
    for file, rows in rows_of_file.items():
        header = list(rows[0]) if rows else []
        # NaN, the only value that is not equal to itself, is an empty cell
        cells = [[None if value != value else value for value in row.values()] for row in rows]
        write_or_remove(folder / f"{file}.csv", header, cells)


def _summary(m: Metrics, specs: Specs) -> Entry:
    row: Entry = {"protocol": m["protocol"], "n": m["n"]}
    for spec in specs:
        figure = m.get(spec.name) or Figure(math.nan)
        row[spec.name] = figure.value
        if spec.interval:
            row |= {f"{spec.name}_low": figure.low, f"{spec.name}_high": figure.high}
        if _has_folds(spec):
            # one fold has no spread
            spread = m.get(f"{spec.name}_std") if len(m["folds"]) > 1 else None
            row |= {f"{spec.name}_mean": m.get(f"{spec.name}_mean"), f"{spec.name}_std": spread}
    return row


def _per_fold(m: Metrics, specs: Specs) -> Iterator[Entry]:
    columns = {"fold": m["folds"], "accuracy": m["accuracy_per_fold"]}
    columns["two_class_auc"] = (m.get("two_class") or {}).get("auc_per_fold")
    columns |= {spec.name: m.get(f"{spec.name}_per_fold") for spec in specs if spec.per_fold}
    for k in range(len(m["folds"])):
        yield {name: values[k] if values else None for name, values in columns.items()}


def _confusion(m: Metrics) -> Iterator[Entry]:
    for true, line in zip(m["classes"], m["confusion"], strict=True):
        for predicted, count in zip(m["classes"], line, strict=True):
            yield {"true": true, "predicted": predicted, "n": count}
