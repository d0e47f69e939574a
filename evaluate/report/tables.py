"""Tables of a report: figures, intervals, and published figures beside the obtained ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

from ...core import aligned
from ...core.jobs import check_file_name, write_rows
from .. import CLASS_METRICS, HEADLINE, MetricSpec, Panel, images_tested, list_metrics
from .page import NOTHING, Grid, cell, number, percent

NOT_PRINTED = "not printed"


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
        return None if self.published is None or self.obtained is None else self.obtained - self.published

    def cells(self) -> list[str]:
        """Published, obtained, its interval, the difference, and its interval."""
        return [
            self.printed or NOT_PRINTED
            if self.published is None
            else self._text(self.published, self.published_spread),
            "–" if self.obtained is None else self._text(self.obtained, self.obtained_spread),
            _both_ends(self.interval, f".{self.digits}f"),
            "–" if self.difference is None else f"{self.difference:+.{self.digits}f}",
            _both_ends(self.paired, f"+.{self.digits}f"),
        ]

    def _text(self, value: float, spread: float | None = None) -> str:
        text = f"{value:.{self.digits}f}"
        return text if spread is None else f"{text} ± {spread:.{self.digits}f}"


def _both_ends(interval: tuple[float, float] | None, form: str) -> str:
    return "–" if interval is None else " to ".join(format(end, form) for end in interval)


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
            [figure.name, *figure.cells()] for figure in self.figures if figure.obtained is not None or figure.cited
        ]

    def left_out(self) -> str:
        """Return how many published figures have no row, because no step gives them; empty if all have."""
        count = sum(figure.obtained is None and not figure.cited for figure in self.figures)
        were = "figure was" if count == 1 else "figures were"
        return f"{count} more published {were} not obtained, see {self.key}.csv." if count else ""

    def text(self) -> str:
        """The table for a terminal."""
        body = aligned([self.header(), *self.rows()], right=False)
        return "\n".join([f"{self.title} ({self.source})", *filter(None, (self.note, self.left_out())), *body])


def write_published(folder: Path, tables: Sequence[PublishedTable]) -> list[Path]:
    """Write each table as ``<key>.csv`` in full precision; returns the files."""
    header = ["figure", "published", "published_spread", "obtained", "obtained_spread", "difference", "low", "high",
              "difference_low", "difference_high"]  # fmt: skip
    wrote = []
    for table in tables:
        path = folder / f"{check_file_name(table.key, 'the table')}.csv"
        rows = []
        for figure in table.figures:
            low, high = figure.interval or (None, None)
            published = (figure.printed or NOT_PRINTED) if figure.published is None else figure.published
            values = [published, figure.published_spread, figure.obtained, figure.obtained_spread, figure.difference,
                      low, high, *(figure.paired or (None, None))]  # fmt: skip
            rows.append([figure.name, *("" if value is None else value for value in values)])
        write_rows(path, header, rows)
        wrote.append(path)
    return wrote


Metrics = Mapping[str, Any]
_Specs = Sequence[MetricSpec]
Row = dict[str, Any]


def shown_metrics(tables: Iterable[Metrics]) -> list[MetricSpec]:
    """Return the metrics to show that have a value in at least one of these tables."""
    listed = list(tables)
    return [
        spec for spec in list_metrics() if spec.shown and any(metrics.get(spec.name) is not None for metrics in listed)
    ]


def _summary_values(specs: Sequence[MetricSpec], metrics: Metrics) -> dict[str, Any]:
    """Return the columns of a table's metrics in ``tables.csv``, in full precision; None where there is no value."""
    values: dict[str, Any] = {}
    for spec in specs:
        values |= _cells(metrics, spec.name)
        if spec.interval:
            values |= zip(spec.bounds, _ends(metrics.get(spec.name)).values(), strict=True)
        if _has_folds(spec):  # one fold has no spread
            several = len(metrics["folds"]) > 1
            values[f"{spec.name}_mean"] = metrics.get(f"{spec.name}_mean")
            values[f"{spec.name}_std"] = metrics.get(f"{spec.name}_std") if several else None
    return values


