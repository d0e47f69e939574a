"""Where cells look, by calculation against the gradients of the network itself and against numbers by hand."""

import numpy as np
import pytest
from bchisto.encoders import build_backbone
from bchisto.encoders.geometry import Axis, Geometry


def centre_of_gradient(model, size, cell, *, seed):
    """Return where the absolute gradient of a cell has its centre of mass, pixels from the edges."""
    import tensorflow as tf

    image = tf.constant(
        np.random.default_rng(seed).normal(size=(1, size, size, 3)).astype(np.float32)
    )
    with tf.GradientTape() as tape:
        tape.watch(image)
        outputs = model(image, training=False)
        found = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        value = tf.reduce_sum(found[0, cell[0], cell[1]])
    mass = np.abs(tape.gradient(value, image).numpy())[0].sum(axis=-1)
    places = np.arange(size) + 0.5
    return [float((mass.sum(axis=1 - axis) * places).sum() / mass.sum()) for axis in (0, 1)]


# zero padding, strides of one pixel
# padding by the frame's size
@pytest.mark.parametrize(
    ("name", "layer", "size", "cells"),
    [
        ("convs", None, 100, [(0, 0), (2, 4), (4, 1)]),
        ("inceptionv3", "mixed3", 203, [(3, 6), (5, 5), (7, 4)]),  # unpadded branches that meet
        ("mobilenetv2", "block_6_expand_relu", 128, [(5, 9), (8, 8)]),  # padding on one side
        (
            "efficientnetv2b0",
            "block2a_project_bn",
            90,
            [(4, 7), (6, 6)],
        ),
        ("xception", "add", 90, [(9, 12), (11, 11)]),  # branches of different centres
    ],
)
def test_gradients_have_their_centre_where_the_cell_looks(name, layer, size, cells):
    pytest.importorskip("tensorflow")
    model = build_backbone(name, layers=() if layer is None else (layer,), weights="random").model
    rows, columns = (Geometry.of(model).axes(size=size, axis=axis)[0] for axis in (0, 1))
    assert rows == columns
    assert rows.cells == model.compute_output_shape((1, size, size, 3))[0][1]
    for cell in cells:
        found = centre_of_gradient(model, size, cell, seed=0)
        expected = [rows.first + number * rows.stride for number in cell]
        assert np.abs(np.subtract(found, expected)).max() < rows.stride / 2


def network(layers, channels=2):
    import keras

    x = inputs = keras.Input((None, None, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_layers_by_hand():
    from keras import layers

    for stack, size, expected in [
        ([layers.Conv2D(2, 3, padding="same")], 10, Axis(0.5, 1.0, 10)),
        ([layers.Conv2D(2, 3)], 10, Axis(1.5, 1.0, 8)),
        ([layers.Conv2D(2, 3, dilation_rate=2)], 10, Axis(2.5, 1.0, 6)),
        ([layers.Conv2D(2, 3, strides=2, padding="same")], 10, Axis(1.5, 2.0, 5)),
        ([layers.Conv2D(2, 3, strides=2, padding="same")], 11, Axis(0.5, 2.0, 6)),
        ([layers.MaxPooling2D(2), layers.DepthwiseConv2D(3)], 10, Axis(3.0, 2.0, 3)),
        (
            [layers.ZeroPadding2D(((1, 0), (0, 1))), layers.Conv2D(2, 3, strides=2)],
            10,
            Axis(0.5, 2.0, 5),
        ),
        ([layers.Cropping2D(2), layers.ReLU()], 10, Axis(2.5, 1.0, 6)),
        ([layers.AveragePooling2D(4), layers.UpSampling2D(2)], 16, Axis(1.0, 2.0, 8)),
    ]:
        assert Geometry.of(network(stack)).axes(size=size, axis=0) == [expected]
    asked = Geometry.of(network([layers.AveragePooling2D(4), layers.UpSampling2D(2)]))
    assert asked.plain is None  # Keras has to be asked, so that it cannot be kept as JSON
    padded = network([layers.ZeroPadding2D(((1, 0), (0, 1))), layers.Conv2D(2, 3, strides=2)])
    assert Geometry.of(padded).axes(size=10, axis=1) == [Axis(1.5, 2.0, 5)]


def test_branches_squeezes_and_nested_models():
    import keras
    from keras import layers

    inputs = keras.Input((None, None, 2))
    plain = layers.Conv2D(6, 1, strides=2)(inputs)
    padded = layers.MaxPooling2D(3, strides=2, padding="same")(inputs)
    joined = layers.Concatenate()([plain, padded])  # 6 features at 0.5, 2 at 1.5
    squeezed = layers.Dense(8)(layers.GlobalAveragePooling2D(keepdims=True)(joined))
    scaled = layers.Multiply()([joined, squeezed])
    nested = keras.Sequential([keras.Input((None, None, 8)), layers.Conv2D(4, 3)])(scaled)
    model = keras.Model(inputs, [joined, scaled, nested])
    found = Geometry.of(model).axes(size=20, axis=0)
    assert found == [Axis(0.75, 2.0, 10), Axis(0.75, 2.0, 10), Axis(2.75, 2.0, 8)]
