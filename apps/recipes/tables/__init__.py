"""Tables that compare published figures with those of a run, with one registry of all kinds."""

from .obtained import Key, Obtained, Published, Results, Runs
from .published import KINDS, compare_published
