"""Help in groups: the most used options first, what few need only by --help-all, lines that fit a terminal."""

import re

import click
import pytest
from bchisto.commands.help import COMMON, RARE, sections
from bchisto.core import GROUPS
from command_line import commands

EVERY = {" ".join(words): command for words, command in commands()}
GROUPED = {name.rpartition(" ")[0] for name in EVERY}
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


@pytest.mark.parametrize("name", sorted({*EVERY, *GROUPED}))
@pytest.mark.parametrize("flag", ["-h", "--help", "--help-all"])
@pytest.mark.parametrize("terminal", [COLUMNS, 200])
def test_every_help_fits_80_columns_and_cuts_no_sentence(
    name, flag, terminal, completed, monkeypatch
):
    monkeypatch.setenv("COLUMNS", str(terminal))
    text, _ = completed(*name.split(), flag)
    assert text.startswith(f"Usage: bchisto {name}".rstrip())
    lines = text.splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == []
    sentences = [line for line in lines if not line.startswith("Usage: ")]
    assert [line for line in sentences if re.search(r"[\w,]\.\.\.$", line)] == []


@pytest.mark.parametrize("name", sorted(GROUPED))
def test_all_of_a_group_is_all_of_its_commands(name, completed):
    full, _ = completed(*name.split(), "--help-all")
    inside = [other for other in EVERY if other.startswith(f"{name} ".lstrip())]
    assert len(inside) > 1
    for other in inside:
        assert completed(*other.split(), "--help-all")[0].strip() in full


def test_examples_in_a_help_can_be_pasted(completed):
    """A command, or several lines that end with a backslash but for the last."""
    seen = 0
    for name, command in EVERY.items():
        for example in re.findall(r"Example: (bchisto (?:.*\\\n)*.*)", command.help or ""):
            words = example.replace("\\\n", " ").split()
            assert words[1 : 1 + len(name.split())] == name.split()
            assert {word for word in words if word.startswith("--") and word != "--"} <= {
                flag
                for other in (name, "featurize", "boost", "evaluate")[
                    : 1 if name != "submit" else 4
                ]
                for option in EVERY[other].params
                for flag in option.opts
            }
            seen += 1
    assert seen > 20
