"""Figures of the images that share a value of a column, such as a site or a scanner: exploratory, none is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import PARTICULARS, column_key, read_particulars
from ..errors import InputError
from ..jobs import read_records
from .external import independent_difference
from .intervals import Sampled
from .predictions import PredictionTable, take_rows

_MOST = 40
"""Values of a column up to which it makes subgroups (ours): one of more names images or patients."""

_UNKNOWN = "not known"
_SEVERAL = "several"


def column_values(path: Path, column: str, *, images_sha256: str = "") -> dict[str, str]:
    """Return the value of a column for each image, from a predictions file, else from the manifest of its run.

    Parameters
    ----------
    path : Path
        The predictions; the run is looked for in the folders above it.
    column : str
        Case, blanks, ``_`` and ``-`` of its name do not count.
    images_sha256 : str
        Identity of the images of the run.

    Raises
    ------
    InputError
        No such column, or an image with two values.
    """
    wanted = column_key(column)
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = read_records(handle)
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]  # as tables are read
        name = next((name for name in reader.fieldnames if column_key(name) == wanted), None)
        if name is not None:
            values: dict[str, str] = {}
            for row in reader:
                value = (row[name] or "").strip()
                if values.setdefault(row["image_id"], value) != value:
                    raise InputError(
                        f"{path}: {row['image_id']} has two values in column {name}, {values[row['image_id']]} and "
                        f"{value}; subgroups are of whole images"
                    )
            return values
    run = path.resolve().parents[1:3]
    for place in (place / PARTICULARS for folder in run for place in (folder, folder / "features")):
        known = read_particulars(place, images_sha256=images_sha256)
        if wanted in known.columns:
            return dict(known.columns[wanted])
    raise InputError(
        f"{path}: `by` {column}: neither this table nor the manifest of its run has such a column; add it to the "
        "table, with a value for each image"
    )


def subgroups(table: PredictionTable, values: Mapping[str, str], *, column: str) -> list[dict[str, Any]]:
    """Measure the rows of each value of a column, and against all other rows.

    Parameters
    ----------
    table : PredictionTable
        Of images or patches, or with a row per group.
    values : mapping of str to str
        Image id to value, or group to value where a row is a group; empty or absent where it is not known.
    column : str
        For messages.

    Returns
    -------
    list of dict
        By value: ``value``, ``n``, ``units``, ``accuracy``, ``interval``, ``warning``, ``difference`` (accuracy less
        that of all other rows, taken for independent of them), ``difference_interval`` and ``tested``.

    Raises
    ------
    InputError
        More values than make subgroups, or names of groups as values, each of a single group.
    """
    of_rows = np.array([values.get(image) or _UNKNOWN for image in table.image_ids])
    names = sorted(set(of_rows.tolist()), key=lambda name: (name == _UNKNOWN, name))
    pairs = {pair for pair in zip(of_rows.tolist(), table.groups, strict=True) if pair[1] is not None}
    of_one = len({value for value, _ in pairs}) == len(pairs)  # else sites, called "1" and "2" as patients may be
    if len(names) > _MOST or (of_one and set(names) & {group for _, group in pairs}):
        raise InputError(
            f"`by` {column}: has {len(names)} values, or names patients or slides; choose a column of at most {_MOST} "
            "values that images of several patients share"
        )
    return list(_measured(table, of_rows, names))


def _measured(table: PredictionTable, of_rows: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        mine = of_rows == name
        sides = [_accuracy(table, rows) for rows in (mine, ~mine)]
        (share, span, units, warning), (others, other_span, *_) = sides
        apart = None if others is None else share - others
        between = None
        if apart is not None and span and other_span:
            between = independent_difference(share, others, span, other_span)
        yield {
            "value": name, "n": int(mine.sum()), "units": units, "accuracy": share, "interval": span,
            "warning": warning, "difference": apart, "difference_interval": between,
            "tested": take_rows(table, np.flatnonzero(mine)).tested,
        }  # fmt: skip


def _accuracy(table: PredictionTable, rows: Any) -> tuple[Any, list[float] | None, int, str | None]:
    """Return accuracy, interval, units and warning of some rows."""
    if not rows.any():
        return None, None, 0, None
    some = take_rows(table, np.flatnonzero(rows))
    sampled, hits = Sampled(some), some.predicted == some.labels
    found = sampled.share(hits)
    warning = None if found is None else found.warning
    return float(hits.mean()), None if found is None else found.ends, sampled.units, warning


def of_groups(table: PredictionTable, values: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each group, that of its images; where these differ, that there are several."""
    found: dict[str, set[str]] = {}
    for image, group in zip(table.image_ids, table.groups, strict=True):
        if group is not None:
            found.setdefault(group, set()).add(values.get(image) or _UNKNOWN)
    return {group: one.pop() if len(one) == 1 else _SEVERAL for group, one in found.items()}
