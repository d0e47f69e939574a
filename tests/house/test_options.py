"""An option stands in one place: choices and defaults of commands are those of the library, functions stay narrow."""

import ast
import importlib
import inspect
import re
from dataclasses import fields
from pathlib import Path

import bchisto
import click
import pytest
from bchisto.boost import HEADS, PRESETS, BoostSettings, FeatureChoice
from bchisto.cli import _COMMANDS, cli
from bchisto.data import DATASET_NAMES, FoldChoice, ImageSelection
from bchisto.data.folds.folds import GROUPINGS
from bchisto.data.layouts.context import CONTEXTS
from bchisto.data.layouts.spec import LABEL_LEVELS, LESIONS
from bchisto.encoders import ENGINES
from bchisto.errors import InputError
from bchisto.evaluate import AGGREGATIONS, LEVELS, PREDICTED_FROM, TwoClassView
from bchisto.evaluate.two_class import TWO_CLASS_RULES
from bchisto.explain import ExplainSettings
from bchisto.featurize import FeaturizeSettings
from bchisto.featurize.settings import MODES, PADS
from bchisto.finetune import AUGMENTATIONS, OFFLINE, SAMPLINGS, FinetuneSettings
from bchisto.finetune.settings import BATCH_NORMS, CONVENTIONS, OPTIMIZERS, PRECISIONS, TOPS
from bchisto.jobs import Work
from bchisto.options import from_options, plain_options
from bchisto.predict import FORMATS, PredictSettings
from bchisto.recipes import Scope

ROOT = Path(bchisto.__file__).parent


def commands(group=None, path=""):
    """Yield (name, command) of every command, also of those in groups."""
    named = (
        [(name, getattr(importlib.import_module(f"bchisto.commands.{name}"), name)) for name in _COMMANDS]
        if group is None
        else group.commands.items()
    )
    for name, command in named:
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


EVERY = dict(commands())


def named_in(refusal):
    """Return the values that a refusal offers: "choose a, b or c"."""
    with pytest.raises(InputError) as found:
        refusal()
    return tuple(re.split(r", | or ", str(found.value).rpartition("choose ")[2]))


CHOICES = {
    "dataset": DATASET_NAMES,
    "lesion": LESIONS,
    "context": CONTEXTS,
    "label_level": LABEL_LEVELS,
    "group_by": GROUPINGS,
    "head": HEADS,
    "preset": tuple(PRESETS),
    "two_class": TWO_CLASS_RULES,
    "levels": LEVELS,
    "predicted_from": PREDICTED_FROM,
    "rules": AGGREGATIONS,
    "output_format": FORMATS,
    "mode": MODES,
    "pad": PADS,
    "engine": ENGINES,
    "stain_fallback": lambda: named_in(lambda: FeaturizeSettings(stain_fallback="x")),
    "featurize precision": lambda: named_in(lambda: FeaturizeSettings(precision="x")),
    "encoder check precision": lambda: named_in(lambda: FeaturizeSettings(precision="x")),
    "finetune precision": PRECISIONS,
    "optimizer": OPTIMIZERS,
    "top": TOPS,
    "batch_norm": BATCH_NORMS,
    "convention": CONVENTIONS,
    "sampling": SAMPLINGS,
    "augment": (*AUGMENTATIONS, OFFLINE),
}
"""Option, or command and option where they differ, to what the library knows."""


def test_every_choice_is_a_constant_of_the_library():
    seen = set()
    for name, command in EVERY.items():
        for one in command.params:
            if isinstance(one.type, click.Choice):
                key = f"{name} {one.name}" if f"{name} {one.name}" in CHOICES else one.name
                known = CHOICES[key]  # a choice that is not listed here is tied to nothing
                assert tuple(one.type.choices) == (known() if callable(known) else known), (name, one.name)
                seen.add(key)
    assert seen == set(CHOICES)


IMAGES = ("--images", "x")
GIVEN = {
    "featurize": (*IMAGES, "--out", "y"),
    "boost": ("--out", "y"),
    "finetune": (*IMAGES, "--out", "y", "--network", "alexnet"),
    "predict": ("m", "--out", "y"),
    "explain": ("m", "--out", "y", "--method", "map"),
    "reproduce": ("rakhlin2018", *IMAGES, "--out", "y"),
}
VALUES = {
    "featurize": (ImageSelection("x"), FeaturizeSettings(), Work()),
    "boost": (FeatureChoice(), BoostSettings(), FoldChoice(), TwoClassView(), Work()),
    "finetune": (ImageSelection("x"), FinetuneSettings("alexnet"), FoldChoice("10"), TwoClassView(), Work()),
    "predict": (PredictSettings(), Work()),
    "explain": (ExplainSettings("map"),),
    "reproduce": (Scope(), Work()),
}
NO_OPTION = {
    # what is made now has the present geometry; threads are of networks that are trained
    "featurize": {"geometry", "threads"},
    # of --folds none, which averages nothing; of images, which it does not read
    "boost": {"test_list", "skip_errors", "threads"},
    "finetune": set(),
    "predict": {"shard", "threads"},  # a table has no shards
    "explain": set(),
    "reproduce": set(),
}


@pytest.mark.parametrize("name", VALUES)
def test_defaults_of_a_command_are_those_of_its_values(name):
    command = EVERY[name]
    with cli.make_context("bchisto", [name]) as context:  # as called: click keeps what it once made of -h
        options = command.make_context(name, list(GIVEN[name]), parent=context).params
    for value in VALUES[name]:
        assert from_options(type(value), options) == value
        assert set(plain_options(value)) <= {*options, *NO_OPTION[name]}


@pytest.mark.parametrize("name", VALUES)
def test_every_field_of_a_value_is_an_option(name):
    known = {one.name for one in EVERY[name].params}
    names = {
        getattr(one.metadata.get("option"), "name", "") or one.name for value in VALUES[name] for one in fields(value)
    }
    assert names - known == NO_OPTION[name]


def test_public_functions_are_narrow():
    found = set()
    rooms = [path.parent.name for path in sorted(ROOT.glob("*/__init__.py"))]
    for room in rooms:
        if room in ("commands", "tests", "benchmarks"):
            continue
        module = importlib.import_module(f"bchisto.{room}")
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isfunction(item) and len(inspect.signature(item).parameters) > 8:
                found.add(f"{room}.{name}")
    assert not found


def test_boost_and_finetune_are_siblings():
    """Neither imports the other."""
    for room, other in (("boost", "finetune"), ("finetune", "boost")):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert other not in (node.module or "").split("."), file
                    assert node.module is not None or other not in [alias.name for alias in node.names], file
