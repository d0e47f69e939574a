"""ResNet-50 as Keras 2.1.3 built it, which was current when the code of Rakhlin et al. 2018 was published.

It takes the weights of today's ResNet-50 and computes something else with them: its first convolution is padded as
``same`` (so one pixel less on the left where the side is even), its maximum pooling is not padded, its batch
normalisation has an epsilon of 1e-3 in place of 1.001e-5, and its last feature map is averaged over 7x7 cells at a
stride of 7 before anything else. At crops of 400 pixels the map has 13x13 cells, of which that average sees the
top-left 7x7 alone; at crops of 650 it has 21x21, and all are seen.
"""

from __future__ import annotations

from typing import Any

RESNET50_KERAS213 = "resnet50-keras213"
"""Its name."""

LEAST_KERAS213 = 197
"""Pixels on a side under which its last map has no 7x7 cells; Keras 2.1.3 had the same bound."""

_EPSILON = 1e-3
_STACKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Filters, blocks and stride of each stack of blocks (He et al. 2016, table 1)."""


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network; its layers have the names of today's, so that the same files fit.

    Parameters
    ----------
    weights : {None, "imagenet"}
    include_top : bool
        With the classifier, for files that hold it; Keras 2.1.3 fed that the one cell that 224 pixels leave.

    Returns
    -------
    keras.Model
        From preprocessed images, channels last, to the 7x7 averages of its last map.
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
    """Add a bottleneck; the first of a stack changes size and features, so that its shortcut has to as well."""
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
