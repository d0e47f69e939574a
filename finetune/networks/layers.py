"""Parts that several networks are built of."""

from __future__ import annotations

from typing import Any

MOMENTUM = 0.9
"""Of the moving statistics of batch normalisation (ours): Keras's 0.99 needs hundreds of steps, more than a few hundred
images give in the first epochs."""


_CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Mean blue, green and red of ImageNet, which the published Caffe models subtract."""


def rescaled_input(size: int, convention: str = "signed") -> tuple[Any, Any]:
    """Return an input of RGB in 0..255, and the tensor that a network of ours starts from.

    That is scaled to -1..1, or for weights of a published Caffe model in the order BGR and less the mean.
    """
    from keras import Input, layers

    images = Input((size, size, 3), name="image")
    if convention == "caffe":
        offset = [-mean for mean in _CAFFE_MEAN]
        return images, layers.Rescaling(1.0, offset=offset, name="rescale")(images[..., ::-1])
    return images, layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)


def conv_norm_relu(x: Any, filters: int, kernel: int, *, stride: int = 1, l2: float = 0.0, name: str) -> Any:
    """Convolve, normalise the batch, rectify."""
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, kernel_regularizer=penalty, name=name
    )(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x))


def residual_block(x: Any, filters: int, *, stride: int = 1, l2: float = 0.0, name: str) -> Any:
    """Add two 3x3 convolutions to their input, projected where its shape differs. He et al. 2016, sec. 3.3."""
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None
    short = x
    if stride != 1 or x.shape[-1] != filters:
        short = layers.Conv2D(
            filters, 1, strides=stride, use_bias=False, kernel_regularizer=penalty, name=f"{name}_short"
        )(x)
        short = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_short_norm")(short)
    x = conv_norm_relu(x, filters, 3, stride=stride, l2=l2, name=f"{name}_a")
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_regularizer=penalty, name=f"{name}_b")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_b_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, short]))


def local_response(x: Any, *, name: str) -> Any:
    """Normalise by the squares of five neighbouring channels (Krizhevsky et al. 2012, sec. 3.3), without weights.

    The constants are those of the published Caffe models: k = 1, alpha = 1e-4 over the mean of five, beta = 0.75.
    """
    from keras import layers

    squares = layers.Multiply(name=f"{name}_squares")([x, x])
    height, width, channels = x.shape[1:]
    # channels become the second axis of an image of one channel, so that pooling runs along them
    rows = layers.Reshape((height * width, channels, 1), name=f"{name}_rows")(squares)
    # zeros beyond the ends count in the mean, as in Caffe
    rows = layers.ZeroPadding2D((0, 2), name=f"{name}_ends")(rows)
    mean = layers.AveragePooling2D((1, 5), strides=1, name=f"{name}_mean")(rows)
    mean = layers.Reshape((height, width, channels), name=f"{name}_back")(mean)
    base = layers.Rescaling(1e-4, offset=1.0, name=f"{name}_base")(mean)
    return Power(-0.75, name=f"{name}_power")([x, base])


def finish(x: Any, images: Any, *, classes: int, l2: float = 0.0, name: str) -> Any:
    """Return the model that ends in a softmax over classes, in float32 whatever the policy."""
    import keras
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None
    last = layers.Dense(classes, activation="softmax", dtype="float32", kernel_regularizer=penalty, name="classes")
    return keras.Model(images, last(x), name=name)


def Power(exponent: float, *, name: str) -> Any:
    """Return a layer that multiplies its first input by a power of its second."""
    import keras
    from keras import ops

    class _Power(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            x, base = inputs
            return x * ops.power(base, exponent)

        def compute_output_shape(self, shapes: Any) -> Any:
            return shapes[0]

    return _Power(name=name)
