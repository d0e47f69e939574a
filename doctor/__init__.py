"""What of this machine, its packages and a user's own files will make a command fail, and what mends it."""

from .check import Check, Status, as_json, as_lines, run_checks
from .examine import examine

__all__ = ["Check", "Status", "as_json", "as_lines", "examine", "run_checks"]
