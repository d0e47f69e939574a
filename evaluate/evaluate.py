"""``bchisto evaluate``: prediction tables from anywhere to metrics and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..jobs import ensure_folder, read_json, write_json
from .aggregate import LEVELS, aggregate
from .compare import compare_pairs, unlike_pairs
from .intervals import bootstrap_intervals
from .metrics import DEFAULT_THRESHOLDS, compute_metrics
from .predictions import PredictionTable, read_predictions
from .report import Panel, write_report
from .tables import write_tables
from .two_class import TWO_CLASS_RULES, default_positive

__all__ = ["evaluate", "measure"]

_OURS = ("predictions.csv", "predictions-by-patch.csv")
"""Tables of a run, beside which stands what a reader must know of them."""

_MOST_NOTES = 3
"""Pairs of tables that are named where they cannot be compared (ours)."""


def measure(
    table: PredictionTable,
    *,
    positive: Sequence[str] = (),
    two_class: str = "sum",
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    bootstrap: int = 2000,
) -> dict[str, Any]:
    """Compute the metrics of a table and their intervals, see `compute_metrics` and `bootstrap_intervals`."""
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
    levels: Sequence[str] = ("row",),
    rules: Sequence[str] = ("average",),
) -> dict[str, Any]:
    """Evaluate prediction tables side by side.

    Parameters
    ----------
    sources : sequence of path
        Predictions CSV files, or run folders, of which every ``predictions.csv`` is taken.
    out : str or Path
        Gets ``metrics.json``, ``report.html``, and every table of it as CSV and LaTeX.
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
    levels : sequence of {"row", "image", "group"}
        One prediction per row (patch), per image, or per group (patient or slide); each makes tables of its own.
    rules : sequence of str
        How rows become one at the levels above the row, see `aggregate`.

    Returns
    -------
    dict
        What is in ``metrics.json``: ``{"tables": {name: metrics}, "comparisons": [...], "notes": [...]}``; paired tests
        are made between tables that hold the same images in the same folds, and the notes say which do not.

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
    strange = [level for level in levels if level not in LEVELS]
    if strange:
        raise InputError(f"--level {strange[0]}: no such level; choose one of {', '.join(LEVELS)}")
    steps = [(level, rule) for level in dict.fromkeys(levels) for rule in (rules if level != "row" else ("",))]
    steps = list(dict.fromkeys(steps))
    folder = ensure_folder(Path(out))
    panels: list[Panel] = []
    banners: dict[str, None] = {}
    for path, name in _tables(sources):
        facts = _facts(path)
        banners.update(dict.fromkeys(facts.get("banners", ())))
        for table in read_predictions(path, classes=classes or facts.get("classes", ()), name=name):
            if facts.get("protocol"):
                table = replace(table, protocol=str(facts["protocol"]))
            if not facts:
                banners.update(dict.fromkeys(_leaks(table)))
            for level, rule in steps:
                made = table if level == "row" else aggregate(table, rule=rule, level=level, positive=positive)
                if len(steps) > 1:
                    made = replace(made, name=f"{table.name} ({', '.join(filter(None, (level, rule)))})")
                metrics = measure(
                    made, positive=positive, two_class=two_class, thresholds=thresholds, bootstrap=bootstrap
                )
                panels.append(Panel(made, metrics))
    result: dict[str, Any] = {"tables": {panel.table.name: panel.metrics for panel in panels}}
    if len(result["tables"]) < len(panels):
        raise InputError("two tables have the same name; rename one of the files")
    compared = [panel.table for panel in panels]
    result["comparisons"] = compare_pairs(compared, replicates=bootstrap)
    unlike = unlike_pairs(compared) if len(steps) == 1 else []
    if len(unlike) > _MOST_NOTES:
        unlike[_MOST_NOTES:] = [f"{len(unlike) - _MOST_NOTES} further pairs of tables are not compared either"]
    result["notes"] = [*banners, *unlike]
    write_json(folder / "metrics.json", result)
    write_tables(folder, tables=result["tables"], comparisons=result["comparisons"])
    write_report(
        folder / "report.html",
        title="bchisto evaluation",
        panels=panels,
        banners=result["notes"],
        comparisons=result["comparisons"],
    )
    return result


def _leaks(table: PredictionTable) -> list[str]:
    """Say so where the folds of a partition split groups: then each such group trains and tests at once."""
    if len(set(table.image_ids)) < len(table) and table.patches is None:
        return []
    folds: dict[str, set[int]] = {}
    for group, fold in zip(table.groups, table.folds, strict=True):
        if group is not None and fold is not None:
            folds.setdefault(group, set()).add(fold)
    split = sorted(group for group, found in folds.items() if len(found) > 1)
    if not split:
        return []
    return [
        f"{table.name}: image-level folds on grouped data, {len(split)} groups are tested in several folds (first "
        f"{split[0]}) and so train and test at once; these numbers are too high for new patients"
    ]


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
    if path.name not in _OURS or not metrics.is_file():
        return {}
    facts = read_json(metrics).get("run", {})
    return facts if isinstance(facts, dict) else {}
