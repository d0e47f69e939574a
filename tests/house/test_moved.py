"""Names of the release before work from their old place, and say where they are now."""

import bchisto.encoders
import bchisto.featurize
import pytest
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


def test_a_name_that_is_another_in_its_room():
    import bchisto.finetune

    with pytest.deprecated_call(match=r"bchisto\.finetune\.Network is bchisto\.finetune\.NetworkSpec now"):
        assert bchisto.finetune.Network is bchisto.finetune.NetworkSpec
