"""Sections of a report: on one table of predictions, and on the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from ...core import Content, counted, plural
from .. import Metrics, Panel, PredictionTable, conclude, constant_folds, rankings, verdict_of
from .answer import findings, leading, side_by_side
from .drawings import calibration_drawings, precision_drawing, results_drawing, roc_drawing
from .page import NOTHING, Block, Drawing, Grid, Section, percent
from .tables import further_figures


def first_block(panels: Sequence[Panel], pairs: Sequence[Metrics]) -> Block:
    """Return the first answer of a report, which is how good, how sure and for whom.

    Parameters
    ----------
    panels : sequence of Panel
    pairs : sequence of mapping
        Results of `compare_pairs`.
    """
    if len(panels) == 1:
        return answer_block(panels[0], single=True)
    ranked = rankings(panels, pairs)
    values = {
        "drawing": results_drawing([panel.decisive for panel in panels]) if panels else None,
        "leading": leading(ranked),
        "findings": findings(ranked),
        "firsts": [(r.panels[0].table.name, conclude(r.panels[0].metrics)) for r in ranked],
        "unsure": any(verdict_of(panel.metrics).kind in ("not shown", "worse") for panel in panels),
    }
    return Block(template="answers.html", values=values)


def glance_section(
    panels: Sequence[Panel],
    errors: Sequence[Sequence[Block]],
    address: str,
    *,
    links: Mapping[str, str],
    pairs: Sequence[Metrics],
) -> Section:
    """Return what the first printed page shows below the answer.

    Of a single table the worst errors, and what its figures mean. Of several their figures, the confusion matrix of
    the first that learnt something, and its worst errors. Of both the address of the report of the run, if there is
    one. `links` are the addresses of the tables' own reports by their names; for `pairs` see `first_block`.
    """
    if len(panels) == 1:
        values: Content = {"a": conclude(panels[0].metrics), "address": address}
        meaning = Block(template="meaning.html", values=values)
        return Section("Errors, and what the figures mean", [*errors[0], meaning])
    rows = side_by_side(rankings(panels, pairs), comparisons=len(pairs))
    values = {"rows": rows, "links": links, "address": address}
    row = first_learnt(panels)
    if row is not None:
        values |= {"a": conclude(panels[row].metrics), "name": panels[row].table.name}
    results = Block(template="results.html", values=values)
    return Section("At a glance", [results, *chain.from_iterable(errors)])


def first_learnt(panels: Sequence[Panel]) -> int | None:
    """Return the position of the first table that predicts several classes and is constant in no fold; None if none."""
    for row, panel in enumerate(panels):
        table = panel.table
        if len(set(table.predicted.tolist())) > 1 and constant_folds(table) is None:
            return row
    return None


def answer_block(panel: Panel, *, single: bool = False) -> Block:
    """Return the answer of one table; with its confusion matrix, or if it is the only one with its figures drawn."""
    values = {"a": conclude(panel.metrics), "single": single, "run": panel.run}
    if single:
        values["drawing"] = results_drawing([panel.decisive])
    return Block(template="answer.html", values=values)


def panel_sections(
    panel: Panel, pictures: Sequence[Block], *, folded: bool = False
) -> Iterator[Section]:
    """Yield the sections on a table, except for its answer.

    Parameters
    ----------
    panel : Panel
    pictures : sequence of Block
        Errors, and what else is shown of its images.
    folded : bool
        Whether calibration and the accuracy per fold take a click, as of a table that is not the first.
    """
    metrics = panel.metrics
    view = metrics.get("two_class")
    values = {"panel": panel, "figures": further_figures([metrics]), "folded": folded}
    yield Section("Classes and errors", [Block(template="classes.html", values=values), *pictures])
    if metrics["calibration"] or metrics["calibration_note"] or view:
        drawings = panel.drawn  # a run has a report of all its tables, too
        if not drawings:
            drawings |= {
                "reliability": calibration_drawings(panel.table, metrics),
                "roc": roc_drawing(panel.table, metrics),
                "precision": precision_drawing(panel.table, metrics),
            }
        values |= drawings
        block = Block(template="calibration.html", values=values, folded=folded)
        yield Section("Calibration and operating points", [block])


def picture_blocks(
    panels: Sequence[Panel],
) -> tuple[list[list[Block]], list[list[Block]], list[list[Any]]]:
    """Return the pictures of each panel's errors and of its right images, all numbered, and a list of the numbers."""
    keys: list[list[Any]] = []
    suffix = ""
    if len(panels) > 1:
        suffix = " by {}"
    errors, right = (
        [
            _sample_blocks(panel, heading + suffix.format(panel.table.name), hits, keys)
            for panel in panels
        ]
        for heading, hits in (("Wrongly classified", False), ("Correctly classified", True))
    )
    return errors, right, keys