def summary_cells(specs: Sequence[MetricSpec], metrics: Metrics) -> list[tuple[str, str]]:
    """Return the headings and cells of a table's metrics where tables stand side by side in a report."""
    cells: list[tuple[str, str]] = []
    for spec in specs:
        cells.append((_title(spec), cell(metrics.get(spec.name), spec.unit)))
        if _has_folds(spec):
            before = "" if spec.name == HEADLINE else f"{spec.title}, "
            cells.append((f"{before}mean ± SD over folds", _mean_spread(spec, metrics) or NOTHING))
    return cells


def side_by_side(panels: Sequence[Panel]) -> Grid:
    """Return the figures of all tables, a row each; what is the same for all stands in the caption."""
    specs = shown_metrics(panel.metrics for panel in panels)
    cells = [summary_cells(specs, panel.metrics) for panel in panels]
    filled = [any(row[column][1] != NOTHING for row in cells) for column in range(len(cells[0]))]
    cells = [list(compress(row, filled)) for row in cells]
    about = [f"{images_tested(panel.metrics)}, {panel.metrics['protocol']}" for panel in panels]
    same = len(set(about)) == 1
    header = ["table", *([] if same else ["predictions and protocol"]), *(heading for heading, _ in cells[0])]
    rows = [
        [panel.table.name, *([] if same else [text]), *(cell for _, cell in figures)]
        for panel, text, figures in zip(panels, about, cells, strict=True)
    ]
    caption = "All tables, with 95 % CI" + (f": {about[0]}" if same else "")
    return Grid(caption, header, rows, words=() if same else (1,))


def other_figures(metrics: Metrics) -> list[str]:
    """Return the figures that a report names beside the accuracy, each with its interval and its spread over folds."""
    texts = []
    for spec in shown_metrics([metrics]):
        if spec.name in {HEADLINE, "balanced_accuracy", "patient_recognition_rate"} or metrics[spec.name] is None:
            continue
        if spec.name == "auc" and len(metrics["classes"]) == 2:
            continue
        folds = _mean_spread(spec, metrics) if _has_folds(spec) else ""
        texts.append(
            f"{_title(spec)} {cell(metrics[spec.name], spec.unit, between=' ')}"
            + (f", mean over folds {folds}" if folds else "")
        )
    return texts


def _title(spec: MetricSpec) -> str:
    return spec.title if spec.higher_is_better else f"{spec.title} (lower is better)"


def _has_folds(spec: MetricSpec) -> bool:
    return spec.per_fold and spec.name != "patient_recognition_rate"  # of few patients in a fold


def _mean_spread(spec: MetricSpec, metrics: Metrics) -> str:
    """Return the mean and spread over folds; empty for one fold, which has no spread."""
    mean, spread = (metrics.get(f"{spec.name}_{what}") for what in ("mean", "std"))
    if len(metrics["folds"]) < 2 or mean is None:
        return ""
    form = percent if spec.unit == "percent" else number
    return f"{form(mean)} ± {form(spread)}"


