"""The one rule for weights files: a network has all its weights from the file, or the file is refused."""

import sys

import numpy as np
import pytest
from bchisto.core import DependencyError, WeightsError
from bchisto.encoders import (
    Encoder,
    EncoderChoice,
    build_backbone,
    open_encoder,
    variables_of,
)
from bchisto.encoders.weights import fill_weights
from bchisto.finetune import FinetuneSettings
from refusals import refusing
from safetensors.numpy import save_file
from training_sources import model_of
from written_tables import write_json


@pytest.fixture
def model():
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, name="first")(inputs)
    x = layers.Normalization(name="norm", mean=None)(x)
    return keras.Model(inputs, layers.Conv2D(2, 3, name="second")(x))


def values(model):
    return {f"{layer}/{name}": np.array(variable) for layer, name, variable in variables_of(model)}


def assign(model, arrays):
    for layer, name, variable in variables_of(model):
        if f"{layer}/{name}" in arrays:
            variable.assign(arrays[f"{layer}/{name}"])


def ones_of(model):
    return {name: np.ones_like(value) for name, value in values(model).items()}


def filled_by(model, read, needed=None):
    return fill_weights(model, read, needed=needed or model)


def filled_with(model, arrays, needed=None):
    return filled_by(model, lambda filled: assign(filled, arrays), needed)


def test_what_a_file_lacks_is_named(model):
    whole = ones_of(model)
    assert not filled_with(model, whole).reason
    lacking = {name: value for name, value in whole.items() if not name.startswith("second")}
    filled = filled_with(model, lacking)
    assert filled.missing == ("second/kernel", "second/bias")
    assert filled.reason == "it lacks second/kernel and 1 more"


def test_values_that_are_no_numbers_are_missing(model):
    whole = ones_of(model)
    whole["first/bias"] = np.array([1, np.inf], np.float32)
    assert filled_with(model, whole).missing == ("first/bias",)


def test_a_part_is_enough_where_a_part_is_needed(model):
    import keras

    part = keras.Model(model.inputs, model.get_layer("first").output)
    assert not filled_with(model, ones_of(part), needed=part).reason


def test_counts_are_no_weights(model):
    """Whole numbers cannot say that they are none; what is not read stays as it was."""
    arrays = {name: value for name, value in values(model).items() if name != "norm/count"}
    assert not filled_with(model, arrays).reason
    assert values(model)["norm/count"] == 0


def test_what_stops_the_reading_is_told(model):
    def fail(_):
        raise ValueError("no such thing\nin more words")

    filled = filled_by(model, fail)
    assert filled.reason == "no such thing"

    def refuse(_):
        raise WeightsError("said already")

    with refusing("said already", WeightsError):
        filled_by(model, refuse)


def test_both_roads_refuse_values_that_are_no_numbers(tmp_path):
    model = build_backbone("convs", weights="random").model
    model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])
    model.save_weights(tmp_path / "tiny.weights.h5")
    with refusing(r"these are not the weights of convs \(it lacks \S+/\S+ and .*\)", WeightsError):
        Encoder("convs", weights=tmp_path / "tiny.weights.h5")
    small = FinetuneSettings("patch-resnet", size=32)
    arrays = values(model_of(small))
    arrays["first/kernel"] = np.full_like(arrays["first/kernel"], np.nan)
    np.savez(tmp_path / "own.npz", **arrays)
    with refusing(r"own\.npz: has no first/kernel of finite values", WeightsError):
        model_of(FinetuneSettings("patch-resnet", size=32, weights=str(tmp_path / "own.npz")))


@pytest.mark.parametrize("missing", ["torch", None])
@pytest.mark.parametrize("encoder", ["hub:{}", "uni", "midnight-12k", "timm:vit_tiny_patch16_224"])
@pytest.mark.parametrize(
    "config", [{"architecture": "vit_tiny_patch16_224"}, {"model_type": "vit"}]
)
def test_networks_on_pytorch_name_the_package_that_is_missing(
    tmp_path, monkeypatch, encoder, config, missing
):
    write_json(tmp_path / "config.json", config)
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    for name in [missing] if missing else ["timm", "transformers"]:
        monkeypatch.setitem(sys.modules, name, None)
    with refusing(
        r"(torch|timm|transformers) .*cannot be loaded .*; pip install", DependencyError
    ) as refused:
        open_encoder(EncoderChoice(encoder.format(tmp_path)), weights=str(tmp_path))
    assert refused.value.exit_code == 2
