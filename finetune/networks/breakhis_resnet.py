"""The residual CNN of the published system ``breakhis-resnet``, which is trained from scratch, and its variants."""

from __future__ import annotations

from functools import partial
from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv_norm, finish, rescaled_input, residual_stages

VARIANTS = ("plain", "kernel3", "stride2", "doubled", "two-pools", "dropout")
"""The published network and its variants: first kernel 3x3 instead of 7x7, first stride 2, twice the feature maps, two
pooling layers before the residual blocks, and dropout."""

PURE = 128
"""Largest side, in pixels, at which residual blocks get the input unreduced.

Larger inputs exhausted the memory of the GPU of the source, so pooling or a stride of 2 reduces them first."""

_FILTERS = (16, 32, 64)
_BLOCKS = 2
"""Feature maps and residual blocks of each stage. bchisto's choice: the source draws them without numbers."""

_DROPOUT = 0.5


def pools_of(size: int, variant: str) -> int:
    """Return the number of pooling layers before the residual blocks: two in ``two-pools``, else as few as necessary.

    Except for ``two-pools``, the number is bchisto's choice: the source draws only the structure for inputs of 256.

    Examples
    --------
    >>> [pools_of(size, "plain") for size in (64, 128, 256)], pools_of(256, "stride2"), pools_of(64, "two-pools")
    ([0, 0, 1], 0, 2)
    """
    if variant == "two-pools":
        return 2
    side, pools = -(-size // 2) if variant == "stride2" else size, 0
    while side > PURE:
        side, pools = side // 2, pools + 1
    return pools


def build(
    *,
    classes: int,
    size: int,
    variant: str = "plain",
    dropout: float = 0.0,
    l2: float = 1e-4,
    norm_momentum: float = NORM_MOMENTUM,
) -> Any:
    """Build the network: a first convolution, pooling, residual stages, global average, softmax.

    Parameters
    ----------
    classes, size : int
    variant : str
        One of `VARIANTS`.
    dropout, l2, norm_momentum : float

    References
    ----------
    Published system ``breakhis-resnet``, with L2 and early stopping. The strength of L2 is bchisto's choice.
    """
    from keras import layers

    images, x = rescaled_input(size)
    filters = [count * (2 if variant == "doubled" else 1) for count in _FILTERS]
    kernel, stride = 3 if variant == "kernel3" else 7, 2 if variant == "stride2" else 1
    x = conv_norm(x, filters[0], kernel, strides=stride, l2=l2, momentum=norm_momentum, name="first")
    for number in range(pools_of(size, variant)):
        x = layers.MaxPooling2D(2, name=f"pool{number + 1}")(x)
    x = residual_stages(x, filters, blocks=_BLOCKS, l2=l2, momentum=norm_momentum)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return finish(x, images, classes=classes, dropout=dropout, name="breakhis-resnet")


def _spec(variant: str) -> NetworkSpec:
    name = "breakhis-resnet" if variant == "plain" else f"breakhis-resnet-{variant}"
    own = partial(build, variant=variant, dropout=_DROPOUT if variant == "dropout" else 0.0)
    return NetworkSpec(name, own, PURE, source="seed breakhis-resnet; learning rates are bchisto's")


SPECS = tuple(map(_spec, VARIANTS))
