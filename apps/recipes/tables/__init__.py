"""Tables that compare published figures with those of a run."""

from .obtained import Key, Obtained, Published, Results, Runs
from .published import KINDS, compare_published, rows_of
