"""Runs that are left alone: what of a run is done, and who works on it."""

from .status import RunStatus, ShardState, Stage, read_status, status_lines

__all__ = ["RunStatus", "ShardState", "Stage", "read_status", "status_lines"]
