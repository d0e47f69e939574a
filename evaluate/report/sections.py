"""Sections of a report: on one table of predictions, and on the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import counted, plural
from .. import Panel, PredictionTable
from .answer import answer, findings, side_by_side, warnings, warnings_of
from .figures import calibration_figure, roc_figure
from .page import Block, Figure, Grid, Section, percent
from .tables import further_figures


def first_block(panels: Sequence[Panel], banners: Sequence[str]) -> Block:
    """Return the first answer of a report, which is how good, how sure and for whom, with all warnings."""
    if len(panels) == 1:
        notes = list(dict.fromkeys((*panels[0].run.get("banners", ()), *banners)))
        return answer_block(panels[0], warnings_of(panels[0].metrics, notes), single=True)
    values = {
        "rows": side_by_side(panels),
        "findings": findings(panels),
        "warnings": warnings(panels, banners),
    }
    return Block(template="answers.html", values=values)


def answer_block(panel: Panel, warnings: Sequence[str] = (), *, single: bool = False) -> Block:
    """Return the answer of one table, with its confusion matrix."""
    values = {"a": answer(panel.metrics), "warnings": warnings, "single": single, "run": panel.run}
    return Block(template="answer.html", values=values)


def panel_sections(panel: Panel, pictures: Sequence[Block]) -> Iterator[Section]:
    """Show a table but for its answer.

    Parameters
    ----------
    panel : Panel
    pictures : sequence of Block
        Errors, and what else is shown of its images.
    """
    metrics, view = panel.metrics, panel.metrics.get("two_class")
    values: dict[str, Any] = {"panel": panel, "figures": further_figures([metrics])}
    drawn = panel.drawn  # a run has a report of all its tables, too
    yield Section("Classes and errors", [Block(template="classes.html", values=values), *pictures])
    if metrics["calibration"] or metrics["calibration_note"] or view:
        if not drawn:
            drawn["reliability"] = calibration_figure(metrics) if metrics["calibration"] else None
            drawn["roc"] = roc_figure(panel.table, metrics) if view else None
        values |= drawn
        yield Section(
            "Calibration and operating points", [Block(template="calibration.html", values=values)]
        )


def picture_blocks(panels: Sequence[Panel]) -> tuple[list[list[Block]], list[list[Any]]]:
    """Return the pictures of each panel, numbered, and what they are."""
    blocks: list[list[Block]] = [[] for _ in panels]
    keys: list[list[Any]] = []
    for panel, shown in zip(panels, blocks, strict=True):
        for heading, hit in (("Wrongly classified", False), ("Correctly classified", True)):
            samples = [
                sample for sample in panel.samples if (sample.label == sample.predicted) == hit
            ]
            figures = []
            for sample in samples:
                if sample.picture:
                    keys.append(
                        [
                            len(keys) + 1,
                            sample.image_id,
                            sample.label,
                            sample.predicted,
                            sample.confidence,
                        ]
                    )
                    text = f"true {sample.label}, predicted {sample.predicted} ({percent(sample.confidence)})"
                    figures.append(Figure(sample.picture, *[f"Image {len(keys)}: {text}"] * 2))
            lacking = len(samples) - len(figures)
            note = f"{lacking} of {len(samples)} images could not be read." if lacking else ""
            if samples:
                shown.append(
                    Block(
                        heading=heading,
                        text="The most confident of them.",
                        note=note,
                        pictures=figures,
                    )
                )
    return blocks, keys


def image_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Show the flow of each run and the classes of each set of images, once.

    A flow has None where a number is not known.
    """
    for flow in {repr(flow): flow for panel in panels if (flow := panel.run.get("flow"))}.values():
        yield Block(template="flow.html", values={"flow": flow})
    sets: dict[frozenset[str], Panel] = {}
    for panel in panels:
        if panel.metrics["names"]["row"] != panel.metrics["names"]["group"]:
            sets.setdefault(frozenset(panel.table.image_ids), panel)
    for panel in sets.values():
        if len(sets) > 1:
            yield Block(heading=f"Images of {panel.table.name}")
        yield from cohort_blocks(panel.table)


def cohort_blocks(table: PredictionTable) -> Iterator[Block]:
    """Show images and groups of each class.

    Parameters
    ----------
    table : PredictionTable
        One row per patch or image; a row per group has nothing to add.
    """
    labels: dict[str, int] = dict(zip(table.image_ids, table.labels.tolist(), strict=True))
    owner = dict(zip(table.image_ids, table.groups, strict=True))
    grid = class_grid(table.classes, labels, owner, image=table.image_is, group=table.group_is)
    if table.patches is not None:
        counts = np.bincount(table.labels[table.first_rows], minlength=len(table.classes))
        rows = [
            [*row, f"{count:,}"]
            for row, count in zip(grid.rows, [*counts, counts.sum()], strict=True)
        ]
        grid = replace(grid, header=[*grid.header, "patches"], rows=rows)
    yield Block(grid=grid)
    kinds = Counter(
        name
        for name, _ in {(owner[image], label) for image, label in labels.items()}
        if name is not None
    )
    if several := sum(count > 1 for count in kinds.values()):
        verb = "has" if several == 1 else "have"
        yield Block(
            text=f"{counted(several, table.group_is)} {verb} {plural(table.image_is)} of more than one class."
        )


def class_grid(
    classes: Sequence[str],
    labels: Mapping[str, int],
    owner: Mapping[str, str | None],
    *,
    image: str,
    group: str,
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
    images, known = plural(image), any(name is not None for name in owner.values())
    per_class = [
        [image_id for image_id, label in labels.items() if label == k] for k in range(len(classes))
    ]
    header, rows = ["class", images], []
    for name, members in zip((*classes, "all"), (*per_class, list(labels)), strict=True):
        counts = Counter(owner[image_id] for image_id in members)
        unknown = counts.pop(None, 0)
        sizes = sorted(counts.values())
        spread = f"{np.median(sizes):g} ({sizes[0]} to {sizes[-1]})" if sizes else "–"
        rows.append(
            [
                name,
                f"{len(members):,}",
                *((f"{len(counts):,}", spread, f"{unknown:,}") if known else ()),
            ]
        )
    if known:
        header += [
            plural(group),
            f"{images} per {group}, median (range)",
            f"{images} of no known {group}",
        ]
    return Grid(f"{images.capitalize()} of each class", header, rows, total=True)
