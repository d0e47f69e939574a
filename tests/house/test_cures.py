"""What a message advises can be typed: options are named by placeholders, and every command line is one.

The texts of the package are read from its syntax trees. A text names an option only as ``{name}`` or
``{command.flag:words}``, which the command of the reader writes, or is a command line that begins with ``bchisto``.
"""

import logging
import re
import string
from functools import cache

import pytest
from bchisto.commands import in_flags
from bchisto.commands.help import is_flag
from bchisto.core import Message
from command_line import EVERY, flags
from conftest import TESTS
from package_tree import read_texts

PACKAGE = TESTS.parent
ROOMS = sorted(
    {"cli.py", "__main__.py"} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
)
OTHER_PROGRAMS = re.compile(r"\b(pip|install|hf|sbatch|numpy\.savez)\b")
SPELLED = re.compile(r"(?<![\w-])--[a-z][\w-]*|`[a-z_]+=|\b[a-z_]+=\"")
WITHOUT_MESSAGES = ("commands/help.py", "apps/submit/scheduler.py")
"""The help itself, and command lines of Slurm."""


@cache
def texts():
    """Return (file, line, text) of the rooms; a value in an f-string is \\x00."""
    return [
        (name, node.lineno, text)
        for name, node, text in read_texts("\0", keywords=("help", "metavar"))
        if name.partition("/")[0] in ROOMS and name not in WITHOUT_MESSAGES
    ]


def placeholders(text):
    """Return the literal parts and the (name, value) of the placeholders of a template."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return text, []
    named = [(name, form) for _, name, form, _ in parts if name and not name.isdigit()]
    return "".join(literal for literal, *_ in parts), named


def test_no_text_spells_an_option():
    found = []
    for file, line, text in texts():
        literal, _ = placeholders(text)
        literal = re.sub("`bchisto [^`]*`", "", literal)
        bare = literal.strip()
        # a command line, or words of one
        if bare.startswith(("--", "bchisto ", "/--", "<")) or "--help" in bare:
            continue
        if SPELLED.search(literal) and not OTHER_PROGRAMS.search(literal):
            found.append(f"{file}:{line}: {text}")
    assert not found, "\n".join(found)


def lines_of_commands():
    for file, line, text in texts():
        literal, named = placeholders(text)
        if literal.startswith("bchisto "):
            yield f"{file}:{line}", literal.removeprefix("bchisto ")
        for name, form in named:
            command, dot, flag = name.partition(".")
            if dot and command in EVERY:
                yield f"{file}:{line}", f"{command} --{flag} {form}"


def test_every_command_line_in_a_text_is_one():
    checked = 0
    for where, line in lines_of_commands():
        called = [words for words in EVERY if f"{line} ".startswith(f"{words} ")]
        if "\0" in line.partition(" ")[0] or not called:
            # the name is a value, or a sentence on bchisto
            continue
        given = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line))
        assert given <= flags(EVERY[max(called, key=len)]), f"{where}: {line}"
        checked += 1
    assert checked > 20


def test_every_placeholder_names_an_option_or_a_line():
    """Or a parameter of Python, where no command has one; a pattern and a path have others."""
    options = {option.name for command in EVERY.values() for option in command.params}
    only_python = {"p"}
    parts_of_paths = (
        "apps/recipes/tables",
        "apps/serve/",
        "apps/submit/scheduler",
        "core/jobs/progress",
        "featurize/pooling",
        "evaluate/two_class",
    )
    found = []
    for file, line, text in texts():
        for name, _ in placeholders(text)[1]:
            if not re.fullmatch(r"[a-z_]+|[a-z ]+\.[a-z-]+", name) or name in only_python:
                continue
            if file.startswith(parts_of_paths) and name not in options:
                continue
            command, dot, flag = name.partition(".")
            known = f"--{flag}" in flags(EVERY[command]) if dot else name in options
            if not known:
                found.append(f"{file}:{line}: {name} in {text[:60]}")
    assert not found, "\n".join(found)


def test_a_line_of_another_command_is_the_same_everywhere():
    text = Message("use {boost.param:min_data_in_leaf={}}, or {weights}", 2)
    assert str(text) == "use bchisto boost --param min_data_in_leaf=2, or `weights`"
    assert text.written(in_flags(EVERY["predict"])) == (
        "use bchisto boost --param min_data_in_leaf=2, or --weights"
    )
    assert text.limited({"weights"}) == str(text)
    assert text.names() == {"weights"}


@pytest.mark.parametrize("command", sorted(EVERY))
def test_every_placeholder_renders_for_every_command(command):
    """What a command lacks is left out if it is a remedy, and else in plain words."""
    write = in_flags(EVERY[command])
    in_files = {option.name for option in EVERY[command].params if not is_flag(option)}
    for _, _, text in texts():
        for name, form in placeholders(text)[1]:
            if re.fullmatch("[a-z_]+", name) and "{" not in form and name not in in_files:
                shown = write(name, form)
                lacks = write.lacks(name)
                assert shown.startswith("--") != lacks or "no-" in shown, (name, shown)
                remedy = Message(f"do it by {{{name}}}")
                assert write.can_follow(remedy) != lacks


@pytest.mark.parametrize(
    ("command", "cure"),
    [("featurize", "give --weights resnet50=PATH, or --weights random for a trial"), ("demo", "")],
)
def test_an_error_in_a_log_has_the_words_of_its_command(command, cure):
    """`demo` has no option for weights, so it names only the file and its folder."""
    from bchisto.cli import _Formatter
    from bchisto.encoders.weights import _not_fetched

    error = _not_fetched("resnet50", url="https://host/resnet50.h5", reason="no route")
    record = logging.LogRecord("bchisto", logging.WARNING, "", 0, "%s", (error,), None)
    text = _Formatter([command]).format(record)
    assert "put resnet50.h5 from https://host/resnet50.h5 into" in text
    assert "weights=" not in text
    assert text.partition(", or ")[2] == cure


def test_a_damaged_library_of_a_package_is_installed_again():
    from bchisto.apps.doctor.machine import _fix
    from packaging.requirements import Requirement

    need = Requirement("openslide-python>=1")
    reason = (
        "OSError: /env/lib/python3/site-packages/openslide_bin/libopenslide.so.1: file too short"
    )
    assert _fix(need, reason) == "pip install --force-reinstall --no-deps openslide-bin"
    missing = "OSError: libopenslide.so.1: cannot open shared object file"
    assert _fix(need, missing) == "install the system's library libopenslide"


def test_a_feature_file_on_which_hdf5_does_not_end_is_named(monkeypatch, tmp_path):
    from bchisto.apps.doctor.named import _check_store
    from bchisto.core import StoreError

    def refuse(paths):
        raise StoreError(f"{paths[0]}: HDF5 is ended by signal 24 when it reads it")

    monkeypatch.setattr("bchisto.core.formats.refuse_deadly", refuse)
    (check,) = _check_store(tmp_path / "a.h5")
    assert (check.status, "HDF5 is ended" in check.finding) == ("failure", True)
