"""The tables of an evaluation as CSV and LaTeX: every table that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .class_metrics import CLASS_METRICS
from .columns import shown_metrics, summary_names, summary_values
from .latex import write_table
from .metric import HEADLINE

TABLES = (
    "tables", "per-fold", "per-class", "confusion", "two-class", "set-points", "fold-notes", "calibration",
    "abstention", "decision-curve", "subgroups", "paired-tests", "differences",
)  # fmt: skip
"""Names of the files."""

Table = tuple[list[str], list[list[Any]]]


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
    makers = (_summary, _per_fold, _per_class, _confusion, _two_class, _operating_points, _fold_notes, _calibration,
              _abstention, _decision, _subgroups)  # fmt: skip
    made = [*(make(tables) for make in makers), _paired(pairs), _differences(pairs)]
    wrote = []
    for name, (header, rows) in zip(TABLES, made, strict=True):
        if rows:
            path = folder / f"{name}.csv"
            write_table(path, header, rows, shown=(header, [[_cell(value) for value in row] for row in rows]))
            wrote.append(path)
    return wrote


def _cell(value: Any) -> str:
    if value is None:
        return "--"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _summary(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    specs = shown_metrics(tables.values())
    rows = [[name, m["protocol"], m["n"], *summary_values(specs, m)] for name, m in tables.items()]
    return ["table", "protocol", "n", *summary_names(specs)], rows


def _per_fold(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    others = [spec for spec in shown_metrics(tables.values()) if spec.per_fold and spec.name != HEADLINE]
    rows = []
    for name, m in tables.items():
        nothing = [None] * len(m["folds"])
        columns = [m["folds"], m["accuracy_per_fold"], (m.get("two_class") or {}).get("auc_per_fold") or nothing]
        columns += [m.get(f"{spec.name}_per_fold") or nothing for spec in others]
        rows += [[name, *row] for row in zip(*columns, strict=True)]
    return ["table", "fold", "accuracy", "two_class_auc", *(spec.name for spec in others)], rows


def _per_class(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    metrics = [metric.name for metric in CLASS_METRICS]
    names = ["n", *metrics]
    rows = []
    for table, m in tables.items():
        inside = (m["intervals"] or {}).get("per_class") or {}
        for label, values in m["per_class"].items():
            ends = [end for name in metrics for end in inside.get(label, {}).get(name) or (None, None)]
            rows.append([table, label, *(values[name] for name in names), *ends])
    return ["table", "class", *names, *(f"{name}_{end}" for name in metrics for end in ("low", "high"))], rows


def _confusion(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [table, true, predicted, count]
        for table, m in tables.items()
        for true, line in zip(m["classes"], m["confusion"], strict=True)
        for predicted, count in zip(m["classes"], line, strict=True)
    ]
    return ["table", "true", "predicted", "n"], rows


def _two_class(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    header = ["table", "positive", "rule", "accuracy", "accuracy_low", "accuracy_high", "accuracy_std", "auc",
              "auc_low", "auc_high", "auc_mean", "auc_std"]  # fmt: skip
    rows = []
    for table, m in tables.items():
        if view := m.get("two_class"):
            inside = (m["intervals"] or {}).get("two_class", {})
            accuracy, auc = (inside.get(key) or (None, None) for key in ("accuracy", "auc"))
            several = len(m["folds"]) > 1  # one fold has no spread
            spreads = [view[key] if several else None for key in ("accuracy_std", "auc_std")]
            rows.append([
                table, " + ".join(view["positive"]), view["rule"], view["accuracy"], *accuracy, spreads[0],
                view["auc"], *auc, view["auc_mean"], spreads[1],
            ])  # fmt: skip
    return header, rows


def _fold_notes(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ["fold", "label", "trained"]
    rows = [[table, *(note[key] for key in names)] for table, m in tables.items() for note in m.get("fold_notes", ())]
    return ["table", *names], rows


_MORE = ("ppv", "npv", "lr_positive", "lr_negative", "net_benefit")


def _operating_points(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return given points, and those of a wanted sensitivity, which is empty for the others."""
    ends = [f"{side}_{end}" for side in ("sensitivity", "specificity") for end in ("low", "high")]
    header = ["table", "positive", "threshold", "sensitivity", "specificity", "true_negative", "false_positive",
              "false_negative", "true_positive", "rule", *ends, *_MORE, "wanted"]  # fmt: skip
    rows = []
    for table, m in tables.items():
        if not (view := m.get("two_class")):
            continue
        within = ((m["intervals"] or {}).get("two_class") or {}).get("thresholds", ())
        inside = {one["threshold"]: one for one in within}
        for point in (*view["thresholds"], *view.get("wanted", ())):
            wanted = point.get("wanted")
            own = inside.get(point["threshold"], {}) if wanted is None else {}
            bounds = [own.get(side) or point.get(f"{side}_interval") or (None, None) for side in header[3:5]]
            rows.append([
                table, " + ".join(view["positive"]), *(point[key] for key in header[2:5]),
                *(count for line in point["confusion"] for count in line), view["rule"],
                *(end for found in bounds for end in found),
                *(point.get(key) for key in _MORE), wanted,
            ])  # fmt: skip
    return header, rows


def _decision(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ["threshold", "model", "treat_all"]
    curves = {table: (m.get("two_class") or {}).get("decision_curve") for table, m in tables.items()}
    rows = [[table, *row] for table, c in curves.items() if c for row in zip(*(c[name] for name in names), strict=True)]
    return ["table", *names], rows


def _subgroups(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    header = ["table", "column", "value", "n", "units", "accuracy", "low", "high", "difference", "difference_low",
              "difference_high"]  # fmt: skip
    rows = [
        [table, by, *(one[key] for key in header[2:6]), *(one["interval"] or (None, None)), one["difference"],
         *(one["difference_interval"] or (None, None))]
        for table, m in tables.items()
        for by, found in m.get("subgroups", {}).items()
        for one in found
    ]  # fmt: skip
    return header, rows


def _differences(pairs: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for pair in pairs:
        for name, found in pair.get("differences", {}).items():
            if found:
                low, high = found["interval"] or (None, None)
                rows.append([pair["second"], pair["first"], name, found["difference"], low, high, found["method"]])
    return ["second", "first", "figure", "difference", "low", "high", "method"], rows


def _calibration(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [table, entry["confidence"], entry["accuracy"], entry["n"]]
        for table, m in tables.items()
        for entry in (m["calibration"] or {}).get("bins", ())
    ]
    return ["table", "confidence", "accuracy", "n"], rows


def _abstention(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ["coverage", "confidence", "n", "accuracy"]
    rows = [[table, *(entry[key] for key in names)] for table, m in tables.items() for entry in m["abstention"] or ()]
    return ["table", *names], rows


def _paired(pairs: Sequence[Mapping[str, Any]]) -> Table:
    header = ["second", "first", "difference", "low", "high", "only_first_right", "only_second_right", "mcnemar_p",
              "corrected_t_p", "test", "p", "p_holm", "primary"]  # fmt: skip
    rows = []
    for row in pairs:
        low, high = row["interval"] or (None, None)
        test = row["mcnemar"]
        corrected = row["corrected_t"]["p"] if row["corrected_t"] else None
        counts = [test["only_first"], test["only_second"], test["p"], corrected]
        counts += [row.get(key) for key in ("test", "p", "p_holm", "primary")]
        rows.append([row["second"], row["first"], row["difference"], low, high, *counts])
    return header, rows
