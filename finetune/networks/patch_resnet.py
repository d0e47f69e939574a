"""A small residual network for 50-pixel patches. Its size is ours."""

from __future__ import annotations

from typing import Any

from .layers import conv_norm_relu, finish, rescaled_input, residual_block
from .spec import NetworkSpec


def build(*, classes: int, size: int, dropout: float = 0.0, l2: float = 1e-4) -> Any:
    """Build a residual network of 20 layers, as He et al. 2016, sec. 4.2, have it for pictures of 32 pixels."""
    from keras import layers

    images, x = rescaled_input(size)
    x = conv_norm_relu(x, 16, 3, l2=l2, name="first")
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, 4):
            stride = 2 if stage > 1 and block == 1 else 1
            x = residual_block(x, filters, stride=stride, l2=l2, name=f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="average")(x)
    if dropout:
        x = layers.Dropout(dropout, seed=1, name="dropout")(x)
    return finish(x, images, classes=classes, name="patch-resnet")


SPECS = (NetworkSpec("patch-resnet", build, 50),)
