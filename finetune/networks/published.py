"""Networks of publications: AlexNet, GoogLeNet, those for patches of 50 pixels, and those of two published systems.

AlexNet has grouped convolutions as published, and GoogLeNet no auxiliary classifiers. The networks for patches, whose
sizes are bchisto's choice, and those of the systems (the baseline of ``ddsm-masses`` with three blocks and three fully
connected layers, and the residual CNN of ``breakhis-resnet`` with its variants) are trained from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...core.formats import published_rows
from .layers import (
    NORM_MOMENTUM,
    add_top,
    conv,
    conv_norm,
    finish,
    local_response,
    norm,
    penalty,
    rescaled_input,
    residual_stages,
)
from .spec import CaffeLayers, NetworkSpec


def _grouped(x: Any, filters: int, kernel: int, *, l2: float, name: str) -> Any:
    """Convolve the two halves of the channels separately, as the two GPUs of the paper did."""
    from keras import layers

    half = x.shape[-1] // 2
    parts = [
        conv(
            x[..., start : start + half],
            filters // 2,
            kernel,
            activation="relu",
            l2=l2,
            name=f"{name}_{part}",
        )
        for part, start in (("a", 0), ("b", half))
    ]
    return layers.Concatenate(name=name)(parts)


def alexnet(
    *, classes: int, size: int, dropout: float = 0.5, l2: float = 0.0, convention: str = "signed"
) -> Any:
    """Build AlexNet.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, sec. 3.5: 60 million parameters with 1,000 classes.
    """
    from keras import layers

    images, x = rescaled_input(size, convention)
    x = conv(x, 96, 11, strides=4, padding="valid", activation="relu", l2=l2, name="conv1")
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(local_response(x, name="norm1"))
    x = _grouped(x, 256, 5, l2=l2, name="conv2")
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(local_response(x, name="norm2"))
    x = conv(x, 384, 3, activation="relu", l2=l2, name="conv3")
    x = _grouped(x, 384, 3, l2=l2, name="conv4")
    x = _grouped(x, 256, 3, l2=l2, name="conv5")
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D(3, strides=2, name="pool5")(x))
    for number in (6, 7):
        x = layers.Dense(
            4096, activation="relu", kernel_regularizer=penalty(l2), name=f"fc{number}"
        )(x)
        x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="alexnet")


_ALEXNET = CaffeLayers(
    {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")}
    | {"classes": "fc8"},
    flattened={"fc6": 256},
)
"""Layers of the published Caffe model bvlc_alexnet."""


def _inception_filters() -> dict[str, dict[str, int]]:
    """Return the filters of each convolution of each inception module (Szegedy et al. 2015, Table 1)."""
    rows = published_rows(__package__, "googlenet.csv")
    return {row.pop("module"): {name: int(text) for name, text in row.items()} for row in rows}


def googlenet(
    *, classes: int, size: int, dropout: float = 0.2, l2: float = 0.0, convention: str = "signed"
) -> Any:
    """Build GoogLeNet. Its inception modules are named ``inception_3a`` to ``inception_5b``.

    References
    ----------
    Szegedy et al. 2015, Table 1; dropout 0.2 and no auxiliary classifiers as in the published system
    ``ddsm-masses``, sec. 4.
    """
    from keras import layers

    def conv_relu(x: Any, filters: int, kernel: int, name: str, **options: Any) -> Any:
        return conv(x, filters, kernel, activation="relu", l2=l2, name=name, **options)

    def pool(x: Any, name: str) -> Any:
        return layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)

    def inception(x: Any, name: str, filters: Mapping[str, int]) -> Any:
        def branch(x: Any, kernel: int, part: str) -> Any:
            return conv_relu(x, filters[part], kernel, f"{name}_{part}")

        pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
        branches = [
            branch(x, 1, "1x1"),
            branch(branch(x, 1, "3x3_reduce"), 3, "3x3"),
            branch(branch(x, 1, "5x5_reduce"), 5, "5x5"),
            branch(pooled, 1, "project"),
        ]
        return layers.Concatenate(name=name)(branches)

    images, x = rescaled_input(size, convention)
    # three pixels on every side, as in Caffe; "same" padding of Keras is two and three
    x = layers.ZeroPadding2D(3, name="pad1")(x)
    x = conv_relu(x, 64, 7, "conv1", strides=2, padding="valid")
    x = local_response(pool(x, "pool1"), name="norm1")
    x = local_response(
        conv_relu(conv_relu(x, 64, 1, "conv2_reduce"), 192, 3, "conv2"), name="norm2"
    )
    x = pool(x, "pool2")
    for module, filters in _inception_filters().items():
        x = inception(x, f"inception_{module}", filters)
        if module in ("3b", "4e"):
            x = pool(x, f"pool{module[0]}")
    return add_top(x, images, classes=classes, dropout=dropout, name="googlenet")


_GOOGLENET = CaffeLayers(
    {"conv1": "conv1/7x7_s2", "conv2_reduce": "conv2/3x3_reduce", "conv2": "conv2/3x3"}
    | {
        f"inception_{module}_{branch}": f"inception_{module}/{branch.replace('project', 'pool_proj')}"
        for module, filters in _inception_filters().items()
        for branch in filters
    }
    | {"classes": "loss3/classifier"}
)
"""Layers of the published Caffe model bvlc_googlenet."""


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
    side = -(-size // 2) if variant == "stride2" else size
    pools = 0
    while side > PURE:
        side //= 2
        pools += 1
    return pools


def breakhis_resnet(
    *,
    classes: int,
    size: int,
    variant: str,
    dropout: float,
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
    maps = 2 if variant == "doubled" else 1
    filters = [count * maps for count in _FILTERS]
    kernel = 3 if variant == "kernel3" else 7
    stride = 2 if variant == "stride2" else 1
    x = conv_norm(
        x, filters[0], kernel, strides=stride, l2=l2, momentum=norm_momentum, name="first"
    )
    for number in range(pools_of(size, variant)):
        x = layers.MaxPooling2D(2, name=f"pool{number + 1}")(x)
    x = residual_stages(x, filters, blocks=_BLOCKS, l2=l2, momentum=norm_momentum)
    return add_top(x, images, classes=classes, dropout=dropout, name="breakhis-resnet")


def _spec(variant: str) -> NetworkSpec:
    name = "breakhis-resnet" if variant == "plain" else f"breakhis-resnet-{variant}"
    dropout = _DROPOUT if variant == "dropout" else 0.0
    build = partial(breakhis_resnet, variant=variant, dropout=dropout)
    source = "published system breakhis-resnet; learning rates are bchisto's"
    return NetworkSpec(name, build, PURE, source=source)


def patch_resnet(
    *,
    classes: int,
    size: int,
    dropout: float = 0.0,
    l2: float = 1e-4,
    norm_momentum: float = NORM_MOMENTUM,
) -> Any:
    """Build a residual network of 20 layers, as in He et al. 2016, sec. 4.2, for images of 32 pixels."""
    images, x = rescaled_input(size)
    x = conv_norm(x, 16, 3, l2=l2, momentum=norm_momentum, name="first")
    x = residual_stages(x, (16, 32, 64), blocks=3, l2=l2, momentum=norm_momentum)
    return add_top(x, images, classes=classes, dropout=dropout, name="patch-resnet")


def patch_densenet(
    *,
    classes: int,
    size: int,
    dropout: float = 0.0,
    l2: float = 1e-4,
    norm_momentum: float = NORM_MOMENTUM,
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
    x = norm(x, momentum=norm_momentum, name="last")
    return add_top(x, images, classes=classes, dropout=dropout, name="patch-densenet")


def ddsm_baseline(
    *,
    classes: int,
    size: int,
    dropout: float = 0.0,
    l2: float = 0.0,
    norm_momentum: float = NORM_MOMENTUM,
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
        x = layers.Dense(
            width, activation="relu", kernel_regularizer=penalty(l2), name=f"fc{number}"
        )(x)
        if dropout:
            x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="ddsm-baseline")


SPECS = (
    NetworkSpec(
        "alexnet",
        alexnet,
        227,
        caffe=_ALEXNET,
        source="Krizhevsky et al. 2012; Adam 1e-3 of published system ddsm-masses, sec. 4.2",
    ),
    NetworkSpec(
        "googlenet",
        googlenet,
        224,
        optimizer="sgd",
        learning_rate=1e-2,
        caffe=_GOOGLENET,
        source="Szegedy et al. 2015; published system ddsm-masses, sec. 4.2",
    ),
    NetworkSpec("patch-resnet", patch_resnet, 50),
    NetworkSpec("patch-densenet", patch_densenet, 50),
    NetworkSpec(
        "ddsm-baseline",
        ddsm_baseline,
        224,
        batch_size=64,
        source="published system ddsm-masses, sec. 4.1",
    ),
    *map(_spec, VARIANTS),
)
