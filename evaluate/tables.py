"""The tables of an evaluation as CSV and LaTeX: every table that the report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from .columns import shown_metrics, summary_values
from .formats import write_table
from .known_metrics import CLASS_METRICS
from .metric import HEADLINE, MetricSpec

Metrics = Mapping[str, Any]
Specs = Sequence[MetricSpec]
Row = dict[str, Any]


def write_tables(
    folder: Path, *, tables: Mapping[str, Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write each table as CSV with full precision, and as LaTeX with four decimals beside it.

    Parameters
    ----------
    folder : Path
    tables : mapping
        Name of a prediction table to its metrics, with ``intervals``.
    pairs : sequence of mapping
        Of `compare_pairs`.

    Returns
    -------
    list of Path
        The CSV files: ``tables`` (one row a table), ``per-fold``, ``per-class``, ``confusion``, ``two-class``,
        ``set-points``, ``fold-notes``, ``calibration``, ``abstention``, ``decision-curve``, ``subgroups``,
        ``paired-tests`` and ``differences``; those without a row are left out.
    """
    specs = shown_metrics(tables.values())
    made: dict[str, Iterable[Row]] = {
        name: [{"table": table, **row} for table, m in tables.items() for row in rows(m, specs)]
        for name, rows in _OF_EACH.items()
    }
    made |= {name: rows(pairs) for name, rows in _OF_PAIRS.items()}
    wrote = []
    for name, found in made.items():
        if rows := list(found):
            path, header, cells = folder / f"{name}.csv", list(rows[0]), [list(row.values()) for row in rows]
            write_table(path, header, cells, shown=(header, [[_cell(value) for value in row] for row in cells]))
            wrote.append(path)
    return wrote


def _cell(value: Any) -> str:
    if value is None:
        return "--"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _ends(interval: Sequence[float] | None, of: str = "") -> Row:
    """Return the columns of an interval."""
    return dict(zip((f"{of}low", f"{of}high"), interval or (None, None), strict=True))


def _picked(entries: Iterable[Metrics], *names: str) -> list[Row]:
    return [{name: entry[name] for name in names} for entry in entries]


def _summary(m: Metrics, specs: Specs) -> list[Row]:
    return [{"protocol": m["protocol"], "n": m["n"], **summary_values(specs, m)}]


def _per_fold(m: Metrics, specs: Specs) -> Iterator[Row]:
    others = [spec.name for spec in specs if spec.per_fold and spec.name != HEADLINE]
    columns = {"fold": m["folds"], "accuracy": m["accuracy_per_fold"]}
    columns["two_class_auc"] = (m.get("two_class") or {}).get("auc_per_fold")
    columns |= {name: m.get(f"{name}_per_fold") for name in others}
    for place in range(len(m["folds"])):
        yield {name: values[place] if values else None for name, values in columns.items()}


def _per_class(m: Metrics, specs: Specs) -> Iterator[Row]:
    inside = (m["intervals"] or {}).get("per_class") or {}
    for label, values in m["per_class"].items():
        row = {"class": label, **{name: values[name] for name in ("n", *CLASS_METRICS)}}
        for name in CLASS_METRICS:
            row |= _ends(inside.get(label, {}).get(name), f"{name}_")
        yield row


def _confusion(m: Metrics, specs: Specs) -> Iterator[Row]:
    for true, line in zip(m["classes"], m["confusion"], strict=True):
        for predicted, count in zip(m["classes"], line, strict=True):
            yield {"true": true, "predicted": predicted, "n": count}


def _two_class(m: Metrics, specs: Specs) -> Iterator[Row]:
    if view := m.get("two_class"):
        inside = (m["intervals"] or {}).get("two_class", {})
        several = len(m["folds"]) > 1  # one fold has no spread
        row = {"positive": " + ".join(view["positive"]), "rule": view["rule"], "accuracy": view["accuracy"]}
        row |= {**_ends(inside.get("accuracy"), "accuracy_"), "accuracy_std": view["accuracy_std"] if several else None}
        row |= {"auc": view["auc"], **_ends(inside.get("auc"), "auc_"), "auc_mean": view["auc_mean"]}
        yield {**row, "auc_std": view["auc_std"] if several else None}


