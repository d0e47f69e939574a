"""Sections of a report: on one table of predictions, and on the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import counted, plural
from .. import Panel, PredictionTable, figures_of, rows_of, spread_sentence
from .answer import answer
from .figures import calibration_figure, roc_figure
from .page import Block, Grid, Section
from .tables import PublishedTable, other_figures

Metrics = Mapping[str, Any]

_BESIDE, _MOST_CLASSES = 6, 30
"""Maximum number of classes for a confusion matrix next to the answer, and for one at all."""


def answer_block(panel: Panel, warnings: Sequence[str], *, single: bool) -> Block:
    """Return how good, how sure and for whom, with the confusion matrix and the warnings.

    Of several tables the first sentence stands at the top of the report.
    """
    metrics = panel.metrics
    beside = confusion_grid(metrics) if len(metrics["classes"]) <= _BESIDE else None
    values = {"a": answer(metrics), "metrics": metrics, "warnings": warnings, "confusion": beside, "single": single}
    return Block(template="answer.html", values={**values, "trained": bool(panel.run.get("methods"))})


def confusion_grid(metrics: Metrics) -> Grid:
    """Return how many rows of each class, a line each, were called which."""
    classes = metrics["classes"]
    rows = [
        [name, *(f"{count:,}" for count in counts)] for name, counts in zip(classes, metrics["confusion"], strict=True)
    ]
    return Grid(f"Number of {rows_of(metrics)}: true class by row, predicted class by column", ["", *classes], rows)


def panel_sections(panel: Panel, pictures: Sequence[Block]) -> Iterator[Section]:
    """Show a table but for its answer.

    Parameters
    ----------
    panel : Panel
    pictures : sequence of Block
        Errors, and what else is shown of its images.
    """
    metrics, view = panel.metrics, panel.metrics.get("two_class") or {}
    several = len(metrics["classes"])
    values = {"m": metrics, "points": view.get("thresholds") or view.get("wanted")}
    reasons = dict.fromkeys(figure["reason"] for _, figure in figures_of(metrics) if figure["reason"])
    spread = panel.run.get("variance")
    paper = None
    if panel.paper is not None:
        header, *rows = panel.paper.lines()
        shown = rows[:-1] if len(rows) == 2 else rows  # the fusion of one store is that store
        paper = Grid(_PAPER, header, shown, total=len(rows) > 2)
    classes = {
        "confusion": confusion_grid(metrics) if _BESIDE < several <= _MOST_CLASSES else None,
        "many": several > _MOST_CLASSES,
        "names": view.get("positive") or metrics["classes"][1:] if several == 2 else metrics["classes"],
        "rows": rows_of(metrics),
        "figures": other_figures(metrics),
        "spread": spread and spread_sentence(spread),
        "reasons": list(reasons),
        "paper": paper,
    }
    yield Section("Classes and errors", [Block(template="classes.html", values=values | classes), *pictures])
    if metrics["calibration"] or metrics["calibration_note"] or view:
        values |= {
            "temperature": panel.run.get("bundle", {}).get("temperature"),
            "reliability": calibration_figure(metrics) if metrics["calibration"] else None,
            "roc": roc_figure(panel.table, metrics) if view else None,
        }
        yield Section("Calibration and operating points", [Block(template="calibration.html", values=values)])


_PAPER = "Accuracy per fold, percent: for one feature file the mean over seeds; “seed avg” is the seed ensemble"

_FLOW = {
    "found": "found",
    "refused": "refused, since their headers do not fit",
    "duplicates": "left out as near-duplicates of another image",
    "failed": "left out, since they could not be read",
    "unlabelled": "left out, since they have no label",
    "balanced": "left out at random before the split, so that all classes are as large",
    "used": "used by the folds",
}


_PARTS = {"train": "training", "val": "validation", "test": "test"}


def image_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Show the flow of each run and the classes of each set of images, once.

    A flow has None where a number is not known.
    """
    for flow in {repr(flow): flow for panel in panels if (flow := panel.run.get("flow"))}.values():
        numbers = [
            [text, "not known" if flow[key] is None else f"{flow[key]:,}"]
            for key, text in _FLOW.items()
            if key in flow and (flow[key] != 0 or key in ("found", "used"))
        ]
        if numbers:
            yield Block(grid=Grid("Flow of images", ("images", "number"), numbers))
    for panel in {repr(panel.run.get("parts")): panel for panel in panels if panel.run.get("parts")}.values():
        yield Block(template="folded.html", values={"grid": part_grid(panel.run["parts"], panel.metrics)})
    sets: dict[frozenset[str], Panel] = {}
    for panel in panels:
        if panel.metrics["names"]["row"] != panel.metrics["names"]["group"]:
            sets.setdefault(frozenset(panel.table.image_ids), panel)
    for panel in sets.values():
        if len(sets) > 1:
            yield Block(heading=f"Images of {panel.table.name}")
        yield from cohort_blocks(panel.table)


def comparison_block(pairs: Sequence[Mapping[str, Any]], panels: Sequence[Panel]) -> Block:
    """Show tests of two tables, and the differences of all their figures."""
    names = panels[0].metrics["names"]
    titles = {"accuracy": "accuracy", "by_unit": f"accuracy by {names['group']}", "auc": "AUC"} | {
        name: name.replace("_", " ") for name in ("balanced_accuracy", "sensitivity", "specificity")
    }
    figures = {key: title for key, title in titles.items() if any(pair["differences"].get(key) for pair in pairs)}
    reasons = sorted({c["reason"] for pair in pairs for c in pair["differences"].values() if c["reason"]})
    values = {"pairs": pairs, "names": names, "figures": figures, "reasons": reasons}
    return Block(template="comparisons.html", values=values)


