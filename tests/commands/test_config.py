"""Values of `--config`: what the file holds is what a command line would hold, or is refused in one line."""

import contextlib
import re

import click
import pytest
from bchisto.cli import cli as group
from bchisto.commands.ending import given_options
from bchisto.core import BchistoError
from bchisto.core.runs import load_config
from command_line import EVERY, commands
from written_tables import write_lines

ODD = (
    "010",
    ".inf",
    "-1",
    "99999999999999999999",
    "''",
    "true",
    "2024-01-01",
    "[]",
    "[[1]]",
    "{a: 1}",
    '"\\ud800"',
    "!!binary aGVsbG8=",
)
READ = 6
"""So many of them are texts, which commands read."""
GIVEN = {
    "featurize": {"images": "gone", "out": "run"},
    "boost": {"out": "run"},
    "predict": {"model": "gone", "out": "o.csv", "images": "gone"},
    "evaluate": {"sources": "gone", "out": "e"},
}
"""What these are given beside; they end at what is not there."""
REFUSED = (BchistoError, OSError, click.ClickException, click.exceptions.Exit)


def odd_ones(command, file, given, values=ODD):
    """Write a file for every option and a third of the odd values, in turns; yield what is odd in it."""
    for place, parameter in enumerate(command.params):
        for value in values[place % 3 :: 3]:
            lines = {**given, parameter.name: value}.items()
            write_lines(file, *(f"{name}: {text}" for name, text in lines))
            yield f"{command.name}, {parameter.name}: {value}"


def test_every_option_of_every_command_with_every_odd_value(tmp_path):
    file = tmp_path / "c.yaml"
    count = 0
    for _, command in commands():
        for what in odd_ones(command, file, {}):
            count += 1
            with contextlib.suppress(*REFUSED):
                try:
                    command.make_context(command.name, ["--config", str(file)])
                except Exception as error:
                    error.add_note(what)
                    raise
    assert count > 1000


@pytest.mark.parametrize("name", GIVEN)
def test_what_a_command_does_with_odd_values(name, tmp_path, monkeypatch, cli):
    """`cli` sets back the levels of loggers."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "c.yaml"
    command = EVERY[name]
    tried = 0
    for what in odd_ones(command, file, GIVEN[name], ODD[:READ]):
        tried += 1
        with contextlib.suppress(*REFUSED):
            try:
                group.main(
                    args=[name, "--config", str(file)], prog_name="bchisto", standalone_mode=False
                )
            except Exception as error:
                error.add_note(what)
                raise
    assert tried > 20


def test_what_only_files_have_goes_on_to_the_next_command_by_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("images: i\nout: o\nseed: 3\nstain_fallback: reference\n")
    command = dict(commands())["featurize",]
    context = command.make_context("featurize", ["--config", str(file)])
    assert given_options(context, command, but=("images", "out")) == f" --seed 3 --config {file}"


def options_of(name, text, tmp_path):
    """Return the options that a command reads from a file of options."""
    (tmp_path / "c.yaml").write_text(text)
    command = EVERY[name]
    return command.make_context(name, ["--config", str(tmp_path / "c.yaml")]).params


REQUIRED = "images: images\nout: run\n"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("seed: 010", "seed", 10),
        ("seed: 1_0", "seed", 10),  # as int() has it
        ("views: 1:48", "views", ("1:48",)),
        ("views: [0.50:48, 1:48]", "views", ("0.50:48", "1:48")),
        ("classes: [no, yes]", "classes", ("no", "yes")),
        ("classes: no,yes", "classes", ("no", "yes")),
        ("color-range: [0.9, 1.10]", "color_range", (0.9, 1.1)),
        ("skip-errors: yes", "skip_errors", True),
        ("skip_errors: false", "skip_errors", False),
        ("jobs: ~", "jobs", None),
        ("jobs:", "jobs", None),
        ("jobs: 'null'", "jobs", "jobs: 'null' is not a valid integer"),
        ("augmentations: 2.7", "augmentations", "augmentations: '2.7' is not a valid integer"),
        ("augmentations: true", "augmentations", "augmentations: 'true' is not a valid integer"),
        ("pool: true", "pool", "pool: 'true' is not a valid float"),
        ("seed: 2024-01-01", "seed", "seed: '2024-01-01' is not a valid integer"),
        ("skip_errors: 2", "skip_errors", "skip_errors: '2' is not a valid boolean"),
        ("mode: [exact, dense]", "mode", "mode takes one value"),
        ("color-range: 1", "color_range", "color_range: Takes 2 values but 1 was given"),
        (
            "views: [[1]]",
            "views",
            "views has no such value; give a text, a number or a list of them",
        ),
        ("seed: {a: 1}", "seed", "seed has no such value; give a text, a number or a list"),
        ("dataset: !!binary aGVsbG8=", "dataset", "dataset has no such value"),
        ('dataset: "a\\0b"', "dataset", "dataset holds characters that no command line can hold"),
        ("out: ''", "out", "out: the path is empty"),
        ('{"images": "i", "out": "o", "seed": 2.7}', "seed", "seed: '2.7' is not a valid integer"),
        ('{"images": "i", "out": "o", "skip_errors": true, "seed": 3}', "seed", 3),
    ],
)
def test_a_value_is_what_one_would_type(text, name, value, tmp_path):
    text = text if text.startswith("{") else f"{'' if name == 'out' else REQUIRED}{text}"
    if isinstance(value, str):
        with pytest.raises(BchistoError, match=f"^`config` .*c.yaml: {re.escape(value)}"):
            options_of("featurize", text, tmp_path)
    else:
        assert options_of("featurize", text, tmp_path)[name] == value


def test_a_word_that_yaml_takes_for_something_else_is_a_class(tmp_path):
    assert options_of("boost", "out: run\npositive: [no]\nfolds: [10, 0.7/0.3]", tmp_path)[
        "positive"
    ] == ("no",)
    assert load_config(tmp_path / "c.yaml", command="boost")["folds"] == ["10", "0.7/0.3"]
