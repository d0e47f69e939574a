"""What a message tells one to type can be typed, and works."""

import functools
import re
import shlex
import tomllib
from importlib import metadata
from pathlib import Path

import bchisto
import click
import numpy as np
import pytest
from bchisto.cli import _COMMANDS
from bchisto.cli import cli as group
from bchisto.core import how_to_install
from bchisto.core.jobs import save_arrays
from conftest import needs_repository
from package_tree import modules, read_texts

ROOT = Path(bchisto.__file__).parent
PROJECT = ROOT / "pyproject.toml"


@functools.cache
def messages():
    """Return (file and line, text) of every string of the package but docstrings; what is filled in stands as {}."""
    return [(f"{name}:{node.lineno}", text) for name, node, text in read_texts("{}")]


def called(words):
    """Return the command that words begin with, and what is left of them."""
    command = group
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command, words = found, words[1:]
    return command, words


def options_of(command):
    with click.Context(command) as context:
        return {
            name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)
        }


def test_every_command_in_a_message_is_one():
    count = 0
    for where, text in messages():
        for found in re.finditer(r"\bbchisto ([a-z]+[^`;:,()]*)", text):
            words = found[1].split()
            if words[0] not in _COMMANDS:  # as in "bchisto reads none"
                assert not re.search(rf"(`|run |same )bchisto {words[0]}", text), f"{where}: {text}"
                continue
            count += 1
            command, rest = called(words)
            assert not isinstance(command, click.Group), f"{where}: {text}"
            flags = {word for word in rest if word.startswith("--")}
            assert flags <= options_of(command), f"{where}: {text}"
    assert count > 25


@needs_repository
def test_what_is_to_be_installed_is_what_an_extra_needs(monkeypatch):
    """tests/house/test_installation.py runs such a command in real environments."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    required = [
        f'{package}; extra == "{name}"' for name, packages in extras.items() for package in packages
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: [*project["dependencies"], *required])
    packages = {
        re.match(r"[\w-]+", need)[0]: need.partition(";")[0] for need in project["dependencies"]
    }
    assert not [where for where, text in messages() if re.search(r"pip install '?bchisto", text)]
    named = set()
    for file in modules():
        text = file.read_text()
        named |= set(re.findall(r"(?:how_to_install\(|extra(?:: str = |=))['\"](\w+)['\"]", text))
    assert {"click", "dask", "excel", "onnx", "openvino", "staintools", "torch"} <= named
    for name in named:
        assert shlex.split(how_to_install(name)) == [
            "pip",
            "install",
            *extras.get(name, [packages.get(name)]),
        ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "featurize --imges x",
            "error: No such option",  # click quotes it, and what was meant, in later releases only
        ),
        (
            "featurize --out x",
            "error: Missing option '--images'; see bchisto featurize --help",
        ),
        ("data chek", "error: No such command 'chek'"),
        ("data list", "error: 'data list' is now bchisto data check --table FILE"),
        ("encoder show uni2-h", "error: 'encoder show' is now bchisto encoder NAME"),
        (
            "finetune --l2 0.1",
            "error: --l2: write l2 into a file, and give --config FILE",
        ),
        (
            "boosts",
            "error: No such command 'boosts': did you mean boost? Choose one of trial, demo, data",
        ),
        (
            "featurize --images a\x1bb --augmentations x",
            "error: Invalid value for '--augmentations': 'x' is",
        ),
        (
            "predict x --out y",
            "error: give --images DIR or image files, or --features FILE",
        ),
        (
            "featurize --images x --out y --precision int8",
            "error: --precision int8: choose one of",
        ),
        (
            "reproduce rakhlin2018",
            "error: give --images, the dataset in its official layout",
        ),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(cli, words, line):
    code, out, err = cli(words)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert err.startswith(line)
    assert "--imges" not in words or "--images" in err
    assert "--mode" not in err


def test_arrays_are_what_was_given(tmp_path):
    """NumPy before 2.2 wrote its own option beside them."""
    with (tmp_path / "a.npz").open("wb") as handle:
        save_arrays(handle, {"x": np.arange(3), "y": np.array(["é"])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["x", "y"]
    np.savez(tmp_path / "b.npz", x=np.arange(3), y=np.array(["é"]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with (tmp_path / "c.npz").open("wb") as handle, pytest.raises(ValueError, match="pickle"):
        save_arrays(handle, {"x": np.array([object()])})
    assert len(modules()) > 200
    assert not [
        file for file in modules() if re.search(r"np\.savez(_compressed)?\(", file.read_text())
    ]
