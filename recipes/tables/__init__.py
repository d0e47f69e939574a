"""Tables of published figures beside those of a run: one registry of their kinds."""

from .claims import check_claim, claims_of
from .kinds import KINDS, TableKind, compare_published
from .obtained import Obtained, Runs

__all__ = ["KINDS", "Obtained", "Runs", "TableKind", "check_claim", "claims_of", "compare_published"]
