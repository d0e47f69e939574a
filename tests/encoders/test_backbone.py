"""A backbone is an encoder's network without what runs it."""

import numpy as np
import pytest
from bchisto.encoders import Encoder, build_backbone
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.model import build_model


@pytest.fixture
def nothing_compiled(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a function was compiled")

    for name in ("engines.compile_tensors", "encoder.compile_keras"):
        monkeypatch.setattr(f"bchisto.encoders.{name}", refuse)


def test_it_says_of_itself_what_its_encoder_says():
    encoder = Encoder("inceptionv3", layers=["mixed0", "mixed1"], weights="random", seed=4)
    backbone = build_backbone("inceptionv3", layers=("mixed0", "mixed1"), weights="random", seed=4)
    for name in (
        "layers",
        "default_layers",
        "weights",
        "weights_file_sha256",
    ):
        assert getattr(backbone, name) == getattr(encoder, name), name
    assert backbone.spec.name == encoder.name
    for one, two in zip(backbone.model.get_weights(), encoder.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nothing_is_compiled_for_it(nothing_compiled):
    backbone = build_backbone("convs", weights="random")
    assert backbone.model.outputs[0].shape[-1] == 16
    assert (backbone.default_layers, backbone.weights) == (True, "random")
    assert not backbone.model.trainable
    with pytest.raises(AssertionError, match="a function was compiled"):
        Encoder("convs", weights="random")


def test_a_network_to_train_is_built_without_an_encoder(nothing_compiled):
    model = build_model(FinetuneSettings("convs", size=64, weights="random"), classes=2, fold=1)
    assert model.output_shape == (None, 2)
