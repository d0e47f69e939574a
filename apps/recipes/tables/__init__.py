"""Tables that compare published figures with those of a run, with one registry of all kinds."""

from .claims import check_claim, claims_of
from .kinds import KINDS, compare_published
from .obtained import Key, Obtained, Runs