def published_blocks(table: PublishedTable) -> Iterator[Block]:
    """Show a table of published figures and the obtained ones."""
    for line in (f"Published: {table.source}.", *table.note.splitlines(), table.left_out()):
        if line:
            yield Block(text=line)
    yield Block(grid=Grid(f"{table.title}: published and obtained", table.header(), table.rows()))


def form_block(panels: Sequence[Panel], settings: Mapping[str, str], *, external: bool) -> Block:
    """Fill in what a run knows of TRIPOD+AI, and leave open what only authors know."""
    metrics = [panel.metrics for panel in panels]
    values = {
        "tables": metrics,
        "trained": any(panel.run.get("methods") for panel in panels),
        "known": any(table["units"]["kind"] == "group" for table in metrics),
        "settings": bool(settings) or any(panel.run.get("settings") for panel in panels),
        "subgroups": any(table.get("subgroups") for table in metrics),
        "external": external,
        "flow": any(panel.run.get("flow") for panel in panels),
        "probabilities": any(panel.table.probabilities is not None for panel in panels),
        "points": any((table.get("two_class") or {}).get("thresholds") for table in metrics),
    }
    return Block(template="tripod.html", values=values)


def setting_blocks(panels: Sequence[Panel], settings: Mapping[str, str]) -> Iterator[Block]:
    """Show what was set, the settings of several runs apart, and the versions that computed."""
    shown: list[tuple[str, Mapping[str, str]]] = [("Settings", dict(settings))]
    for panel in panels:
        recorded = panel.run.get("settings") or {}
        if recorded not in (values for _, values in shown):
            shown.append((f"Settings of {panel.table.name}" if len(panels) > 1 else "Settings", recorded))
    for versions in {repr(used): used for panel in panels if (used := panel.run.get("versions"))}.values():
        shown.append(("Versions that computed", versions))
    for caption, values in shown:
        if values:
            yield Block(grid=Grid(caption, ("name", "value"), list(values.items()), words=(1,)))


def part_grid(parts: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> Grid:
    """Return the images, and in brackets the groups, of each class in the parts of each fold.

    Parameters
    ----------
    parts : sequence of mapping
        Of ``run`` in ``metrics.json``.
    metrics : mapping
        Of a table of the run.
    """
    counts = {(row["fold"], row["class"], row["part"]): row for row in parts}
    present = {(row["class"], row["part"]) for row in parts}
    columns = [(label, part) for label in metrics["classes"] for part in _PARTS if (label, part) in present]
    known = any(row["groups"] for row in parts)
    rows = []
    for fold in dict.fromkeys(row["fold"] for row in parts):
        cells = [counts.get((fold, *column), {"images": 0, "groups": 0}) for column in columns]
        rows.append([f"fold {fold}", *(f"{c['images']:,}" + f" ({c['groups']:,})" * known for c in cells)])
    of = f" ({plural(metrics['names']['group'])})" * known
    caption = f"{plural(metrics['names']['image']).capitalize()}{of} of each class in training and test of each fold"
    return Grid(caption, ["", *(f"{label}, {_PARTS[part]}" for label, part in columns)], rows)


def cohort_blocks(table: PredictionTable) -> Iterator[Block]:
    """Show images and groups of each class.

    Parameters
    ----------
    table : PredictionTable
        One row per patch or image; a row per group has nothing to add.
    """
    labels: dict[str, int] = dict(zip(table.image_ids, table.labels.tolist(), strict=True))
    owner = dict(zip(table.image_ids, table.groups, strict=True))
    image, group = table.image_is, table.group_is
    grid = class_grid(table.classes, labels, owner, image=image, group=group)
    if table.patches is not None:
        counts = np.bincount(table.labels[table.first_rows], minlength=len(table.classes))
        rows = [[*row, f"{count:,}"] for row, count in zip(grid.rows, [*counts, counts.sum()], strict=True)]
        grid = replace(grid, header=[*grid.header, "patches"], rows=rows)
    yield Block(grid=grid)
    classes: dict[str | None, set[int]] = {}
    for image_id, label in labels.items():
        classes.setdefault(owner[image_id], set()).add(label)
    several = sum(len(kinds) > 1 for name, kinds in classes.items() if name is not None)
    if several:
        verb = "has" if several == 1 else "have"
        yield Block(text=f"{counted(several, group)} {verb} {plural(image)} of more than one class.")


def class_grid(
    classes: Sequence[str], labels: Mapping[str, int], owner: Mapping[str, str | None], *, image: str, group: str
) -> Grid:
    """Return a table of the images and groups of each class, and of all.

    Parameters
    ----------
    classes : sequence of str
    labels : mapping of str to int
        Image id to the place of its class.
    owner : mapping of str to (str or None)
        Image id to its group; None where unknown. Groups are shown where any is known.
    image, group : str
        What these are called.
    """
    per_class = [[image_id for image_id, label in labels.items() if label == k] for k in range(len(classes))]
    known = any(name is not None for name in owner.values())
    header, rows = ["class", plural(image)], []
    for name, members in zip((*classes, "all"), (*per_class, list(labels)), strict=True):
        images = Counter(owner[image_id] for image_id in members)
        unknown = images.pop(None, 0)
        sizes = sorted(images.values())
        spread = f"{np.median(sizes):g} ({sizes[0]} to {sizes[-1]})" if sizes else "–"
        rows.append([name, f"{len(members):,}", *((f"{len(images):,}", spread, f"{unknown:,}") if known else ())])
    if known:
        header += [
            plural(group),
            f"{plural(image)} per {group}, median (range)",
            f"{plural(image)} of no known {group}",
        ]
    return Grid(f"{plural(image).capitalize()} of each class", header, rows, total=True)