def _set_points(m: Metrics, specs: Specs) -> Iterator[Row]:
    """Yield given points, and those of a wanted sensitivity, which is empty for the others."""
    view = m.get("two_class") or {"thresholds": ()}
    within = ((m["intervals"] or {}).get("two_class") or {}).get("thresholds", ())
    inside = {one["threshold"]: one for one in within}
    counts = ("true_negative", "false_positive", "false_negative", "true_positive")
    for point in (*view["thresholds"], *view.get("wanted", ())):
        wanted = point.get("wanted")
        own = inside.get(point["threshold"], {}) if wanted is None else {}
        row = {"positive": " + ".join(view["positive"])}
        row |= {key: point[key] for key in ("threshold", "sensitivity", "specificity")}
        row |= {**dict(zip(counts, chain(*point["confusion"]), strict=True)), "rule": view["rule"]}
        for side in ("sensitivity", "specificity"):
            row |= _ends(own.get(side) or point.get(f"{side}_interval"), f"{side}_")
        more = ("ppv", "npv", "lr_positive", "lr_negative", "net_benefit")
        yield {**row, **{key: point.get(key) for key in more}, "wanted": wanted}


def _fold_notes(m: Metrics, specs: Specs) -> list[Row]:
    return _picked(m.get("fold_notes", ()), "fold", "label", "trained")


def _calibration(m: Metrics, specs: Specs) -> list[Row]:
    return _picked((m["calibration"] or {}).get("bins", ()), "confidence", "accuracy", "n")


def _abstention(m: Metrics, specs: Specs) -> list[Row]:
    return _picked(m["abstention"] or (), "coverage", "confidence", "n", "accuracy")


def _decision(m: Metrics, specs: Specs) -> Iterator[Row]:
    names = ("threshold", "model", "treat_all")
    if curve := (m.get("two_class") or {}).get("decision_curve"):
        for row in zip(*(curve[name] for name in names), strict=True):
            yield dict(zip(names, row, strict=True))


def _subgroups(m: Metrics, specs: Specs) -> Iterator[Row]:
    for by, found in m.get("subgroups", {}).items():
        for one in found:
            row = {"column": by, **{key: one[key] for key in ("value", "n", "units", "accuracy")}}
            row |= {**_ends(one["interval"]), "difference": one["difference"]}
            yield row | _ends(one["difference_interval"], "difference_")


def _paired(pairs: Iterable[Metrics]) -> Iterator[Row]:
    for pair in pairs:
        test, corrected = pair["mcnemar"], pair["corrected_t"]
        row = {key: pair[key] for key in ("second", "first", "difference")} | _ends(pair["interval"])
        row |= {f"{side}_right": test[side] for side in ("only_first", "only_second")}
        row |= {"mcnemar_p": test["p"], "corrected_t_p": corrected["p"] if corrected else None}
        yield row | {key: pair.get(key) for key in ("test", "p", "p_holm", "primary")}


def _differences(pairs: Iterable[Metrics]) -> Iterator[Row]:
    for pair in pairs:
        for name, found in pair.get("differences", {}).items():
            if found:
                row = {"second": pair["second"], "first": pair["first"], "figure": name}
                row |= {"difference": found["difference"], **_ends(found["interval"])}
                yield {**row, "method": found["method"]}


_OF_EACH = {
    "tables": _summary,
    "per-fold": _per_fold,
    "per-class": _per_class,
    "confusion": _confusion,
    "two-class": _two_class,
    "set-points": _set_points,
    "fold-notes": _fold_notes,
    "calibration": _calibration,
    "abstention": _abstention,
    "decision-curve": _decision,
    "subgroups": _subgroups,
}
_OF_PAIRS = {"paired-tests": _paired, "differences": _differences}

TABLES = (*_OF_EACH, *_OF_PAIRS)
"""Names of the files."""
