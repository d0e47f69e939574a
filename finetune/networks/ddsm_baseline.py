"""The shallow baseline of the published system ``ddsm-masses``: three blocks and three fully connected layers."""

from __future__ import annotations

from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv, finish, norm, penalty, rescaled_input


def build(
    *, classes: int, size: int, dropout: float = 0.0, l2: float = 0.0, norm_momentum: float = NORM_MOMENTUM
) -> Any:
    """Build the network: three convolutional blocks, then fully connected layers of 128 and 64 units, then softmax.

    A block is a 3x3 convolution with 32, 32 or 64 filters, batch normalisation, ReLU, and 2x2 max pooling.

    References
    ----------
    Published system ``ddsm-masses``, sec. 4.1. Pooling by 2 and "same" padding are bchisto's choice.
    """
    from keras import layers

    images, x = rescaled_input(size)
    for number, filters in enumerate((32, 32, 64), start=1):
        x = conv(x, filters, 3, l2=l2, name=f"block{number}_conv")
        x = norm(x, momentum=norm_momentum, name=f"block{number}")
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate((128, 64), start=1):
        x = layers.Dense(width, activation="relu", kernel_regularizer=penalty(l2), name=f"fc{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="ddsm-baseline")


SPECS = (NetworkSpec("ddsm-baseline", build, 224, batch_size=64, source="seed ddsm-masses, sec. 4.1"),)
