"""The run folder: what ran, with which settings, versions, hardware and results."""

from .compare import describe_differences, differences
from .record import RunRecord, load_config, record_run

__all__ = ["RunRecord", "describe_differences", "differences", "load_config", "record_run"]
