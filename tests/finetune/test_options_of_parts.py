"""Dropout, L2 and seeds reach every part of a network that they are meant for."""

from dataclasses import replace

import numpy as np
import pytest
from bchisto.encoders import build_backbone
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.fit import TrainingPlan
from training_sources import assert_same_arrays, model_of, source_of, trained

pytestmark = pytest.mark.slow

TINY = FinetuneSettings("convs", weights="random", size=32)


@pytest.mark.parametrize("top", ["average", "conv"])
def test_l2_is_of_the_kernels_of_an_encoders_top(top):
    settings = replace(TINY, top=top, l2=0.01)
    model = model_of(settings)
    kernels = [
        model.get_layer(name).kernel
        for name in ("top_conv", "classes")
        if (top, name) != ("average", "top_conv")
    ]
    expected = sum(0.01 * float((np.asarray(kernel) ** 2).sum()) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert not model_of(replace(settings, l2=0.0)).losses
    assert not model_of(replace(settings, l2=None)).losses


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        ("breakhis-resnet-dropout", {}, 0.5),
        ("breakhis-resnet-dropout", {"dropout": 0.0}, None),
        ("breakhis-resnet-dropout", {"dropout": 0.2}, 0.2),
        ("breakhis-resnet", {}, None),
        ("breakhis-resnet", {"dropout": 0.2}, 0.2),
    ],
)
def test_no_dropout_is_none(network, options, expected):
    model = model_of(FinetuneSettings(network, size=32, **options))
    rates = [layer.rate for layer in model.layers if layer.name == "dropout"]
    assert rates == ([] if expected is None else [expected])


def test_what_an_encoder_draws_follows_from_seed_and_fold():
    """EfficientNetV2 leaves blocks out at random while it trains."""
    settings = FinetuneSettings("efficientnetv2b0", weights="random", size=32)

    def seeds(settings, fold):
        model = model_of(settings, fold=fold)
        return [
            tuple(np.asarray(one.value).tolist())
            for one in model.variables
            if "seed_generator" in one.path
        ]

    found = seeds(settings, 1)
    assert len(set(found)) == len(found) > 10
    assert seeds(settings, 1) == found
    assert not set(seeds(settings, 2)) & set(found)


@pytest.fixture
def dropping(monkeypatch):
    """Let every encoder drop without a seed, as those of Keras's applications do."""
    import keras

    def build(name, **options):
        found = build_backbone(name, **options)
        x = keras.layers.Dropout(0.5)(found.model.outputs[0])
        model = keras.Model(
            found.model.input, keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(x)
        )
        return replace(found, model=model)

    monkeypatch.setattr("bchisto.finetune.model.build_backbone", build)


def test_training_that_drops_without_a_seed_is_repeatable(rng, tmp_path, dropping):
    images = rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    source = source_of(images, np.arange(16) % 2)
    plan = TrainingPlan(
        replace(TINY, epochs=3, patience=9, augmentations=()), np.arange(12), np.arange(12, 16), 2
    )

    def train(name):
        model = model_of(TINY)
        return trained(model, source, plan, tmp_path / name).get_weights()

    assert_same_arrays(train("first"), train("again"))


def test_an_encoder_that_is_not_trained_drops_nothing(rng, dropping):
    images = rng.integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    for freeze, same in (("all", True), ("", False)):
        model = model_of(replace(TINY, freeze=freeze))
        found = [np.asarray(model(images, training=True)) for _ in range(2)]
        assert np.array_equal(*found) == same
