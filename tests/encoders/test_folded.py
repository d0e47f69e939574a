"""Networks as a GPU runs them compute what they computed before, with any layers."""

import numpy as np
import pytest
from bchisto.encoders import Encoder, Network
from bchisto.encoders.folded import fold


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        pytest.param("mobilenetv2", (), marks=pytest.mark.slow),
        # before and after batch normalisation, within and between blocks
        ("mobilenetv2", ("Conv1", "block_1_depthwise", "block_3_expand_relu", "block_5_add")),
        pytest.param("vgg16", (), marks=pytest.mark.slow),
        pytest.param(
            "resnet50", ("conv2_block1_1_conv", "conv2_block3_out"), marks=pytest.mark.slow
        ),
    ],
)
def test_maps_are_the_same(he_image, name, layers):
    from keras import ops

    encoder = Encoder(name, layers=layers, weights="random")
    crops = he_image[None, :64, :64]
    found = ops.convert_to_numpy(encoder.on_device.crops(crops))
    expected = encoder.encode(crops)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())
    half = encoder.in_float16(encoder.float16_scale(crops)).on_device.crops(crops)
    error = np.linalg.norm(ops.convert_to_numpy(half) - expected) / np.linalg.norm(expected)
    assert error < 1e-2


def test_batch_normalisation_is_gone():
    encoder = Encoder("mobilenetv2", weights="random")
    kinds = {type(layer).__name__ for layer in encoder.on_device.model.layers}
    assert "BatchNormalization" not in kinds
    assert "BatchNormalization" in {type(layer).__name__ for layer in encoder.model.layers}


def test_another_network_stays_as_it_is():
    encoder = Encoder("convs", weights="random")
    assert encoder.on_device.model is encoder.model


def test_what_float16_cannot_hold_is_not_finite():
    """With any factor, 1 too: TensorFlow's ReLU takes NaN for zero."""
    from keras import Model, layers, ops

    image = layers.Input((None, None, 3))
    model = Model(image, layers.ReLU()(layers.Conv2D(4, 1)(layers.Conv2D(4, 1)(image))))
    kernels = (np.full((1, 1, 3, 4), 60.0), np.random.default_rng(0).normal(size=(1, 1, 4, 4)))
    for layer, kernel in zip(model.layers[1:3], kernels, strict=True):
        layer.set_weights([kernel, np.zeros(4)])
    images = np.full((1, 8, 8, 3), 255, np.uint8)
    for scale in (1.0, 2.0):
        folded = fold(model, dtype="float16", scale=scale)
        network = Network(folded, lambda pixels: pixels, scale=scale, maps=1)
        assert not np.isfinite(ops.convert_to_numpy(network.crops(images))).any()
