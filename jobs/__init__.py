"""Work units: atomic part files, shards, executors and progress.

A unit is a piece of work that writes its result under a temporary name, checks it and renames it into place.
Resume, crash safety, sharding and concurrent runs all come from that one rule.
"""

from .archive import Archive, write_archive
from .executor import default_jobs, run_units
from .parts import atomic_output, ensure_folder, read_json, remove_tree, write_json, write_rows
from .progress import Progress, Ticker, format_seconds
from .shard import Shard, parse_shard
from .tables import read_probabilities, write_probabilities

__all__ = [
    "Archive",
    "Progress",
    "Shard",
    "Ticker",
    "atomic_output",
    "default_jobs",
    "ensure_folder",
    "format_seconds",
    "parse_shard",
    "read_json",
    "read_probabilities",
    "remove_tree",
    "run_units",
    "write_archive",
    "write_json",
    "write_probabilities",
    "write_rows",
]
