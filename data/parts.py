"""The parts of a split that came with the images: by the names of folders, or in a column of a manifest."""

from __future__ import annotations

from collections.abc import Mapping

from .particulars import Particulars

PART_COLUMNS = ("part", "split")
"""Columns of a manifest that may name the part; the first is also that of a folder per part."""

_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "holdout"),
}
"""Names of the parts, in lower case."""


def part_of(name: str) -> str | None:
    """Return the part that a folder or a cell names; None where it is none.

    Examples
    --------
    >>> part_of("Validation"), part_of("benign")
    ('val', None)
    """
    key = name.strip().casefold()
    return next((part for part, names in _NAMES.items() if key in names), None)


def given_parts(known: Particulars) -> tuple[str, Mapping[str, str]] | None:
    """Return the column that names parts of a split and nothing else, with image id to part; None without one."""
    for column in PART_COLUMNS:
        values = known.columns.get(column, {})
        parts = {image: part for image, value in values.items() if (part := part_of(value)) is not None}
        if parts and len(parts) == len(values):
            return column, parts
    return None
