"""A small residual network for 50-pixel patches. Its size is bchisto's choice."""

from __future__ import annotations

from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv_norm, finish, rescaled_input, residual_stages


def build(
    *, classes: int, size: int, dropout: float = 0.0, l2: float = 1e-4, norm_momentum: float = NORM_MOMENTUM
) -> Any:
    """Build a residual network of 20 layers, as in He et al. 2016, sec. 4.2, for images of 32 pixels."""
    from keras import layers

    images, x = rescaled_input(size)
    x = conv_norm(x, 16, 3, l2=l2, momentum=norm_momentum, name="first")
    x = residual_stages(x, (16, 32, 64), blocks=3, l2=l2, momentum=norm_momentum)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return finish(x, images, classes=classes, dropout=dropout, name="patch-resnet")


SPECS = (NetworkSpec("patch-resnet", build, 50),)
