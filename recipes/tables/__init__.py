"""Tables of published figures beside those of a run: one registry of their kinds."""

from .compare import compare_published
from .kinds import KINDS, TableKind
from .obtained import Obtained, Runs

__all__ = ["KINDS", "Obtained", "Runs", "TableKind", "compare_published"]
