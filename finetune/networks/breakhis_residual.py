"""The residual CNN from scratch of the published system ``breakhis-resnet``, and its five variants."""

from __future__ import annotations

from functools import partial
from typing import Any

from .layers import conv_norm_relu, finish, rescaled_input, residual_block
from .spec import NetworkSpec

__all__ = ["SPECS", "VARIANTS", "build"]

VARIANTS = ("plain", "kernel3", "stride2", "doubled", "two-pools", "dropout")
"""The published one and its variants: first kernel 3x3 instead of 7x7, first stride 2, feature maps doubled, two
pooling layers before the residual blocks, dropout."""

_FILTERS = (16, 32, 64)
_BLOCKS = 2
"""Feature maps and residual blocks of each stage: ours, the source shows them as a drawing without numbers."""

_DROPOUT = 0.5


def build(*, classes: int, size: int, variant: str = "plain", dropout: float | None = None, l2: float = 1e-4) -> Any:
    """Build the network: a first convolution, pooling, residual stages, global average, softmax.

    References
    ----------
    Seed ``breakhis-resnet``; L2 and early stopping as there, its strength is ours.
    """
    from keras import layers

    images, x = rescaled_input(size)
    filters = [count * (2 if variant == "doubled" else 1) for count in _FILTERS]
    x = conv_norm_relu(
        x, filters[0], 3 if variant == "kernel3" else 7, stride=2 if variant == "stride2" else 1, l2=l2, name="first"
    )
    for number in range(2 if variant == "two-pools" else 1):
        x = layers.MaxPooling2D(2, name=f"pool{number + 1}")(x)
    for stage, count in enumerate(filters, start=1):
        for block in range(1, _BLOCKS + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = residual_block(x, count, stride=stride, l2=l2, name=f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="average")(x)
    rate = dropout if dropout is not None else _DROPOUT if variant == "dropout" else 0.0
    if rate:
        x = layers.Dropout(rate, seed=1, name="dropout")(x)
    return finish(x, images, classes=classes, name="breakhis-residual")


SPECS = tuple(
    NetworkSpec(
        "breakhis-residual" if variant == "plain" else f"breakhis-residual-{variant}",
        partial(build, variant=variant),
        128,
        source="seed breakhis-resnet; rates ours",
    )
    for variant in VARIANTS
)
