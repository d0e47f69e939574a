"""Help in groups: the most used options first, what few need only by --help-all, lines that fit a terminal."""

import click
import pytest
from bchisto.commands.help import COMMON, RARE, sections
from bchisto.core import GROUPS
from command_line import commands

EVERY = {" ".join(words): command for words, command in commands()}


def options_of(command):
    """Return its options, but the hidden `--check`, which `submit` gives."""
    return [
        one
        for one in command.params
        if isinstance(one, click.Option) and getattr(one, "group", "Advanced")
    ]


def listed(command, **how):
    return [
        option
        for _, options in sections(command.params, first=command.first, **how)
        for option in options
    ]


def flags_of(text):
    """Return the flags that begin a row of a help."""
    return {line.split()[0].rstrip(",") for line in text.splitlines() if line.startswith("  -")}


@pytest.mark.parametrize("name", EVERY)
def test_every_option_has_one_group_and_stands_once(name):
    command = EVERY[name]
    assert {option.group for option in options_of(command)} <= set(GROUPS)
    names = [option.name for option in listed(command, every=True)]
    assert sorted(names) == sorted(option.name for option in options_of(command))
    assert len(command.first) <= 5
    assert all(option.group not in RARE for option in options_of(command) if option.required)


@pytest.mark.parametrize("name", EVERY)
def test_help_shows_the_main_groups_and_counts_the_rest(name, cli, completed):
    command = EVERY[name]
    short, _ = completed(*name.split(), "-h")
    assert cli(*name.split(), "--help") == (0, short, "")
    full, _ = completed(*name.split(), "--help-all")
    for option in options_of(command):
        rare = option.group in RARE and option.name not in command.first
        assert (option.opts[0] in flags_of(short)) is not (rare or option.name in COMMON)
        assert option.opts[0] in flags_of(full)
    rest = len({option.name for option in options_of(command)} - {*COMMON}) - len(listed(command))
    assert (f"--help-all shows {rest} more option" in " ".join(short.split())) is (rest > 0)
    for title in RARE:
        assert f"\n{title}:\n" not in short
