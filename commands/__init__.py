"""One module per command: parse, call one library function, print."""

from .flags import in_flags, invoked

__all__ = ["in_flags", "invoked"]
