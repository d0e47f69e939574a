"""Networks against the layer sizes and parameter counts of their sources."""

import pytest
from bchisto.finetune import NETWORKS, FinetuneSettings, build_network
from bchisto.finetune.model import resolved
from refusals import refusing
from training_sources import model_of


def shape(model, name):
    return tuple(model.get_layer(name).output.shape[1:])


def test_alexnet_has_the_published_sizes():
    model = build_network("alexnet", classes=1000)
    assert model.count_params() == 60_965_224  # two groups of channels, as published
    assert shape(model, "conv1") == (55, 55, 96)
    assert shape(model, "conv2") == (27, 27, 256)
    assert shape(model, "conv5") == (13, 13, 256)
    assert shape(model, "pool5") == (6, 6, 256)
    assert shape(model, "fc6") == shape(model, "fc7") == (4096,)


def test_googlenet_has_the_published_sizes():
    model = build_network("googlenet", classes=1000)
    assert model.count_params() == 6_998_552  # without the auxiliary classifiers
    for name, expected in {
        "pool1": (56, 56, 64),
        "conv2": (56, 56, 192),
        "pool2": (28, 28, 192),
        "inception_3a": (28, 28, 256),
        "inception_3b": (28, 28, 480),
        "inception_4a": (14, 14, 512),
        "inception_4d": (14, 14, 528),
        "inception_4e": (14, 14, 832),
        "inception_5b": (7, 7, 1024),
    }.items():
        assert shape(model, name) == expected, name


def test_the_baseline_has_the_published_sizes():
    model = build_network("ddsm-baseline", classes=2)
    assert model.input_shape == (None, 224, 224, 3)
    assert [shape(model, f"block{n}_pool") for n in (1, 2, 3)] == [
        (112, 112, 32),
        (56, 56, 32),
        (28, 28, 64),
    ]
    assert [shape(model, name) for name in ("fc1", "fc2", "classes")] == [(128,), (64,), (2,)]
    convolutions = (3 * 9 + 1) * 32 + (32 * 9 + 1) * 32 + (32 * 9 + 1) * 64
    norms = 4 * (32 + 32 + 64)
    dense = (28 * 28 * 64 + 1) * 128 + 129 * 64 + 65 * 2
    assert model.count_params() == convolutions + norms + dense


def test_the_variants_differ_as_they_say():
    built = {
        name: build_network(name, classes=2)
        for name in NETWORKS
        if name.startswith("breakhis-resnet")
    }
    plain = built["breakhis-resnet"]
    assert len(built) == 6
    assert plain.count_params() == 177_778  # ours, the source prints none
    assert plain.get_layer("first").kernel.shape[:2] == (7, 7)
    assert built["breakhis-resnet-kernel3"].get_layer("first").kernel.shape[:2] == (3, 3)
    assert shape(plain, "first") == (128, 128, 16)
    assert shape(built["breakhis-resnet-stride2"], "first") == (64, 64, 16)
    assert shape(built["breakhis-resnet-doubled"], "first") == (128, 128, 32)
    assert shape(built["breakhis-resnet-two-pools"], "pool2") == (32, 32, 16)
    assert [layer.name for layer in built["breakhis-resnet-dropout"].layers].count("dropout") == 1


@pytest.mark.parametrize(
    ("variant", "sides"),
    [("", (64, 128, 128)), ("-stride2", (32, 64, 128)), ("-two-pools", (16, 32, 64))],
)
def test_the_structure_of_the_breakhis_network_follows_the_size_of_its_input(variant, sides):
    """Residual blocks on the input as it is up to 128 pixels, above that on at most 128, and half where stride is 2."""
    found = [
        shape(
            build_network(f"breakhis-resnet{variant}", classes=2, size=size), "stage1_block1_relu"
        )[:2]
        for size in (64, 128, 256)
    ]
    assert found == [(side, side) for side in sides]
    pure = build_network(f"breakhis-resnet{variant}", classes=2, size=64)
    pooled = [layer.name for layer in pure.layers if layer.name.startswith("pool")]
    assert pooled == (["pool1", "pool2"] if variant == "-two-pools" else [])


def test_the_patch_networks_are_pinned():
    assert build_network("patch-resnet", classes=2).count_params() == 273_522
    assert build_network("patch-densenet", classes=2).count_params() == 163_298


@pytest.mark.parametrize(("name", "own"), [("alexnet", 227), ("inceptionv3", 224)])
def test_images_too_small_for_a_network_are_refused_in_one_line(name, own):
    settings = FinetuneSettings(name, size=40, weights="random")
    with refusing(f"^`size` 40: too small for {name}, whose own size is {own}; give a larger"):
        model_of(settings, fold=0)


def momenta(network, **options):
    model = model_of(FinetuneSettings(network, weights="random", **{"size": 32, **options}), fold=0)
    return {layer.momentum for layer in model.layers if hasattr(layer, "momentum")}


@pytest.mark.parametrize(
    "network", ["patch-resnet", "patch-densenet", "ddsm-baseline", "breakhis-resnet-dropout"]
)
def test_every_normalisation_takes_a_momentum(network):
    assert momenta(network) == {0.9}
    assert momenta(network, norm_momentum=0.5) == {0.5}


@pytest.mark.parametrize("network", ["alexnet", "googlenet", "mobilenetv2"])
def test_networks_without_normalisation_refuse_a_momentum(network):
    with refusing("`norm_momentum`: .* trains no batch normalisation with it"):
        resolved(FinetuneSettings(network, norm_momentum=0.5))
    assert resolved(FinetuneSettings(network))["norm_momentum"] is None
