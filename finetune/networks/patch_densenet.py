"""A small densely connected network for 50-pixel patches. Its size is bchisto's choice."""

from __future__ import annotations

from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv, finish, norm, rescaled_input


def build(
    *, classes: int, size: int, dropout: float = 0.0, l2: float = 1e-4, norm_momentum: float = NORM_MOMENTUM
) -> Any:
    """Build a densely connected network of growth 12 with three blocks of six layers (Huang et al. 2017, sec. 3)."""
    from keras import layers

    def norm_conv(x: Any, filters: int, kernel: int, name: str) -> Any:
        x = norm(x, momentum=norm_momentum, name=name)
        return conv(x, filters, kernel, use_bias=False, l2=l2, name=name)

    images, x = rescaled_input(size)
    x = conv(x, 24, 3, use_bias=False, l2=l2, name="first")
    for block in range(1, 4):
        for layer in range(1, 7):
            name = f"block{block}_layer{layer}"
            x = layers.Concatenate(name=f"{name}_join")([x, norm_conv(x, 12, 3, name)])
        if block < 3:
            x = norm_conv(x, x.shape[-1] // 2, 1, f"transition{block}")
            x = layers.AveragePooling2D(2, name=f"transition{block}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="average")(norm(x, momentum=norm_momentum, name="last"))
    return finish(x, images, classes=classes, dropout=dropout, name="patch-densenet")


SPECS = (NetworkSpec("patch-densenet", build, 50),)
