"""The commands of the command line."""

import click
from bchisto.cli import cli


def commands(group=cli, words=()):
    """Yield (words, command) of every command, also of those in groups."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from commands(command, (*words, name))
            else:
                yield (*words, name), command
