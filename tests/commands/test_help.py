"""Help in groups: the most used options first, what few need only by --help-all, lines that fit a terminal."""

import re

import click
import pytest
from bchisto.commands.help import COMMON, RARE, sections
from bchisto.core import GROUPS, IN_FILE
from command_line import EVERY

GROUPED = sorted({name.rpartition(" ")[0] for name in EVERY})
"""What calls a group of commands: nothing for `bchisto` itself."""
COLUMNS = 80


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


def head_of(option):
    """Return how the row of an option begins in a help."""
    return option.name if option.group == IN_FILE else option.opts[0]


def heads_of(text):
    """Return how the rows of a help begin."""
    return {line.split()[0].rstrip(",") for line in text.splitlines() if line.startswith("  ")}


def check_lines(name, text):
    """Check that a help fits a terminal, and cuts no sentence."""
    assert text.startswith(f"Usage: bchisto {name}".rstrip())
    lines = text.splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == []
    sentences = [line for line in lines if not line.startswith("Usage: ")]
    assert [line for line in sentences if re.search(r"[\w,]\.\.\.$", line)] == []


@pytest.mark.parametrize("name", EVERY)
def test_help_shows_the_main_groups_and_counts_the_rest(name, cli, completed, monkeypatch):
    command = EVERY[name]
    options = options_of(command)
    assert {option.group for option in options} <= set(GROUPS)
    names = [option.name for option in listed(command, every=True)]
    assert sorted(names) == sorted(option.name for option in options)
    assert len(command.first) <= 5
    assert all(option.group not in RARE for option in options if option.required)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    short, _ = completed(*name.split(), "-h")
    assert cli(*name.split(), "--help") == (0, short, "")
    monkeypatch.setenv("COLUMNS", "200")
    full, _ = completed(*name.split(), "--help-all")
    check_lines(name, short)
    check_lines(name, full)
    for option in options:
        rare = option.group in RARE and option.name not in command.first
        is_short = head_of(option) in heads_of(short)
        assert is_short is not (rare or option.name in COMMON), option.name
        assert head_of(option) in heads_of(full)
    assert "--help-all shows every option" in " ".join(short.split())
    for title in RARE:
        assert f"\n{title}:\n" not in short


@pytest.mark.parametrize("name", GROUPED)
def test_all_of_a_group_is_all_of_its_commands(name, completed, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    check_lines(name, completed(*name.split(), "--help")[0])
    full, _ = completed(*name.split(), "--help-all")
    check_lines(name, full)
    inside = [other for other in EVERY if other.startswith(f"{name} ".lstrip())]
    assert len(inside) > 1
    for other in inside:
        assert f"Usage: bchisto {other} " in full
    last = inside[-1]
    assert completed(*last.split(), "--help-all")[0].strip() in full


def test_examples_in_a_help_can_be_pasted():
    """A command, or several lines that end with a backslash but for the last."""
    seen = 0
    for name, command in EVERY.items():
        for example in re.findall(r"Example: (bchisto (?:.*\\\n)*.*)", command.help or ""):
            words = example.replace("\\\n", " ").split()
            assert words[1 : 1 + len(name.split())] == name.split()
            others = ("featurize", "boost", "evaluate") if name == "submit" else ()
            assert {word for word in words if word.startswith("--") and word != "--"} <= {
                flag
                for other in (name, *others)
                for option in EVERY[other].params
                for flag in option.opts
            }
            seen += 1
    assert seen > 15
