"""A small densely connected network for 50-pixel patches. Its size is ours."""

from __future__ import annotations

from typing import Any

from .layers import MOMENTUM, finish, rescaled_input
from .spec import NetworkSpec


def build(*, classes: int, size: int, dropout: float = 0.0, l2: float = 1e-4) -> Any:
    """Build a densely connected network of growth 12 with three blocks of six layers (Huang et al. 2017, sec. 3)."""
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None

    def conv(x: Any, filters: int, kernel: int, name: str) -> Any:
        x = layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x))
        return layers.Conv2D(filters, kernel, padding="same", use_bias=False, kernel_regularizer=penalty, name=name)(x)

    images, x = rescaled_input(size)
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, kernel_regularizer=penalty, name="first")(x)
    for block in range(1, 4):
        for layer in range(1, 7):
            name = f"block{block}_layer{layer}"
            x = layers.Concatenate(name=f"{name}_join")([x, conv(x, 12, 3, name)])
        if block < 3:
            x = conv(x, x.shape[-1] // 2, 1, f"transition{block}")
            x = layers.AveragePooling2D(2, name=f"transition{block}_pool")(x)
    x = layers.ReLU(name="last_relu")(layers.BatchNormalization(momentum=MOMENTUM, name="last_norm")(x))
    x = layers.GlobalAveragePooling2D(name="average")(x)
    if dropout:
        x = layers.Dropout(dropout, seed=1, name="dropout")(x)
    return finish(x, images, classes=classes, name="patch-densenet")


SPECS = (NetworkSpec("patch-densenet", build, 50),)
