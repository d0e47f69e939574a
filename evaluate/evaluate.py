"""``bchisto evaluate``: prediction tables from anywhere to metrics and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..jobs import ensure_folder, read_json, write_json, write_rows
from .aggregate import aggregate
from .compare import compare_pairs
from .intervals import bootstrap_intervals
from .latex import write_latex
from .metrics import DEFAULT_THRESHOLDS, compute_metrics
from .predictions import PredictionTable, read_predictions
from .report import Panel, write_report
from .two_class import TWO_CLASS_RULES, default_positive

__all__ = ["evaluate", "measure"]


def measure(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    bootstrap: int = 2000,
) -> dict[str, Any]:
    """Compute the metrics of a table and their intervals."""
    chosen = tuple(positive) or default_positive(table.classes)
    metrics = compute_metrics(table, positive=chosen, two_class=two_class, thresholds=thresholds)
    metrics["intervals"] = bootstrap_intervals(
        table, positive=chosen, two_class=two_class, thresholds=thresholds, replicates=bootstrap
    )
    return metrics


def evaluate(
    sources: Sequence[str | Path],
    *,
    out: str | Path,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    bootstrap: int = 2000,
    classes: Sequence[str] = (),
    level: str = "row",
    rule: str = "average",
) -> dict[str, Any]:
    """Evaluate prediction tables side by side.

    Parameters
    ----------
    sources : sequence of path
        Predictions CSV files, or run folders, of which every ``predictions.csv`` is taken.
    out : str or Path
        Gets ``metrics.json``, ``tables.csv``, ``tables.tex`` and ``report.html``.
    positive : sequence of str
        Positive classes of the two-class view; by default those of a known dataset (carcinoma, malignant).
    two_class : {"sum", "max"}
        Rule of the two-class score.
    thresholds : sequence of float
        Set points.
    bootstrap : int
        Replicates of the intervals; 0 for none.
    classes : sequence of str
        Class order.
    level : {"row", "group"}
        One prediction per row, or one per group (patient, slide, or image of a patch).
    rule : str
        How rows of a group become one, see `aggregate`.

    Returns
    -------
    dict
        What is in ``metrics.json``: ``{"tables": {name: metrics}, "comparisons": [...]}``; paired tests are made
        between tables that hold the same images in the same folds.

    Raises
    ------
    InputError
        A table that does not fit, see `read_predictions`; no table in a run folder.
    """
    if two_class not in TWO_CLASS_RULES:
        raise InputError(f"--two-class {two_class}: choose one of {', '.join(TWO_CLASS_RULES)}")
    if bootstrap < 0:
        raise InputError(f"--bootstrap {bootstrap}: give 0 or more replicates")
    for threshold in thresholds:
        if not 0.0 <= threshold <= 1.0:
            raise InputError(f"--threshold {threshold}: give a score between 0 and 1")
    folder = ensure_folder(Path(out))
    panels: list[Panel] = []
    banners: dict[str, None] = {}
    for path, name in _tables(sources):
        facts = _facts(path)
        banners.update(dict.fromkeys(facts.get("banners", ())))
        for table in read_predictions(path, classes=classes or facts.get("classes", ()), name=name):
            if facts.get("protocol"):
                table = replace(table, protocol=str(facts["protocol"]))
            if level == "group":
                table = aggregate(table, rule=rule, positive=positive)
            metrics = measure(table, positive=positive, two_class=two_class, thresholds=thresholds, bootstrap=bootstrap)
            panels.append(Panel(table, metrics))
    result: dict[str, Any] = {"tables": {panel.table.name: panel.metrics for panel in panels}}
    if len(result["tables"]) < len(panels):
        raise InputError("two tables have the same name; rename one of the files")
    result["comparisons"] = compare_pairs([panel.table for panel in panels], replicates=bootstrap)
    write_json(folder / "metrics.json", result)
    header, rows = _summary(panels)
    write_rows(folder / "tables.csv", header, rows)
    write_latex(folder / "tables.tex", header, [[_cell(value) for value in row] for row in rows])
    write_report(
        folder / "report.html",
        title="bchisto evaluation",
        panels=panels,
        banners=list(banners),
        comparisons=result["comparisons"],
    )
    return result


def _tables(sources: Sequence[str | Path]) -> list[tuple[Path, str]]:
    """Return every table with its name: a file's stem or its protocol's folder, longer where these are not unique."""
    found: list[tuple[Path, str, str]] = []
    for source in map(Path, sources):
        if not source.is_dir():
            found.append((source, source.stem, source.with_suffix("").as_posix()))
            continue
        inside = sorted(source.glob("**/predictions.csv"))
        if not inside:
            raise InputError(f"{source}: no predictions.csv in this run folder; run bchisto boost first")
        found.extend((path, path.parent.name, f"{source.as_posix()}/{path.parent.name}") for path in inside)
    short = Counter(name for _, name, _ in found)
    return [(path, name if short[name] == 1 else long) for path, name, long in found]


def _facts(path: Path) -> dict[str, Any]:
    """What the run says of a table: its protocol and what a reader must know; empty for tables from elsewhere."""
    metrics = path.parent / "metrics.json"
    if path.name != "predictions.csv" or not metrics.is_file():
        return {}
    facts = read_json(metrics).get("run", {})
    return facts if isinstance(facts, dict) else {}


def _summary(panels: Sequence[Panel]) -> tuple[list[str], list[list[Any]]]:
    header = [
        "table",
        "protocol",
        "n",
        "accuracy",
        "low",
        "high",
        "accuracy_mean",
        "accuracy_std",
        "balanced_accuracy",
        "auc",
    ]
    rows = []
    for panel in panels:
        m = panel.metrics
        low, high = (m["intervals"] or {}).get("accuracy") or (None, None)
        rows.append(
            [panel.table.name, m["protocol"], m["n"], m["accuracy"], low, high, m["accuracy_mean"], m["accuracy_std"],
             m["balanced_accuracy"], m["auc"]]
        )  # fmt: skip
    return header, rows


def _cell(value: Any) -> str:
    if value is None:
        return "--"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
