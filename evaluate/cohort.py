"""What a table is about: images and patients of each class, and the flow of images to it; no patient is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .columns import percent
from .page import Block, Grid
from .predictions import PredictionTable
from .resample import take_rows
from .wording import counted, plural

_MOST_GROUPS = 40
"""Patients that are listed one by one, those of most images first (ours)."""

_FLOW = {
    "found": "found",
    "refused": "refused, since their headers do not fit",
    "duplicates": "left out as copies of another image",
    "failed": "left out, since they could not be read",
    "unlabelled": "left out, since they have no label",
    "balanced": "left out at random before the split, so that all classes are as large",
    "used": "used by the folds",
}


def flow_blocks(flow: Mapping[str, int | None]) -> Iterator[Block]:
    """Show how many images were found, left out and used.

    Parameters
    ----------
    flow : mapping
        Of ``run`` in ``metrics.json``; None where a number is not known.
    """
    rows = [
        [said, "not known" if flow[key] is None else f"{flow[key]:,}"] for key, said in _FLOW.items() if key in flow
    ]
    if rows:
        yield Block(grid=Grid("Flow of images", ("images", "number"), rows))


def cohort_blocks(table: PredictionTable) -> Iterator[Block]:
    """Show images and groups of each class, and the rows and hits of each group.

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
    if not any(name is not None for name in owner.values()):
        yield Block(
            note=f"No patient or slide is known: {plural(image)} of one patient may stand on both sides of a fold, and "
            "intervals and tests take every one for independent of the others."
        )
        return
    classes: dict[str | None, set[int]] = {}
    for one, label in labels.items():
        classes.setdefault(owner[one], set()).add(label)
    several = sum(len(found) > 1 for name, found in classes.items() if name is not None)
    if several:
        verb = "has" if several == 1 else "have"
        yield Block(text=f"{counted(several, group)} {verb} {plural(image)} of more than one class.")
    yield from _each_group(table)


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
    per_class = [[one for one, label in labels.items() if label == k] for k in range(len(classes))]
    known = any(name is not None for name in owner.values())
    header, rows = ["class", plural(image)], []
    for name, members in zip((*classes, "all"), (*per_class, list(labels)), strict=True):
        images = Counter(owner[one] for one in members)
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


def _each_group(table: PredictionTable) -> Iterator[Block]:
    """List groups by their number of images or patches, numbered: which of each class, and how many rows are right."""
    once = take_rows(table, table.first_rows)
    names, names_once = (np.array([name or "" for name in one.groups]) for one in (table, once))
    rows: list[Sequence[str]] = []
    sizes = Counter(name for name in once.groups if name is not None)
    for number, (name, size) in enumerate(sizes.most_common(_MOST_GROUPS), start=1):
        mine = names == name
        counts = np.bincount(once.labels[names_once == name], minlength=len(table.classes))
        right = float((table.predicted == table.labels)[mine].mean())
        rows.append([f"{number}", *(f"{count:,}" for count in counts), f"{size:,}", percent(right)])
    if len(sizes) < 2:
        return
    group, row = table.group_is, table.row_is
    shown = f"the {_MOST_GROUPS} largest of {len(sizes)}, " if len(sizes) > _MOST_GROUPS else ""
    yield Block(
        grid=Grid(
            f"{plural(row).capitalize()} of each {group} by class ({shown}numbered by their size, without names)",
            [group, *table.classes, "all", "right"],
            rows,
        )
    )
