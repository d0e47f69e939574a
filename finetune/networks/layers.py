"""The layers that networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NORM_MOMENTUM = 0.9
"""Default momentum of the moving statistics of batch normalisation, bchisto's choice.

Keras's default of 0.99 needs hundreds of steps, more than the first epochs have with a few hundred images."""

_TOP_FILTERS = 64
"""Filters of the convolution in a top.

Like its 3x3 kernel and 2x2 pooling it is bchisto's choice, since the source draws them without numbers."""

_CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Mean blue, green and red of ImageNet, which the published Caffe models subtract."""


def rescaled_input(size: int, convention: str = "signed") -> tuple[Any, Any]:
    """Return an input layer for RGB in 0..255, and the rescaled tensor.

    It is scaled to -1..1 or, for weights of a published Caffe model, in the order BGR minus the mean.
    """
    from keras import Input, layers

    images = Input((size, size, 3), name="image")
    if convention == "caffe":
        offset = [-mean for mean in _CAFFE_MEAN]
        return images, layers.Rescaling(1.0, offset=offset, name="rescale")(images[..., ::-1])
    return images, layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)


def penalty(l2: float) -> Any:
    """Return the L2 penalty of a layer's kernel, or None if `l2` is 0."""
    from keras import regularizers

    return regularizers.L2(l2) if l2 else None


def conv(x: Any, filters: int, kernel: int, *, l2: float = 0.0, name: str, **options: Any) -> Any:
    """Apply a convolution with options of the Keras layer. The default padding is ``same``."""
    from keras import layers

    options = {"padding": "same", **options}
    return layers.Conv2D(filters, kernel, kernel_regularizer=penalty(l2), name=name, **options)(x)


def norm(x: Any, *, momentum: float, name: str, relu: bool = True) -> Any:
    """Apply batch normalisation and ReLU."""
    from keras import layers

    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def conv_norm(
    x: Any,
    filters: int,
    kernel: int,
    *,
    momentum: float,
    name: str,
    relu: bool = True,
    **options: Any,
) -> Any:
    """Apply a convolution with options of `conv`, batch normalisation and ReLU."""
    return norm(
        conv(x, filters, kernel, use_bias=False, name=name, **options),
        momentum=momentum,
        name=name,
        relu=relu,
    )


def residual_stages(x: Any, stages: Sequence[int], *, blocks: int, **options: Any) -> Any:
    """Apply stages of residual blocks with options of `conv_norm`; `stages` are their filters.

    All except the first halve the feature map. A block adds two 3x3 convolutions to its input, which is projected if
    its shape differs (He et al. 2016, sec. 3.3).
    """
    from keras import layers

    for stage, filters in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            shortcut = x
            if stride != 1 or x.shape[-1] != filters:
                shortcut = conv_norm(
                    x, filters, 1, strides=stride, name=f"{name}_short", relu=False, **options
                )
            x = conv_norm(x, filters, 3, strides=stride, name=f"{name}_a", **options)
            x = conv_norm(x, filters, 3, name=f"{name}_b", relu=False, **options)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, shortcut]))
    return x


def local_response(x: Any, *, name: str) -> Any:
    """Normalise by the squares of five neighbouring channels (Krizhevsky et al. 2012, sec. 3.3), without weights.

    The constants are those of the published Caffe models: k = 1, alpha = 1e-4 over the mean of five, beta = 0.75.
    """
    from keras import layers, ops

    class LocalResponse(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            height, width, channels = x.shape[1:]
            # channels become the second axis of an image of one channel, so that pooling runs along them
            rows = ops.reshape(x * x, (-1, height * width, channels, 1))
            # zeros beyond the ends are part of the mean, as in Caffe
            rows = ops.pad(rows, ((0, 0), (0, 0), (2, 2), (0, 0)))
            mean = ops.average_pool(rows, (1, 5), strides=1)
            base = ops.reshape(mean, (-1, height, width, channels)) * 1e-4 + 1.0
            return x * ops.power(base, -0.75)

    return LocalResponse(name=name)(x)


def add_top(
    features: Any,
    images: Any,
    *,
    classes: int,
    top: str = "average",
    dropout: float = 0.0,
    l2: float = 0.0,
    name: str,
) -> Any:
    """Return a model from images to probabilities, with a top on the last feature map of a network.

    Parameters
    ----------
    features, images : tensor
        The feature map, and the input that it was computed from.
    classes : int
    top : {"average", "conv"}
        Global average; or convolution, max pooling, ReLU and flattening, in that order, as in the published system
        ``inbreast-inception``.
    dropout : float
        Dropout before the softmax.
    l2 : float
        L2 penalty of the kernels of the top, including the softmax layer.
    name : str
    """
    from keras import layers

    if top == "average":
        x = layers.GlobalAveragePooling2D(name="average")(features)
    else:
        x = conv(features, _TOP_FILTERS, 3, l2=l2, name="top_conv")
        x = layers.MaxPooling2D(2, padding="same", name="top_pool")(x)
        x = layers.Flatten(name="top_flatten")(layers.ReLU(name="top_relu")(x))
    return finish(x, images, classes=classes, dropout=dropout, l2=l2, name=name)


def finish(
    x: Any, images: Any, *, classes: int, dropout: float = 0.0, l2: float = 0.0, name: str
) -> Any:
    """Return a model that ends in a softmax over the classes, which is float32 in every precision policy."""
    import keras
    from keras import layers

    if dropout:
        x = layers.Dropout(dropout, seed=1, name="dropout")(x)
    last = layers.Dense(
        classes,
        activation="softmax",
        dtype="float32",
        kernel_regularizer=penalty(l2),
        name="classes",
    )
    return keras.Model(images, last(x), name=name)
