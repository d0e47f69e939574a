"""Tables that compare published figures with those of a run, with one registry of all kinds."""

from .claims import check_claim, claims_of
from .kinds import KINDS, TableKind, compare_published
from .obtained import Obtained, Runs

__all__ = ["KINDS", "Obtained", "Runs", "TableKind", "check_claim", "claims_of", "compare_published"]
