"""What follows the last feature map of an encoder."""

from __future__ import annotations

from typing import Any

from .layers import finish

_FILTERS = 64
"""Of the convolution; with its 3x3 kernel and 2x2 pooling ours, the source draws them without numbers."""


def add_top(
    features: Any, images: Any, *, classes: int, top: str, dropout: float = 0.0, l2: float = 0.0, name: str
) -> Any:
    """Return the model from images to probabilities.

    Parameters
    ----------
    features, images : tensor
        The feature map, and the input that it was computed from.
    classes : int
    top : {"average", "conv"}
        Global average; or convolution, max pooling, ReLU and flattening, in that order, as seed ``inbreast-inception``.
    dropout : float
        Before the softmax.
    l2 : float
        Of the kernels of the top, those of the softmax among them.
    name : str
    """
    from keras import layers, regularizers

    if top == "average":
        x = layers.GlobalAveragePooling2D(name="average")(features)
    else:
        penalty = regularizers.L2(l2) if l2 else None
        x = layers.Conv2D(_FILTERS, 3, padding="same", kernel_regularizer=penalty, name="top_conv")(features)
        x = layers.MaxPooling2D(2, padding="same", name="top_pool")(x)
        x = layers.Flatten(name="top_flatten")(layers.ReLU(name="top_relu")(x))
    if dropout:
        x = layers.Dropout(dropout, seed=1, name="dropout")(x)
    return finish(x, images, classes=classes, l2=l2, name=name)
