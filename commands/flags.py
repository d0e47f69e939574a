"""Writes parameters of the library as flags of a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from ..core import Write
from .select import select_option


def in_flags(command: click.Command) -> Write:
    """Return a function that writes a parameter as the flag of a command, or as a word if there is no such option.

    Its attribute ``lacks`` returns whether the command lacks an option, so that remedies with it can be left out.

    Examples
    --------
    >>> command = click.Command("cut", params=[click.Option(["--side", "sides"], multiple=True)])
    >>> write = in_flags(command)
    >>> write("sides", ""), write("sides", "4 6"), write("depth", "2")
    ('--side', '--side 4 --side 6', 'depth 2')
    """
    select = select_option(command)
    selected = {} if select is None else select.names
    options = {parameter.name: parameter for parameter in command.params if isinstance(parameter, click.Option)}

    def write(name: str, value: str) -> str:
        option = options.get(name)
        if name in selected:
            return f"--select DATASET:{selected[name]}" + (f"={value}" if value else "")
        if option is None or (option.is_flag and value == "False" and not option.secondary_opts):
            return f"{name} {value}".rstrip()
        flag = max(option.opts, key=len)  # --verbose rather than -v
        if {*value} & {*"()[]\\*?$|"} or (" " in value and option.nargs == 1 and not option.multiple):
            value = shlex.quote(value)
        if option.is_flag:
            return option.secondary_opts[0] if value == "False" else flag
        if option.multiple:
            return " ".join(f"{flag} {word}" for word in value.split()) or flag
        return f"{flag} {value}".rstrip()

    write.lacks = lambda name: name not in options and name not in selected  # type: ignore[attr-defined]
    return write


def invoked(command: click.Command, words: Sequence[str]) -> click.Command:
    """Return the command (or subcommand) that the words of a command line call."""
    for word in words:
        inner = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if inner is None:
            break
        command = inner
    return command
