"""The help of a command: its most used options, then the others by group; ``--help-all`` shows all options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from ..core import GROUPS, IN_FILE, Content, by_key

WIDTH = 80
"""Largest number of characters in a line of help."""

RARE = ("Particular data sets", "Advanced", IN_FILE)
"""Groups that only ``--help-all`` shows."""

COMMON = ("config", "verbose", "quiet", "help_all")
"""Options of every command, which the help lists in one line."""

EAGER: Content = {"is_eager": True, "expose_value": False}
"""Attributes of an option that is processed before the others, and is not passed to the command."""

_LONG = 60
"""Largest number of characters of an option with its choices; above it, choices are listed in the help text."""

EVERY = f"{__package__}.every"
"""Key of a context's ``meta``: whether the help shows all groups."""


class GroupedOption(click.Option):
    """An option that belongs to a group in the help."""

    def __init__(self, *names: Any, group: str = "Advanced", **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.group = group

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Add the flag to the command line, unless only a file of ``--config`` sets the option."""
        if is_flag(self):
            super().add_to_parser(parser, ctx)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the flag and the help text, which lists the choices if they do not fit next to the flag."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        flag_and_choices, text_and_default = record
        if not is_flag(self):
            kind = "" if self.is_flag else flag_and_choices.partition(" ")[2]
            return f"{self.name} {kind}".rstrip(), text_and_default
        if len(flag_and_choices) <= _LONG or " [" not in flag_and_choices:
            return record
        words, _, choices = flag_and_choices.removesuffix("]").partition(" [")
        text, _, default = text_and_default.partition("  [")
        text += f" One of {choices.replace('|', ', ')}."
        if default:
            text += f"  [{default}"
        return f"{words} NAME", text


def is_flag(option: click.Parameter) -> bool:
    """Return whether the command line has an option, and not only a file of ``--config``."""
    return getattr(option, "group", "") != IN_FILE


def flag(*names: str, **attributes: Any) -> GroupedOption:
    """Return an option that is not a field of a settings class; `group` is one of `GROUPS`."""
    return GroupedOption(names, **{"show_default": True, **attributes})


def sections(
    parameters: Sequence[click.Parameter], *, first: Sequence[str], every: bool = False
) -> Iterator[tuple[str, list[click.Option]]]:
    """Yield the title and the options of each section of a help.

    Parameters
    ----------
    parameters : sequence of click.Parameter
    first : sequence of str
        Names of the most used options.
    every : bool
        Include the groups of `RARE`, and the options of every command.
    """
    options = {
        option.name or "": option
        for option in parameters
        if isinstance(option, click.Option) and not option.hidden
    }
    if first:
        yield "Most used", [options[name] for name in first if name in options]
    left_out = {*first}
    if not every:
        left_out.update(COMMON)
    others = (option for name, option in options.items() if name not in left_out)
    by_group = by_key(others, lambda option: getattr(option, "group", "Advanced"))
    for group in GROUPS:
        if group in by_group and (every or group not in RARE):
            yield group, by_group[group]


def full_help(context: click.Context) -> str:
    """Return the help with every option; of a group of commands, also the help of each."""
    context.meta[EVERY] = True
    texts = [context.get_help()]
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None:
                texts.append(full_help(click.Context(command, context, name)))
    return "\n\n\n".join(texts)


def _show_all(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(full_help(context), color=context.color)
        context.exit()


def help_all() -> click.Option:
    """Return the option ``--help-all``."""
    return flag(
        "--help-all",
        is_flag=True,
        callback=_show_all,
        help="Show every option and exit.",
        **EAGER,
    )
