"""ResNet-50 as Keras 2.1.3 built it, the current version when the code of Rakhlin et al. 2018 was published.

It uses the weights of today's ResNet-50, but computes other features:

- The first convolution is padded as ``same``, which is one pixel less on the left if the side is even.
- The maximum pooling is not padded.
- Batch normalisation has an epsilon of 1e-3 instead of 1.001e-5.
- The last feature map is first averaged over 7x7 cells at a stride of 7.

For crops of 400 pixels the last map has 13x13 cells, and that average covers only the top-left 7x7. For crops of 650
pixels it has 21x21 cells, and all are covered.
"""

from __future__ import annotations

from typing import Any

RESNET50_KERAS213 = "resnet50-keras213"
"""Name of the encoder."""

LEAST_KERAS213 = 197
"""Smallest side of a crop in pixels, because the last map needs 7x7 cells. Keras 2.1.3 had the same limit."""

_EPSILON = 1e-3
_STACKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Filters, blocks and stride of each stack of blocks (He et al. 2016, table 1)."""


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network, with the layer names of today's ResNet-50, so that the same weights files fit.

    Parameters
    ----------
    weights : {None, "imagenet"}
    include_top : bool
        Whether to add the classifier, for weights files that contain it.

    Returns
    -------
    keras.Model
        A model from preprocessed images, channels last, to the 7x7 averages of the last map.
    """
    from keras import Model, layers

    image = layers.Input((None, None, 3))
    x = layers.Conv2D(64, 7, strides=2, padding="same", name="conv1_conv")(image)
    x = layers.Activation("relu", name="conv1_relu")(_normalised(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stack, (filters, blocks, stride) in enumerate(_STACKS, start=2):
        for block in range(1, blocks + 1):
            x = _block(
                x, filters, stride=stride if block == 1 else 1, first=block == 1, name=f"conv{stack}_block{block}"
            )
    x = layers.AveragePooling2D(7, name="avg_pool7")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = Model(image, x, name="resnet50_keras213")
    if weights is not None:
        from keras import applications

        published = applications.ResNet50(weights=weights, include_top=include_top)
        for layer in published.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _normalised(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _block(x: Any, filters: int, *, stride: int, first: bool, name: str) -> Any:
    """Add a bottleneck block. The first one of a stack changes size and features, so its shortcut is a convolution."""
    from keras import layers

    shortcut = x
    if first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalised(shortcut, f"{name}_0_bn")
    for number, (features, size, step) in enumerate(
        ((filters, 1, stride), (filters, 3, 1), (4 * filters, 1, 1)), start=1
    ):
        x = layers.Conv2D(features, size, strides=step, padding="same", name=f"{name}_{number}_conv")(x)
        x = _normalised(x, f"{name}_{number}_bn")
        if number < 3:
            x = layers.Activation("relu", name=f"{name}_{number}_relu")(x)
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))
