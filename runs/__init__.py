"""The run folder: what ran, with which settings, versions, hardware and results."""

from .compare import describe_differences, differences
from .history import RunEntry, diff_runs, list_runs, read_run
from .record import RunRecord, load_config, record_run

__all__ = [
    "RunEntry",
    "RunRecord",
    "describe_differences",
    "diff_runs",
    "differences",
    "list_runs",
    "load_config",
    "read_run",
    "record_run",
]
