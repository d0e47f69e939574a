"""Tables that compare published figures with those of a run, with one registry of all kinds."""

from .claims import KINDS, Claim, claims_of, compare_published
from .obtained import Key, Obtained, Published, Results, Runs
