"""One module per command: parse, call one library function, print."""

from .flags import in_flags, invoked
from .help import WIDTH, full_help

__all__ = ["WIDTH", "full_help", "in_flags", "invoked"]
