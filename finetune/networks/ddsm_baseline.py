"""The shallow baseline of the published system ``ddsm-masses``: three blocks, three fully connected layers."""

from __future__ import annotations

from typing import Any

from .layers import MOMENTUM, finish, rescaled_input
from .spec import NetworkSpec


def build(*, classes: int, size: int, dropout: float = 0.0, l2: float = 0.0) -> Any:
    """Build the network: 3x3 convolution, batch normalisation, ReLU, 2x2 max pooling with 32, 32, 64 filters; 128, 64.

    References
    ----------
    Seed ``ddsm-masses``, sec. 4.1. Pooling by 2 and "same" padding are ours.
    """
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None
    images, x = rescaled_input(size)
    for number, filters in enumerate((32, 32, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", kernel_regularizer=penalty, name=f"block{number}_conv")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"block{number}_norm")(x)
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(layers.ReLU(name=f"block{number}_relu")(x))
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate((128, 64), start=1):
        x = layers.Dense(width, activation="relu", kernel_regularizer=penalty, name=f"fc{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="ddsm-baseline")


SPECS = (NetworkSpec("ddsm-baseline", build, 224, batch_size=64, source="seed ddsm-masses, sec. 4.1"),)
