"""What a report says of several tables, of subgroups and of external images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..evaluate import (
    Panel,
    called,
    counted,
    images_tested,
    name_of,
    plural,
    rows_of,
)
from .forms import NOTHING, p_value, percent, points, span
from .page import Block, Grid
from .tables import interval_cell, shown_metrics, summary_cells

_PAIRED = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC",
           "sensitivity": "sensitivity", "specificity": "specificity"}  # fmt: skip


def side_by_side(panels: Sequence[Panel]) -> Grid:
    """Return the figures of all tables, a row each; what is the same for all stands in the caption."""
    specs = shown_metrics(panel.metrics for panel in panels)
    cells = [summary_cells(specs, panel.metrics) for panel in panels]
    about = [f"{images_tested(panel.metrics)}, {panel.metrics['protocol']}" for panel in panels]
    same = len(set(about)) == 1
    header = ["table", *([] if same else ["predictions and protocol"]), *(heading for heading, _ in cells[0])]
    rows = [
        [panel.table.name, *([] if same else [text]), *(cell for _, cell in figures)]
        for panel, text, figures in zip(panels, about, cells, strict=True)
    ]
    caption = "All tables, with 95 % intervals" + (f": {about[0]}" if same else "")
    return Grid(caption, header, rows, words=() if same else (1,))


def comparison_blocks(pairs: Sequence[Mapping[str, Any]], panels: Sequence[Panel]) -> Iterator[Block]:
    """Show tests of two tables, and the differences of all their figures."""
    if not pairs:
        return
    rows, more = [], []
    tests = [named_test(pair, name_of(panels[0].metrics, pair.get("unit", "row"))) for pair in pairs]
    shown = [key for key in _PAIRED if any(pair.get("differences", {}).get(key) for pair in pairs)]
    for pair, test in zip(pairs, tests, strict=True):
        name = f"{pair['second']} against {pair['first']}"
        ps = [p_value(pair.get(key), sign=False) for key in ("p", "p_holm", "least_p")]
        only = f"{pair['only_first']} / {pair['only_second']}"
        power = (_or_nothing(pair.get("detectable"), span), _or_nothing(pair.get("units_needed"), "{:,}".format))
        test = test if len(set(tests)) > 1 else NOTHING
        rows.append([name, points(pair["difference"]), points(pair["interval"]), only, test, *ps, *power])
        more.append([name, *(_difference(pair["differences"].get(key), key) for key in shown)])
    header = ["second against first", "accuracy, points", "95 % interval", "only first / only second right", "test"]
    header += ["p", "p, Holm", "least possible p", "detectable, points", "units needed"]
    known = [column for column in range(len(header)) if any(row[column] != NOTHING for row in rows)]
    header, rows = [header[column] for column in known], [[row[column] for column in known] for row in rows]
    caption = f"Paired tests of {counted(len(pairs), 'pair')} of tables about the same rows"
    if len(set(tests)) == 1:
        caption += f", by {tests[0]}"
    if any(pair.get("variance_factor", 1.0) != 1.0 for pair in pairs):
        caption += "; p is approximate, since the training parts of folds overlap"
    yield Block(grid=Grid(caption, header, rows))
    if shown:
        methods = {change["method"]: None for pair in pairs for change in pair["differences"].values() if change}
        caption = f"Differences with 95 % intervals ({'; '.join(methods)}): points of percent, AUC as it is"
        yield Block(grid=Grid(caption, ["second less first", *(_PAIRED[key] for key in shown)], more))


def _or_nothing(value: float | None, form: Callable[[float], str]) -> str:
    return NOTHING if value is None else form(value)


def _difference(change: Mapping[str, Any] | None, key: str) -> str:
    """Write a difference with its interval below it."""
    if not change or change["difference"] is None:
        return "–"
    form = points if key != "auc" else _auc_points
    return form(change["difference"]) + (f"\n({form(change['interval'])})" if change["interval"] else "")


def _auc_points(value: float | Sequence[float]) -> str:
    return " to ".join(f"{end:+.3f}" for end in (value if isinstance(value, Sequence) else [value]))


def external_blocks(panel: Panel) -> Iterator[Block]:
    """Show how far a table falls behind those of the images that its models come from."""
    for validation in panel.external:
        yield Block(text=called(panel.metrics, validation["sentence"]))
        rows = []
        for name, figure in validation["figures"].items():
            key = "auc" if "auc" in name else name
            unit = "number" if key == "auc" else "percent"
            values = (interval_cell(unit, figure[side], None) for side in ("internal", "external"))
            title = name.replace("_", " ").replace("auc", "AUC")
            rows.append([title, *values, _difference(figure | {"difference": figure["drop"]}, key)])
        both = f"{validation['against']} (internal) and {validation['table']} (external)"
        caption = f"{both}: drop in points of percent, AUC as it is"
        yield Block(grid=Grid(caption, ("figure", "internal", "external", "drop, with 95 % interval"), rows))
        if validation["wanted"]:
            sides = ("sensitivity", "specificity")
            reached = []
            for point in validation["wanted"]:
                shares = (interval_cell("percent", point[side], point[f"{side}_interval"]) for side in sides)
                reached.append([percent(point["wanted"]), f"{point['threshold']:.3f}", *shares])
            caption = (
                f"What thresholds of {validation['against']} for a wanted sensitivity reach on {validation['table']}"
            )
            yield Block(grid=Grid(caption, ("wanted sensitivity", "threshold", *sides), reached))


def subgroup_blocks(panel: Panel) -> Iterator[Block]:
    """Show the figures of the values of columns, and that they are exploratory."""
    columns = panel.metrics.get("subgroups", {})
    if columns:
        yield Block(
            note="Subgroups are exploratory: they were not planned with the study, and differences are not corrected "
            "for their number. One that matters is a question for new images."
        )
    rows_are, group = rows_of(panel.metrics), name_of(panel.metrics, "group")
    for by, subgroups in columns.items():
        rows = []
        for subgroup in subgroups:
            mark = "*" if subgroup["reason"] else ""
            accuracy = interval_cell("percent", subgroup["accuracy"], subgroup["interval"], mark)
            apart = _difference(
                {"difference": subgroup["difference"], "interval": subgroup["difference_interval"]}, "accuracy"
            )
            rows.append([subgroup["value"], f"{subgroup['n']:,}", f"{subgroup['units']:,}", accuracy, apart])
        units = f"{plural(group)} or other units" if any(panel.table.groups) else "units"
        header = [by, rows_are, units, "accuracy, with 95 % interval", "less that of all others, points"]
        yield Block(grid=Grid(f"{panel.table.name} by {by}, exploratory", header, rows))
        for reason in dict.fromkeys(subgroup["reason"] for subgroup in subgroups if subgroup["reason"]):
            yield Block(note=f"* The interval cannot be estimated: {called(panel.metrics, reason)}.")


def named_test(pair: Mapping[str, Any], unit: str) -> str:
    """Say by which test two tables were compared, and that its p is not the exact one where variances were raised.

    Parameters
    ----------
    pair : mapping
        Of `compare_tables`.
    unit : str
        What its ``unit`` is called.

    Examples
    --------
    >>> named_test({"test": "sign_flip", "units": 12, "variance_factor": 1.5}, "patient")
    'sign flips of 12 patients, variance times 1.5'
    """
    test = f"sign flips of {counted(pair['units'], unit)}" if pair.get("test") == "sign_flip" else "McNemar"
    factor = pair.get("variance_factor", 1.0)
    return test if factor == 1.0 else f"{test}, variance times {factor:g}"


def external_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an external validation says: the drop, and what thresholds of the internal table reach.

    Parameters
    ----------
    row : mapping
        Of `external_validation`.
    """
    yield row["sentence"]
    for point in row["wanted"]:
        yield (
            f"{row['table']}, threshold {point['threshold']:.3f} of {row['against']} for a wanted sensitivity of "
            f"{percent(point['wanted'])}: {_reached(point)}"
        )


def _reached(point: Mapping[str, Any]) -> str:
    ends = ((name, point[name], point.get(f"{name}_interval")) for name in ("sensitivity", "specificity"))
    return ", ".join(f"{name} {interval_cell('percent', value, inside, between=' ')}" for name, value, inside in ends)
