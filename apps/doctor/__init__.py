"""Checks this machine, its packages and a user's files for what would make a command fail, and suggests fixes."""

from .check import Check, Status, as_json, as_lines, run_checks
from .examine import examine

__all__ = ["Check", "Status", "as_json", "as_lines", "examine", "run_checks"]
