"""Tables that compare published figures with those of a run, with one registry of all kinds."""

from .claims import check_claim, claims_of
from .ensembles import published_predictions, stem_of
from .kinds import AGREEMENT, KINDS, TableKind, compare_published
from .obtained import Obtained, Runs

__all__ = [
    "AGREEMENT",
    "KINDS",
    "Obtained",
    "Runs",
    "TableKind",
    "check_claim",
    "claims_of",
    "compare_published",
    "published_predictions",
    "stem_of",
]
