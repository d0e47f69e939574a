"""What the layouts say of classes: their orders, their positive sides, and which images have no stain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..classes import find_order
from .registry import added_layouts, built_in_layouts
from .spec import LayoutSpec


def _orders(specs: Iterable[LayoutSpec]) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(spec.classes for spec in specs if spec.classes))


DATASET_NAMES = tuple(spec.name for spec in built_in_layouts())
"""Layouts of this package that can be read; `list_layouts` also has those of others."""

MAMMOGRAMS = frozenset(spec.name for spec in built_in_layouts() if not spec.stained)
"""Layouts of this package of grey images without a stain."""

KNOWN_CLASSES = _orders(built_in_layouts())
"""Class orders of published datasets; `known_classes` also has those of layouts that other packages add."""


def known_classes() -> tuple[tuple[str, ...], ...]:
    """Return the class orders of all layouts, ours first."""
    return tuple(dict.fromkeys((*KNOWN_CLASSES, *_orders(added_layouts()))))


def known_positive() -> tuple[tuple[str, ...], ...]:
    """Return the classes of the positive side of all layouts, ours first."""
    specs = (*built_in_layouts(), *added_layouts())
    return tuple(dict.fromkeys(spec.positive for spec in specs if spec.positive))


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the class order of a dataset that does not set one.

    The order and spelling of a known dataset where the labels are exactly its classes, but for case, spaces, ``_`` and
    ``-``; else sorted.
    """
    return find_order(labels, known_classes())
