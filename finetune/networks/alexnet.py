"""AlexNet with its two groups of channels."""

from __future__ import annotations

from typing import Any

from .layers import finish, local_response, rescaled_input
from .spec import CaffeLayers, NetworkSpec


def _grouped(x: Any, filters: int, kernel: int, *, penalty: Any, name: str) -> Any:
    """Convolve two halves of the channels apart, as the two graphics cards of the paper did."""
    from keras import layers

    half = x.shape[-1] // 2
    parts = [
        layers.Conv2D(
            filters // 2, kernel, padding="same", activation="relu", kernel_regularizer=penalty, name=f"{name}_{part}"
        )(x[..., start : start + half])
        for part, start in (("a", 0), ("b", half))
    ]
    return layers.Concatenate(name=name)(parts)


def build(*, classes: int, size: int, dropout: float = 0.5, l2: float = 0.0, convention: str = "signed") -> Any:
    """Build the network.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, sec. 3.5: 60 million parameters with 1,000 classes.
    """
    from keras import layers, regularizers

    penalty = regularizers.L2(l2) if l2 else None
    images, x = rescaled_input(size, convention)
    x = layers.Conv2D(96, 11, strides=4, activation="relu", kernel_regularizer=penalty, name="conv1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(local_response(x, name="norm1"))
    x = _grouped(x, 256, 5, penalty=penalty, name="conv2")
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(local_response(x, name="norm2"))
    x = layers.Conv2D(384, 3, padding="same", activation="relu", kernel_regularizer=penalty, name="conv3")(x)
    x = _grouped(x, 384, 3, penalty=penalty, name="conv4")
    x = _grouped(x, 256, 3, penalty=penalty, name="conv5")
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D(3, strides=2, name="pool5")(x))
    for number in (6, 7):
        x = layers.Dense(4096, activation="relu", kernel_regularizer=penalty, name=f"fc{number}")(x)
        x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="alexnet")


_CAFFE = CaffeLayers(
    {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")} | {"classes": "fc8"},
    flattened={"fc6": 256},
)
"""Of the published model bvlc_alexnet."""

SPECS = (
    NetworkSpec(
        "alexnet",
        build,
        227,
        caffe=_CAFFE,
        source="Krizhevsky et al. 2012; Adam 1e-3 of seed ddsm-masses, sec. 4.2",
    ),
)
