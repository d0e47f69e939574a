"""How metrics stand in tables and reports: columns, headings, cells and lines, from their specifications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .known_metrics import CLASS_METRICS, list_metrics
from .metric import HEADLINE, MetricSpec

Metrics = Mapping[str, Any]

_NOTHING = "–"


def shown_metrics(tables: Iterable[Metrics]) -> list[MetricSpec]:
    """Return the metrics that at least one of these tables has; those of 0.1 lack what came later."""
    found = list(tables)
    return [spec for spec in list_metrics() if any(spec.name in metrics for metrics in found)]


def summary_values(specs: Sequence[MetricSpec], metrics: Metrics) -> dict[str, Any]:
    """Return the columns of a table's metrics in ``tables.csv``, in full precision; None where there is no value."""
    values: dict[str, Any] = {}
    for spec in specs:
        if "value" in spec.shown:
            values[spec.name] = metrics.get(spec.name)
        if spec.interval and {"value", "interval"} & set(spec.shown):
            values |= zip(spec.bounds, _interval(spec, metrics) or (None, None), strict=True)
        if _has_folds(spec):  # one fold has no spread
            several = len(metrics["folds"]) > 1
            values[f"{spec.name}_mean"] = metrics.get(f"{spec.name}_mean")
            values[f"{spec.name}_std"] = metrics.get(f"{spec.name}_std") if several else None
    return values


def summary_cells(specs: Sequence[MetricSpec], metrics: Metrics) -> list[tuple[str, str]]:
    """Return the headings and cells of a table's metrics where tables stand side by side in a report.

    An interval without a column stands below its figure.
    """
    cells: list[tuple[str, str]] = []
    for spec in specs:
        before = "" if spec.name == HEADLINE else f"{spec.title}, "
        apart = spec.interval and "interval" in spec.shown
        ends, mark = _interval(spec, metrics), star(metrics, spec.name)
        if "value" in spec.shown:
            value = interval_cell(spec.unit, metrics.get(spec.name), None if apart else ends, mark)
            cells.append((_title(spec), value))
        if apart:
            cells.append((f"{before}95 % interval", _text(spec.unit, ends) + mark))
        if _has_folds(spec):
            cells.append((f"{before}mean ± spread over folds", _mean_spread(spec, metrics) or _NOTHING))
    return cells


def summary_lines(specs: Sequence[MetricSpec], metrics: Metrics) -> list[str]:
    """Return a line for each metric that is shown as one, with its interval and its spread over folds."""
    lines = []
    for spec in specs:
        if "line" in spec.shown and metrics.get(spec.name) is not None:
            interval, folds = _interval(spec, metrics), _mean_spread(spec, metrics)
            said = f"{_title(spec)}: {_text(spec.unit, metrics[spec.name])}"
            said += f" (95 % interval {_text(spec.unit, interval)})" if interval else ""
            said += f"; mean over folds {folds}" if folds else ""
            lines.append(f"{said}.")
    return lines


def class_headings() -> list[str]:
    """Return the headings of the metrics of a class."""
    return [title for title, _ in CLASS_METRICS.values()]


def class_cells(metrics: Metrics, name: str) -> list[str]:
    """Return the cells under `class_headings` of a class, each with its interval as far as there is one."""
    values = metrics["per_class"][name]
    inside = ((metrics.get("intervals") or {}).get("per_class") or {}).get(name, {})
    return [
        interval_cell(unit, values[key], inside.get(key), star(metrics, f"per_class.{name}.{key}"))
        for key, (_, unit) in CLASS_METRICS.items()
    ]


def star(metrics: Metrics, name: str) -> str:
    """Return a star where the interval of a figure may cover less than it says."""
    return "*" if name in ((metrics.get("intervals") or {}).get("warnings") or {}) else ""


def interval_cell(
    unit: str, value: float | None, ends: Sequence[float] | None, mark: str = "", *, between: str = "\n"
) -> str:
    """Write a figure with its interval in brackets, where it has one, on a line of its own."""
    return _text(unit, value) + (f"{between}({_text(unit, ends)}){mark}" if ends else "")


def percent(value: float | Sequence[float] | None) -> str:
    """Write a share, or the two ends of an interval of one, in percent."""
    return _written(value, ".1f", times=100, unit=" %")


def points(value: float | Sequence[float] | None) -> str:
    """Write a difference of two shares, or the two ends of an interval of one, in percentage points with a sign."""
    return _written(value, "+.1f", times=100)


def _text(unit: str, value: float | Sequence[float] | None) -> str:
    return percent(value) if unit == "percent" else _written(value, ".3f")


def _written(value: float | Sequence[float] | None, form: str, *, times: int = 1, unit: str = "") -> str:
    if value is None:
        return _NOTHING
    ends = value if isinstance(value, Sequence) else [value]
    return " to ".join(format(times * end, form) for end in ends) + unit


def _title(spec: MetricSpec) -> str:
    return spec.title if spec.higher_is_better else f"{spec.title} (lower is better)"


def _has_folds(spec: MetricSpec) -> bool:
    return spec.per_fold and "folds" in spec.shown


def _interval(spec: MetricSpec, metrics: Metrics) -> Sequence[float] | None:
    return (metrics.get("intervals") or {}).get(spec.name)


def _mean_spread(spec: MetricSpec, metrics: Metrics) -> str:
    """Return the mean and spread over folds; empty for one fold, which has no spread."""
    mean, spread = (metrics.get(f"{spec.name}_{what}") for what in ("mean", "std"))
    if len(metrics["folds"]) < 2 or mean is None:
        return ""
    return f"{_text(spec.unit, mean)} ± {_text(spec.unit, spread)}"
