"""Networks that are trained from scratch: for patches of 50 pixels, and those of two published systems.

They are the baseline of ``ddsm-masses`` with three blocks and three fully connected layers, and the residual CNN of
``breakhis-resnet`` with its variants. The sizes of those for patches are bchisto's choice.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv, conv_norm, finish, norm, penalty, rescaled_input, residual_stages

VARIANTS = ("plain", "kernel3", "stride2", "doubled", "two-pools", "dropout")
"""The published BreakHis network and its variants: first kernel 3x3 instead of 7x7, first stride 2, twice the feature
maps, two pooling layers before the residual blocks, and dropout."""

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


def breakhis_resnet(
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
    own = partial(breakhis_resnet, variant=variant, dropout=_DROPOUT if variant == "dropout" else 0.0)
    return NetworkSpec(name, own, PURE, source="seed breakhis-resnet; learning rates are bchisto's")


def patch_resnet(
    *, classes: int, size: int, dropout: float = 0.0, l2: float = 1e-4, norm_momentum: float = NORM_MOMENTUM
) -> Any:
    """Build a residual network of 20 layers, as in He et al. 2016, sec. 4.2, for images of 32 pixels."""
    from keras import layers

    images, x = rescaled_input(size)
    x = conv_norm(x, 16, 3, l2=l2, momentum=norm_momentum, name="first")
    x = residual_stages(x, (16, 32, 64), blocks=3, l2=l2, momentum=norm_momentum)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return finish(x, images, classes=classes, dropout=dropout, name="patch-resnet")


def patch_densenet(
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


def ddsm_baseline(
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


SPECS = (
    NetworkSpec("patch-resnet", patch_resnet, 50),
    NetworkSpec("patch-densenet", patch_densenet, 50),
    NetworkSpec("ddsm-baseline", ddsm_baseline, 224, batch_size=64, source="seed ddsm-masses, sec. 4.1"),
    *map(_spec, VARIANTS),
)
