"""The dated list of what was renamed or removed: old names are gone, new ones are there, the newest is first."""

import datetime
import importlib
import re

import click
from conftest import REPOSITORY, needs_repository

CHANGELOG = REPOSITORY / "CHANGELOG.md"

pytestmark = needs_repository


def rows():
    """Return date, old names and new names of each row of the table."""
    text = CHANGELOG.read_text()
    section = text.partition("## Renamed and removed\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines[0] == "| date | old | now |"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    return [
        (date, re.findall(r"`([^`]+)`", old), re.findall(r"`([^`]+)`", new))
        for date, old, new in cells
    ]


def is_public(name):
    """Return whether a dotted name is a module, or in `__all__` of one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    else:
        return True
    module, _, member = name.rpartition(".")
    try:
        return member in importlib.import_module(module).__all__
    except ModuleNotFoundError:
        return False


def has_option(name):
    """Return whether `command --option` is there."""
    from bchisto.cli import cli
    from bchisto.commands.help import is_flag

    words, _, option = name.partition(" --")
    command = cli
    for word in words.split():
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(click.Context(command), word)
    if command is None:
        return False
    flags = [flag for parameter in filter(is_flag, command.params) for flag in parameter.opts]
    return f"--{option}" in flags


def check(names, expected):
    """Check that names of Python and of options are there or are not; return how many these are."""
    dotted = [name for name in names if name.startswith("bchisto.")]
    options = [name for name in names if re.fullmatch(r"[a-z ]+ --[a-z-]+", name)]
    assert {name: is_public(name) for name in dotted} == dict.fromkeys(dotted, expected)
    assert {name: has_option(name) for name in options} == dict.fromkeys(options, expected)
    return len(dotted) + len(options)


def test_names_are_told_apart():
    assert is_public("bchisto.boost")
    assert is_public("bchisto.boost.train")
    assert not is_public("bchisto.boost.no_such_name")
    assert not is_public("bchisto.no_such_room.train")
    assert has_option("data check --table")
    assert not has_option("data check --no-such")


def test_old_names_are_gone():
    assert sum(check(old, expected=False) for _, old, _ in rows()) > 30


def test_new_names_are_there():
    assert sum(check(new, expected=True) for _, _, new in rows()) > 10


def test_the_newest_is_first():
    dates = [datetime.date.fromisoformat(date) for date, _, _ in rows()]
    assert dates == sorted(dates, reverse=True)
    assert dates[-1] >= datetime.date(2026, 11, 23)  # of version 0.3.0