def _sample_blocks(panel: Panel, heading: str, hits: bool, keys: list[list[Any]]) -> list[Block]:
    """Return the pictures of right or of wrong images, whose numbers continue those in `keys`, and list them there."""
    samples = [item for item in panel.samples if (item.label == item.predicted) == hits]
    if not samples:
        return []
    pictures = []
    for sample in samples:
        if not sample.picture:
            continue
        number = len(keys) + 1
        keys.append([number, *sample])
        result = f"true {sample.label}, predicted {sample.predicted} ({percent(sample.confidence)})"
        caption = f"Image {number}: {result}"
        pictures.append(Drawing(sample.picture, caption, caption))
    unread = len(samples) - len(pictures)
    note = f"{unread} of {len(samples)} images could not be read." if unread else ""
    text = "The most confident" + "; pictures.csv beside this page names all." * (not hits)
    return [Block(heading=heading, text=text, note=note, pictures=pictures)]


def image_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Yield the flow of each run and the classes of each set of images, once.

    A flow has None if a number is not known.
    """
    runs = [panel.run for panel in panels if panel.run.get("flow")]
    for run in {repr([run["flow"], run.get("doubts")]): run for run in runs}.values():
        yield Block(template="flow.html", values=run)
    if any(panel.metrics.get("unlabelled") for panel in panels):
        yield Block(template="unlabelled.html", values={"panels": panels})
    sets: dict[frozenset[str], Panel] = {}
    for panel in panels:
        if panel.metrics["names"]["row"] != panel.metrics["names"]["group"]:
            sets.setdefault(frozenset(panel.table.image_ids), panel)
    for panel in sets.values():
        if len(sets) > 1:
            yield Block(heading=f"Images of {panel.table.name}")
        yield from cohort_blocks(panel.table)


def cohort_blocks(table: PredictionTable) -> Iterator[Block]:
    """Yield a table of the images and groups of each class.

    Parameters
    ----------
    table : PredictionTable
        One row per patch or image; a row per group has nothing to add.
    """
    labels = dict(zip(table.image_ids, table.labels.tolist(), strict=True))
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
    mixed_count = sum(count > 1 for count in kinds.values())
    if mixed_count:
        yield Block(text=f"Of more than one class: {counted(mixed_count, table.group_is)}.")


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
        Image id to the position of its class.
    owner : mapping of str to (str or None)
        Image id to its group; None if unknown. Groups are shown if any is known.
    image, group : str
        Nouns for these.
    """
    images = plural(image)
    grouped = any(name is not None for name in owner.values())
    rows = []
    for k, name in enumerate(classes):
        class_ids = [image_id for image_id, label in labels.items() if label == k]
        rows.append(_class_row(name, class_ids, owner, grouped))
    rows.append(_class_row("all", list(labels), owner, grouped))
    header = ["class", images]
    if grouped:
        header += [
            plural(group),
            f"{images} per {group}, median (range)",
            f"{images} of no known {group}",
        ]
    return Grid(f"{images.capitalize()} of each class", header, rows)


def _class_row(
    name: str, image_ids: Sequence[str], owner: Mapping[str, str | None], grouped: bool
) -> list[str]:
    """Return the cells of a class: its images, and if groups are known these and their sizes."""
    cells = [name, f"{len(image_ids):,}"]
    if not grouped:
        return cells
    counts = Counter(owner[image_id] for image_id in image_ids)
    ungrouped = counts.pop(None, 0)
    sizes = sorted(counts.values())
    sizes_text = f"{np.median(sizes):g} ({sizes[0]} to {sizes[-1]})" if sizes else NOTHING
    return [*cells, f"{len(counts):,}", sizes_text, f"{ungrouped:,}"]
