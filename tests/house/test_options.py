"""Options of commands make the values that the library has by default; functions stay narrow."""

import ast
import inspect

import click
import pytest
from bchisto.apps.explain import ExplainSettings
from bchisto.apps.recipes import Scope
from bchisto.boost import BoostSettings, FeatureChoice
from bchisto.cli import cli
from bchisto.commands.help import COMMON, is_flag
from bchisto.core import declared_options, from_options
from bchisto.core.jobs import Work
from bchisto.data import FoldChoice, ImageSelection
from bchisto.evaluate import TwoClassView
from bchisto.featurize import KIND_FACTS, FeaturizeSettings
from bchisto.finetune import FinetuneSettings
from bchisto.predict import PredictSettings
from command_line import EVERY
from documented import public
from package_tree import modules, name_of, tree_of

MOST_COMMANDS = 22
MOST_OPTIONS = 295

IMAGES = ("--images", "x")
GIVEN = {
    "featurize": (*IMAGES, "--out", "y"),
    "boost": ("--out", "y"),
    "finetune": (*IMAGES, "--out", "y", "--network", "alexnet"),
    "predict": ("m", "--out", "y"),
    "explain": ("m", "--out", "y", "--method", "map"),
    "reproduce": ("rakhlin2018", *IMAGES, "--out", "y"),
}
NOT_OFFERED = {
    "featurize": {"threads"},
    "boost": {"threads", "skip_errors", "test_list"},
    "predict": {"threads", "shard"},
}
"""Fields that mean nothing to a command."""

VALUES = {
    "featurize": (ImageSelection("x"), FeaturizeSettings(), Work()),
    "boost": (FeatureChoice(), BoostSettings(), FoldChoice(), TwoClassView(), Work()),
    "finetune": (
        ImageSelection("x"),
        FinetuneSettings("alexnet"),
        FoldChoice("10"),
        TwoClassView(),
        Work(),
    ),
    "predict": (PredictSettings(), Work()),
    "explain": (ExplainSettings("map"),),
    "reproduce": (Scope(), Work()),
}


@pytest.mark.parametrize("name", VALUES)
def test_defaults_of_a_command_are_those_of_its_values(name):
    command = EVERY[name]
    # as called: click keeps what it once made of -h
    with cli.make_context("bchisto", [name]) as context:
        options = command.make_context(name, list(GIVEN[name]), parent=context).params
    for value in VALUES[name]:
        assert from_options(type(value), options) == value


@pytest.mark.parametrize("name", VALUES)
def test_a_command_offers_every_option_of_its_values(name):
    offered = {parameter.name for parameter in EVERY[name].params}
    for value in VALUES[name]:
        declared = {field.name for field, _, _ in declared_options(type(value))}
        assert declared <= offered | NOT_OFFERED.get(name, set())


def test_every_field_of_featurize_tells_kinds_of_embeddings_apart_or_need_not():
    """Embeddings for `predict --features` must be of the kind that was trained on."""
    told_by = {
        "encoders": {"encoder", "layers"},
        "views": {"scale", "unit", "crop"},
        "weights": {"weights_sha256"},
        "pool": {"pool"},
        "color_range": {"color_range"},
        "stain": {"stain"},
        "mode": {"mode"},
        "pad": {"pad"},
    }
    # more or other draws of the same kind, or the same numbers but for rounding
    like = {"augmentations", "crops", "seed", "batch_size", "stain_fallback", "precision", "engine"}
    assert set().union(*told_by.values()) == set(KIND_FACTS)
    assert {
        field.name for field, _, _ in declared_options(FeaturizeSettings)
    } == told_by.keys() | like


def test_documented_functions_are_narrow():
    functions = [(name, item) for name, item in public() if inspect.isfunction(item)]
    assert len(functions) > 50
    assert not [name for name, item in functions if len(inspect.signature(item).parameters) > 8]


def imported(file):
    """Return the names of all modules, and of what is imported from them, in their parts."""
    names = []
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {part for name in names for part in name.split(".")}


def test_boost_and_finetune_are_siblings():
    """Neither imports the other."""
    for room, other in (("boost", "finetune"), ("finetune", "boost")):
        files = [file for file in modules() if name_of(file).startswith(f"{room}/")]
        assert len(files) > 5
        assert [file for file in files if other in imported(file)] == []


def test_commands_and_their_options_are_few():
    """What is typed, hidden options too, but not those of every command; a file of options has the others."""
    typed = {
        name: [
            parameter.name
            for parameter in command.params
            if isinstance(parameter, click.Option)
            and is_flag(parameter)
            and parameter.name not in COMMON
        ]
        for name, command in EVERY.items()
    }
    assert len(typed) <= MOST_COMMANDS
    assert len(typed["finetune"]) <= 31  # with --call
    assert sum(map(len, typed.values())) <= MOST_OPTIONS
