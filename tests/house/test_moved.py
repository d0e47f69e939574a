"""Names of the release before work from their old place, and say where they are now."""

import importlib
from dataclasses import replace

import bchisto.encoders
import bchisto.featurize
import pytest
from bchisto.finetune import FinetuneSettings, NetworkSpec
from bchisto.moved import moved_names

ENCODERS = (
    "EncoderChoice",
    "EncoderSpec",
    "canonical_names",
    "get_spec",
    "list_encoders",
    "parse_encoder",
    "precision_policy",
    "weights_of",
)


@pytest.mark.parametrize("name", ENCODERS)
def test_names_that_left_featurize(name):
    with pytest.deprecated_call(match=rf"bchisto\.featurize\.{name} is bchisto\.encoders\.{name} now") as said:
        found = getattr(bchisto.featurize, name)
    assert found is getattr(bchisto.encoders, name)
    assert said[0].filename == __file__
    with pytest.deprecated_call(match=name) as said:
        exec(compile(f"from bchisto.featurize import {name}", "theirs.py", "exec"), {})
    assert {one.filename for one in said} == {"theirs.py"}


def test_other_names_stay_unknown():
    with pytest.raises(AttributeError, match="module 'bchisto.featurize' has no attribute 'cellar'"):
        bchisto.featurize.cellar  # noqa: B018


def test_a_new_name():
    find = moved_names("bchisto.attic", {"Picker": "bchisto.encoders:EncoderChoice"})
    with pytest.deprecated_call(match="bchisto.attic.Picker is bchisto.encoders.EncoderChoice now"):
        assert find("Picker") is bchisto.encoders.EncoderChoice


@pytest.mark.parametrize(
    ("room", "old", "new"),
    [
        ("evaluate", "Comparison", "PublishedTable"),
        ("evaluate", "write_comparisons", "write_published"),
        ("recipes", "plan_recipe", "estimate_recipe"),
    ],
)
def test_names_that_said_another_thing(room, old, new):
    module = importlib.import_module(f"bchisto.{room}")
    with pytest.deprecated_call(match=rf"bchisto\.{room}\.{old} is bchisto\.{room}\.{new} now"):
        assert getattr(module, old) is getattr(module, new)


def test_a_result_whose_part_has_another_name(tmp_path):
    from bchisto.recipes import ReproduceResult, load_recipe

    result = ReproduceResult(load_recipe("idc-patches"), tmp_path, [], [], ())
    with pytest.deprecated_call(match="comparisons is published now"):
        assert result.comparisons is result.published


def test_a_name_that_is_another_in_its_room():
    import bchisto.finetune

    with pytest.deprecated_call(match=r"bchisto\.finetune\.Network is bchisto\.finetune\.NetworkSpec now"):
        assert bchisto.finetune.Network is bchisto.finetune.NetworkSpec


@pytest.mark.parametrize("make", [FinetuneSettings, lambda name, **given: NetworkSpec(name, print, 32, **given)])
def test_fields_that_have_the_name_of_the_field_now(make):
    with pytest.deprecated_call(match=r"\.rate is \w+\.learning_rate now") as said:
        old = make("alexnet", rate=0.5)
    assert said[0].filename == __file__
    assert old == make("alexnet", learning_rate=0.5)
    with pytest.deprecated_call(match="learning_rate now"):
        assert old.rate == 0.5
    with pytest.deprecated_call(match="learning_rate now"):
        assert replace(old, rate=0.25).learning_rate == 0.25
    assert replace(old, learning_rate=0.25) == make("alexnet", learning_rate=0.25)
