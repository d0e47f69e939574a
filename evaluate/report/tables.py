"""Tables of a report: figures, intervals, and published figures beside the obtained ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...core import aligned, counted
from ...core.jobs import check_file_name, write_rows
from .. import CLASS_METRICS, HEADLINE, Figure, Metrics, MetricSpec, list_metrics
from .page import NOTHING, cell, number, percent, written

NOT_PRINTED = "not printed"

_TESTED = (
    "only_first",
    "only_second",
    "test",
    "p",
    "p_holm",
    "verdict",
    "disagree",
    "least_p",
    "detectable",
    "units_needed",
    "not_inferior",
)
"""What a paired test gives, in the order of its columns."""


@dataclass(frozen=True)
class PublishedFigure:
    """One figure of a paper and ours.

    Attributes
    ----------
    name : str
    published : float or None
        None where the source shows the figure as a picture only, or not at all.
    obtained : float or None
        None where it was not computed in this run.
    published_spread, obtained_spread : float or None
        Over folds, as the paper gives it.
    interval : tuple of float, or None
        Our 95 % interval.
    digits : int
        Decimals of the printed values.
    paired : tuple of float, or None
        95 % interval of the difference, fold by fold, where the source gives its figure of the very folds.
    cited : bool
        Whether the source sets it beside its own figures, of others' work: shown though nothing here obtains it.
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
        """Published, obtained, its interval, the difference, and its interval."""
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
        Where the published figures stand.
    figures : tuple of PublishedFigure
    note : str
        What a reader must know before comparing: lines.
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
        """Cells as text, one list a figure that was obtained, or is cited."""
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
        """The table for a terminal."""
        body = aligned([self.header(), *self.rows()])
        return "\n".join(
            [f"{self.title} ({self.source})", *filter(None, (self.note, self.left_out())), *body]
        )


def write_published(folder: Path, tables: Sequence[PublishedTable]) -> list[Path]:
    """Write each table as ``<key>.csv`` in full precision; returns the files."""
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


Row = dict[str, Any]
Specs = Sequence[MetricSpec]


def shown_metrics(tables: Collection[Metrics]) -> list[MetricSpec]:
    """Return the metrics to show that have a value in at least one of these tables."""
    defined = {name for metrics in tables for name, value in metrics.items() if value is not None}
    return [spec for spec in list_metrics() if spec.shown and spec.name in defined]


_FIRST = (HEADLINE, "patient_recognition_rate", "balanced_accuracy")
"""Figures that a report names first."""


def further_figures(tables: Sequence[Metrics]) -> dict[str, list[str]]:
    """Return the figures that a report names beside the first, and spreads over folds: by title, of each table."""
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
    return spec.per_fold and spec.name != "patient_recognition_rate"  # of few patients in a fold


def _fold_spread(spec: MetricSpec, metrics: Metrics) -> str:
    """Return the mean and spread over folds; one fold has no spread."""
    mean = metrics.get(f"{spec.name}_mean")
    spread = metrics.get(f"{spec.name}_std")
    if len(metrics["folds"]) < 2 or mean is None:
        return NOTHING
    form = percent if spec.unit == "percent" else number
    return f"{form(mean)} ± {form(spread)}"


def write_tables(folder: Path, *, tables: Mapping[str, Metrics], pairs: Sequence[Metrics]) -> None:
    """Write each table as CSV with full precision; those without a row are left out.

    Parameters
    ----------
    folder : Path
    tables : mapping
        Name of a prediction table to its metrics.
    pairs : sequence of mapping
        Of `compare_pairs`.
    """
    specs = shown_metrics(tables.values())
    rows_of_file = {}
    for file, rows_of in _OF_EACH.items():
        rows_of_file[file] = [
            {"table": name, **row} for name, m in tables.items() for row in rows_of(m, specs)
        ]
    for file, rows_of_pair in _OF_PAIRS.items():
        rows_of_file[file] = [row for pair in pairs for row in rows_of_pair(pair)]
    for file, rows in rows_of_file.items():
        if rows:
            write_rows(folder / f"{file}.csv", list(rows[0]), [list(row.values()) for row in rows])


