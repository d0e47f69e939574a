"""Kinds of feature files: stage 1 computes some from images, others come from tables of other programs.

The setting ``mode`` of a feature file names its kind. Stage 1 checks the modes of `FeaturizeSettings` itself, and asks
here for the others, so that none of its modules knows the programs behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .embeddings.facts import IMPORTED, check_imported


@dataclass(frozen=True)
class StoreKind:
    """A kind of feature file whose rows stage 1 did not compute.

    Attributes
    ----------
    mode : str
        Its ``mode``.
    check_settings : callable
        ``check_settings(settings)`` raises InputError if a setting is invalid, KeyError if one is missing.
    """

    mode: str
    check_settings: Callable[[Mapping[str, Any]], None]


_KINDS = (StoreKind(IMPORTED, check_imported),)


def kind_of(settings: Mapping[str, Any]) -> StoreKind | None:
    """Return the kind of a feature file by its settings; None if stage 1 computes such files from images."""
    for kind in _KINDS:
        if settings.get("mode") == kind.mode:
            return kind
    return None