def write_tables(
    folder: Path, *, tables: Mapping[str, Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write each table as CSV with full precision.

    Parameters
    ----------
    folder : Path
    tables : mapping
        Name of a prediction table to its metrics.
    pairs : sequence of mapping
        Of `compare_pairs`.

    Returns
    -------
    list of Path
        ``tables`` (one row a table), ``per-fold``, ``per-class``, ``confusion``, ``set-points``,
        ``subgroups``, ``paired-tests`` and ``differences``; those without a row are left out.
    """
    specs = shown_metrics(tables.values())
    made: dict[str, Iterable[Row]] = {
        name: [{"table": table, **row} for table, m in tables.items() for row in rows(m, specs)]
        for name, rows in _OF_EACH.items()
    }
    made |= {name: rows(pairs) for name, rows in _OF_PAIRS.items()}
    wrote = []
    for name, some in made.items():
        if rows := list(some):
            wrote.append(folder / f"{name}.csv")
            write_rows(wrote[-1], list(rows[0]), [list(row.values()) for row in rows])
    return wrote


def _cells(values: Metrics, *keys: str) -> Row:
    """Return some values, of figures their estimates; None where there are none."""
    found = {key: values.get(key) for key in keys}
    return {key: value["value"] if isinstance(value, Mapping) else value for key, value in found.items()}


def _ends(figure: Mapping[str, Any] | None, of: str = "") -> Row:
    """Return the columns of an interval."""
    return dict(zip((f"{of}low", f"{of}high"), (figure or {}).get("interval") or (None, None), strict=True))


def _summary(m: Metrics, specs: _Specs) -> list[Row]:
    return [{"protocol": m["protocol"], "n": m["n"], **_summary_values(specs, m)}]


def _per_fold(m: Metrics, specs: _Specs) -> Iterator[Row]:
    others = [spec.name for spec in specs if spec.per_fold and spec.name != HEADLINE]
    columns = {"fold": m["folds"], "accuracy": m["accuracy_per_fold"]}
    columns["two_class_auc"] = (m.get("two_class") or {}).get("auc_per_fold")
    columns |= {name: m.get(f"{name}_per_fold") for name in others}
    for k in range(len(m["folds"])):
        yield {name: values[k] if values else None for name, values in columns.items()}


def _per_class(m: Metrics, specs: _Specs) -> Iterator[Row]:
    for label, values in m["per_class"].items():
        row = {"class": label, **_cells(values, "n", *CLASS_METRICS)}
        for name in CLASS_METRICS:
            row |= _ends(values[name], f"{name}_")
        yield row


def _confusion(m: Metrics, specs: _Specs) -> Iterator[Row]:
    for true, line in zip(m["classes"], m["confusion"], strict=True):
        for predicted, count in zip(m["classes"], line, strict=True):
            yield {"true": true, "predicted": predicted, "n": count}


def _set_points(m: Metrics, specs: _Specs) -> Iterator[Row]:
    """Yield given points, and those of a wanted sensitivity, which is empty for the others."""
    view = m.get("two_class") or {"thresholds": ()}
    counts = ("true_negative", "false_positive", "false_negative", "true_positive")
    for point in (*view["thresholds"], *view.get("wanted", ())):
        row = {"positive": " + ".join(view["positive"]), **_cells(point, "threshold", "sensitivity", "specificity")}
        row |= {**dict(zip(counts, chain(*point["confusion"]), strict=True)), "rule": view["rule"]}
        for name in ("sensitivity", "specificity"):
            row |= _ends(point[name], f"{name}_")
        for name in ("ppv", "npv"):
            row |= _cells(point, name) | _ends(point[name], f"{name}_")
        yield row | _cells(point, "wanted")


def _subgroups(m: Metrics, specs: _Specs) -> Iterator[Row]:
    for by, subgroups in m.get("subgroups", {}).items():
        for subgroup in subgroups:
            row = {"column": by, **_cells(subgroup, "value", "n", "units", "accuracy"), **_ends(subgroup["accuracy"])}
            yield row | _cells(subgroup, "difference") | _ends(subgroup["difference"], "difference_")


def _paired(pairs: Iterable[Metrics]) -> Iterator[Row]:
    for pair in pairs:
        row = _cells(pair, "second", "first") | _difference(pair["differences"]["accuracy"])
        row |= {f"{side}_right": pair[side] for side in ("only_first", "only_second")}
        yield row | _cells(pair, "test", "p", "p_holm", "least_p", "detectable", "units_needed", "not_inferior")


def _differences(pairs: Iterable[Metrics]) -> Iterator[Row]:
    for pair in pairs:
        for name, change in pair["differences"].items():
            row = {**_cells(pair, "second", "first"), "figure": name, **_difference(change)}
            yield row | _cells(change, "method")


def _difference(change: Mapping[str, Any]) -> Row:
    return {"difference": change["value"], **_ends(change)}


_OF_EACH = {
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
