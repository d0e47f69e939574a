"""Kinds of feature files: stage 1 computes some from images, others come from tables of other programs.

The setting ``mode`` of a feature file names its kind. Stage 1 checks the modes of `FeaturizeSettings` itself, and looks
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


OTHER_KINDS = (StoreKind(mode=IMPORTED, check_settings=check_imported),)
"""Kinds that stage 1 only reads."""
