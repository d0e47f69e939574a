"""The tables of an evaluation as CSV and LaTeX: every table that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .class_metrics import CLASS_METRICS
from .columns import shown_metrics, summary_names, summary_values
from .latex import write_table
from .metric import HEADLINE

__all__ = ["write_tables"]

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
        ``set-points``, ``fold-notes``, ``calibration``, ``abstention`` and ``paired-tests``; those without a row are
        left out.
    """
    made = {
        "tables": _summary(tables),
        "per-fold": _per_fold(tables),
        "per-class": _per_class(tables),
        "confusion": _confusion(tables),
        "two-class": _two_class(tables),
        "set-points": _operating_points(tables),
        "fold-notes": _fold_notes(tables),
        "calibration": _calibration(tables),
        "abstention": _abstention(tables),
        "paired-tests": _paired(pairs),
    }
    wrote = []
    for name, (header, rows) in made.items():
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
    names = ["n", *(metric.name for metric in CLASS_METRICS)]
    rows = [
        [table, label, *(values[name] for name in names)]
        for table, m in tables.items()
        for label, values in m["per_class"].items()
    ]
    return ["table", "class", *names], rows


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
            rows.append([
                table, " + ".join(view["positive"]), view["rule"], view["accuracy"], *accuracy, view["accuracy_std"],
                view["auc"], *auc, view["auc_mean"], view["auc_std"],
            ])  # fmt: skip
    return header, rows


def _fold_notes(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ["fold", "label", "trained"]
    rows = [[table, *(note[key] for key in names)] for table, m in tables.items() for note in m.get("fold_notes", ())]
    return ["table", *names], rows


def _operating_points(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    header = ["table", "positive", "threshold", "sensitivity", "specificity", "true_negative", "false_positive",
              "false_negative", "true_positive", "rule"]  # fmt: skip
    rows = [
        [table, " + ".join(view["positive"]), point["threshold"], point["sensitivity"], point["specificity"],
         *(count for line in point["confusion"] for count in line), view["rule"]]
        for table, m in tables.items()
        if (view := m.get("two_class"))
        for point in view["thresholds"]
    ]  # fmt: skip
    return header, rows


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
              "corrected_t_p"]  # fmt: skip
    rows = []
    for row in pairs:
        low, high = row["interval"] or (None, None)
        test = row["mcnemar"]
        corrected = row["corrected_t"]["p"] if row["corrected_t"] else None
        counts = [test["only_first"], test["only_second"], test["p"], corrected]
        rows.append([row["second"], row["first"], row["difference"], low, high, *counts])
    return header, rows
