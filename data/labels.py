"""Labels of images that are not read themselves: a table of ids, as embeddings come with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, MissingInputError
from .csvtable import read_csv
from .findings import few
from .layouts import GROUP_COLUMNS

_log = logging.getLogger(__name__)

_ID_COLUMNS = ("image_id", "slide_id", "slide", "path")
"""Columns that may hold the id of an image; the first that is there is taken. CLAM calls it ``slide_id``."""

_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, and patient or case_id for group"


@dataclass(frozen=True)
class LabelTable:
    """Labels and groups by the id of an image.

    Attributes
    ----------
    path : Path
    labels, groups : dict of str to str
        Empty where unknown.
    columns : dict of str to dict of str to str
        Further columns: name to image id to value.
    """

    path: Path
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_labels(path: Path) -> LabelTable:
    """Read a table of labels, see `read_csv`.

    Parameters
    ----------
    path : Path
        With a column ``image_id`` (or ``slide_id``, ``slide``, ``path``) and ``label``, and one that holds the group,
        if any: those of a manifest, or ``case_id``.

    Raises
    ------
    InputError
        No such file or column, an id that is empty or stands twice, or no row.
    """
    if not path.is_file():
        raise MissingInputError(f"`labels` {path}: no such table; it has the columns {_EXPECTED}")
    table = read_csv(path, needed=("label",), expected=_EXPECTED)
    ids = next((name for name in _ID_COLUMNS if name in table.columns), None)
    if ids is None:
        raise InputError(f"{path}: the header must have a column image_id ({_EXPECTED})")
    known = [name for name in (*GROUP_COLUMNS, "case_id") if name in table.columns and name != ids]
    known.sort(key=lambda name: name.startswith("slide"))  # patients and cases before slides
    group = known[0] if known else ""
    if group not in ("", "group"):
        _log.info("%s: the group is taken from the column %s", path, table.columns[group])
    if table.overlong:
        raise InputError(f"{path}: line {table.overlong[0]} has more cells than the header; put a cell that holds a "
                         "comma in quotes")  # fmt: skip
    lines: dict[str, int] = {}
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}
    for number, row in table.rows:
        image = row[ids]
        if not image or image in lines:
            why = f"{image} stands in line {lines[image]} already" if image else f"an empty {table.columns[ids]}"
            raise InputError(f"{path}: line {number}: {why}; remove the row")
        lines[image] = number
        labels[image], groups[image] = row["label"], row.get(group, "")
        for name, cell in row.items():
            if cell and name not in (ids, "label"):
                columns.setdefault(name, {})[image] = cell
    if not labels:
        raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
    return LabelTable(path, labels, groups, columns)
