"""The commands, one module each: parse options, call a function of the library, print the result."""

from .help import WIDTH, full_help, help_all
from .terminal import Handler, count_repeated, echo, in_flags, invoked
