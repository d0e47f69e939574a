"""One module per command: parse, call one library function, print."""

from .flags import as_flags, invoked

__all__ = ["as_flags", "invoked"]
