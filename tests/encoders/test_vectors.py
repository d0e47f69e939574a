"""Encoders of vectors that another package offers: what is asked of them that they do not do."""

import importlib.util

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.encoders import (
    EncoderCard,
    EncoderChoice,
    VectorSpec,
    describe_encoder,
    open_encoder,
    opening,
)
from bchisto.encoders.vectors import EncoderRequest, open_package_encoder
from conftest import need

CARD = EncoderCard(size=16, licence="CC BY-NC 4.0")


def spec():
    return VectorSpec(
        "theirs",
        CARD,
        {"mean": 3},
        lambda outputs, weights: (lambda images: images.mean(axis=(1, 2)), "ab" * 32),
    )


def opened(**how):
    return open_package_encoder(spec(), EncoderRequest(EncoderChoice("theirs"), **how))


def test_random_weights_are_recorded_as_such():
    found = {
        weights: opened(weights=weights).weights for weights in ("imagenet", "random", "mine.bin")
    }
    assert found == {"imagenet": "published", "random": "random", "mine.bin": "file"}
    assert opened().encode(np.zeros((2, 16, 16, 3), np.uint8)).shape == (2, 3)


@pytest.mark.parametrize("how", [{"precision": "bfloat16"}, {"engine": "openvino"}])
def test_what_its_package_does_not_know_is_refused(monkeypatch, how):
    monkeypatch.setattr(opening, "load_extension", lambda *_, **__: spec())
    ((name, value),) = how.items()
    with pytest.raises(InputError, match=f"`{name}` {value}: .*theirs.*; leave it out"):
        open_encoder(EncoderChoice("theirs"), **how)


def test_it_is_described_without_being_built(monkeypatch):
    def build(*_):
        raise AssertionError("was built")

    offered = VectorSpec("theirs", CARD, {"mean": 3, "spread": 4}, build)
    monkeypatch.setattr(opening, "load_extension", lambda *_, **__: offered)
    lines = dict(describe_encoder("theirs"))
    assert lines["takes"] == "16x16 pixels (bicubic)"
    assert lines["licence of the weights"] == "CC BY-NC 4.0, non-commercial use only"


def test_what_continuous_integration_requires_is_installed():
    need(
        "onnx",
        all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
        "pip install 'bchisto[onnx]'",
    )
    need(
        "openvino",
        importlib.util.find_spec("openvino") is not None,
        "pip install 'bchisto[openvino]'",
    )
