"""The kinds of tables of published figures: what a recipe must say of each, and what compares it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .ensembles import by_store, confusion, fusion_by_fold, two_class
from .networks import by_fold, by_level, by_rule, by_variant, learning_gap, scores, training_time, validation
from .obtained import Compared, Runs


@dataclass(frozen=True)
class TableKind:
    """A kind of table.

    Attributes
    ----------
    needs : tuple of str
        Keys that such a table of a recipe has, beside ``key``, ``title`` and ``source``.
    compare : callable
        ``compare(runs, table)`` returns the values that a conclusion is about, and the figures.
    """

    needs: tuple[str, ...]
    compare: Callable[[Runs, Mapping[str, Any]], Compared]


KINDS = {
    "stores": TableKind(("rows",), by_store),
    "fusion_folds": TableKind(("values",), fusion_by_fold),
    "two_class": TableKind(("accuracy", "auc", "set_points"), two_class),
    "confusion": TableKind(("classes", "matrix"), confusion),
    "variants": TableKind(("metric", "rows"), by_variant),
    "scores": TableKind(("digits", "rows"), scores),
    "rules": TableKind(("variant", "level", "rows"), by_rule),
    "levels": TableKind(("variant",), by_level),
    "folds": TableKind(("variant",), by_fold),
    "validation": TableKind(("digits", "rows"), validation),
    "gap": TableKind(("rows",), learning_gap),
    "time": TableKind(("rows",), training_time),
}
"""The first four are about a boosted ensemble, the last six about a network; the others about either."""
