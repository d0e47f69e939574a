"""ResNet-50 as Keras 2.1.3 built it, against the same network written out in NumPy, layer by layer."""

import numpy as np
import pytest
from bchisto.encoders import Encoder, build_backbone, weights_of
from bchisto.encoders.geometry import Geometry
from bchisto.featurize import FeaturizeSettings
from refusals import refusing

pytestmark = pytest.mark.slow

NAME = "resnet50-keras213"
SIDE = 270
"""Pixels: 135, 67, 34, 17 and 9 cells behind the five strides, of whose 9x9 the first 7x7 are averaged."""


@pytest.fixture(scope="module")
def model():
    """The network with every weight drawn anew, those of the normalisation too."""
    found = build_backbone(NAME, weights="random").model
    rng = np.random.default_rng(5)
    for layer in found.layers:
        if layer.name.endswith("_bn"):
            width = layer.gamma.shape[0]
            gain = 0.3 if layer.name.endswith("3_bn") else 1.0
            layer.set_weights(
                [
                    gain * rng.uniform(0.5, 1.5, width),
                    rng.normal(0, 0.2, width),
                    rng.normal(0, 0.2, width),
                    rng.uniform(0.001, 2, width),  # small variances, so that epsilon matters
                ]
            )
        elif layer.name.endswith("_conv"):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
    return found


def slid(x, size, stride, before, after, fill=0.0):
    """Windows of an array (rows, columns, features) that is padded: (rows, columns, features, size, size)."""
    padded = np.pad(x, ((before, after), (before, after), (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))[
        ::stride, ::stride
    ]


def by_hand(model, image):
    """Every named map, from the weights of the layers alone."""
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}

    def conv(x, name, *, stride=1, before=0, after=0):
        kernel, bias = weights[f"{name}_conv"]
        windows = slid(x, kernel.shape[0], stride, before, after)
        x = np.tensordot(windows, kernel, axes=([3, 4, 2], [0, 1, 2])) + bias
        gamma, beta, mean, variance = weights[f"{name}_bn"]
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    maps = {}
    # "same": 5 in all
    x = maps["conv1_relu"] = np.maximum(conv(image, "conv1", stride=2, before=2, after=3), 0)
    x = maps["pool1_pool"] = slid(x, 3, 2, 0, 0).max(axis=(3, 4))
    for stack, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            name, stride = f"conv{stack}_block{block}", 2 if block == 1 and stack > 2 else 1
            shortcut = conv(x, f"{name}_0", stride=stride) if block == 1 else x
            x = np.maximum(conv(x, f"{name}_1", stride=stride), 0)
            x = np.maximum(conv(x, f"{name}_2", before=1, after=1), 0)
            x = maps[f"{name}_out"] = np.maximum(conv(x, f"{name}_3") + shortcut, 0)
    maps["avg_pool7"] = x[:7, :7].mean(axis=(0, 1), keepdims=True)
    return maps


def test_every_layer_is_what_the_same_weights_give_by_hand(model):
    import keras

    image = np.random.default_rng(1).normal(0, 60, (SIDE, SIDE, 3)).astype(np.float32)
    expected = by_hand(model, image)
    assert expected["conv5_block3_out"].shape == (9, 9, 2048)
    outputs = keras.Model(model.input, {name: model.get_layer(name).output for name in expected})(
        image[None]
    )
    for name, found in expected.items():
        got = keras.ops.convert_to_numpy(outputs[name])[0]
        assert got.shape == found.shape, name
        np.testing.assert_allclose(got, found, atol=2e-4 * np.abs(found).max(), err_msg=name)


def test_it_takes_the_weights_of_the_plain_one(model, tmp_path):
    """The layers that have weights come in the same order under the same names, which is what files go by."""
    plain = build_backbone("resnet50", weights="random", seed=3)
    assert [one.name for one in plain.model.layers if one.weights] == [
        one.name for one in model.layers if one.weights
    ]
    plain.model.save_weights(tmp_path / "plain.weights.h5")
    encoder = Encoder(NAME, weights=str(tmp_path / "plain.weights.h5"))
    there = Encoder("resnet50", weights=str(tmp_path / "plain.weights.h5"))
    assert encoder.weights_sha256 == there.weights_sha256
    assert (encoder.dim, encoder.layers, encoder.name) == (2048, ("avg_pool7",), NAME)
    crop = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3)).astype(np.uint8)
    there = there.encode(crop)
    difference = np.abs(encoder.encode(crop) - there).max() / there.max()
    assert difference > 0.01  # the same weights, another network


def test_the_cells_of_a_crop_of_the_paper(model):
    """13x13 behind a crop of 400, of which one 7x7 is seen; 21x21 behind 650, which are nine."""
    assert [Geometry.of(model).axes(size=size, axis=0)[0].cells for size in (400, 650, 197)] == [
        1,
        3,
        1,
    ]


def test_weights_are_named_for_either():
    assert weights_of(("resnet50=a.h5",), NAME) == "a.h5"
    assert weights_of((f"{NAME}=b.h5", "resnet50=a.h5"), NAME) == "b.h5"
    assert weights_of((f"{NAME}=b.h5",), "resnet50") == "imagenet"
    assert weights_of(("resnet50=a.h5", "random"), "vgg16") == "random"


def test_what_it_cannot_do_is_refused():
    with refusing('`mode="dense"`: resnet50-keras213 looks at only a part of each crop'):
        FeaturizeSettings(encoders=NAME, mode="dense")
    with refusing("`views` 0.5:196: resnet50-keras213 takes no crop under 197 pixels"):
        FeaturizeSettings(encoders=NAME, views=["0.5:400", "0.5:196"])
    assert (
        FeaturizeSettings(encoders=f"{NAME}:conv4_block6_out", views="1.0:64", mode="dense")
        .views[0]
        .crop
        == 64
    )