def _figures(values: Metrics, *names: str) -> Row:
    """Return the columns of figures: value, low and high end of the interval; None where there are none."""
    row: Row = {}
    for name in names:
        figure = values.get(name) or Figure(math.nan)
        low, high = figure.interval or (None, None)
        row |= {name: figure["value"], f"{name}_low": low, f"{name}_high": high}
    return row


def _summary(m: Metrics, specs: Specs) -> Iterator[Row]:
    row = {"protocol": m["protocol"], "n": m["n"]}
    for spec in specs:
        columns = _figures(m, spec.name)
        if not spec.interval:
            columns = {spec.name: columns[spec.name]}
        row |= columns
        if _has_folds(spec):
            # one fold has no spread
            spread = m.get(f"{spec.name}_std") if len(m["folds"]) > 1 else None
            row |= {f"{spec.name}_mean": m.get(f"{spec.name}_mean"), f"{spec.name}_std": spread}
    yield row


def _per_fold(m: Metrics, specs: Specs) -> Iterator[Row]:
    columns = {"fold": m["folds"], "accuracy": m["accuracy_per_fold"]}
    columns["two_class_auc"] = (m.get("two_class") or {}).get("auc_per_fold")
    columns |= {spec.name: m.get(f"{spec.name}_per_fold") for spec in specs if spec.per_fold}
    for k in range(len(m["folds"])):
        yield {name: values[k] if values else None for name, values in columns.items()}


def _per_class(m: Metrics, _: Specs) -> Iterator[Row]:
    for label, values in m["per_class"].items():
        yield {"class": label, "n": values["n"], **_figures(values, *CLASS_METRICS)}


def _confusion(m: Metrics, _: Specs) -> Iterator[Row]:
    for true, line in zip(m["classes"], m["confusion"], strict=True):
        for predicted, count in zip(m["classes"], line, strict=True):
            yield {"true": true, "predicted": predicted, "n": count}


def _set_points(m: Metrics, _: Specs) -> Iterator[Row]:
    """Yield given points, and those of a wanted sensitivity, which is empty for the others."""
    view = m.get("two_class") or {"thresholds": ()}
    counts = ("true_negative", "false_positive", "false_negative", "true_positive")
    for point in (*view["thresholds"], *view.get("wanted", ())):
        row = {
            "positive": " + ".join(view["positive"]),
            "rule": view["rule"],
            "wanted": point.get("wanted"),
            "threshold": point["threshold"],
            **_figures(point, "sensitivity", "specificity", "ppv", "npv"),
        }
        yield row | dict(zip(counts, chain(*point["confusion"]), strict=True))


def _subgroups(m: Metrics, _: Specs) -> Iterator[Row]:
    for by, subgroups in m.get("subgroups", {}).items():
        for subgroup in subgroups:
            row = {"column": by, **{key: subgroup[key] for key in ("value", "n", "units")}}
            yield row | _figures(subgroup, "accuracy", "difference")


def _paired(pair: Metrics) -> Iterator[Row]:
    row = {"second": pair["second"], "first": pair["first"]}
    row |= _figures({"difference": pair["differences"]["accuracy"]}, "difference")
    yield row | {key: pair.get(key) for key in _TESTED}


def _differences(pair: Metrics) -> Iterator[Row]:
    for name, change in pair["differences"].items():
        row = {"second": pair["second"], "first": pair["first"], "figure": name}
        yield row | _figures({"difference": change}, "difference") | {"method": change.method}


_OF_EACH: dict[str, Callable[[Metrics, Specs], Iterator[Row]]] = {
    "tables": _summary,
    "per-fold": _per_fold,
    "per-class": _per_class,
    "confusion": _confusion,
    "set-points": _set_points,
    "subgroups": _subgroups,
}
_OF_PAIRS = {"paired-tests": _paired, "differences": _differences}

TABLES = (*_OF_EACH, *_OF_PAIRS)
"""Names of the files."""
