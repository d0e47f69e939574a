"""AlexNet, with grouped convolutions as published."""

from __future__ import annotations

from typing import Any

from .layers import CaffeLayers, NetworkSpec, conv, finish, local_response, penalty, rescaled_input


def _grouped(x: Any, filters: int, kernel: int, *, l2: float, name: str) -> Any:
    """Convolve the two halves of the channels separately, as the two GPUs of the paper did."""
    from keras import layers

    half = x.shape[-1] // 2
    parts = [
        conv(x[..., start : start + half], filters // 2, kernel, activation="relu", l2=l2, name=f"{name}_{part}")
        for part, start in (("a", 0), ("b", half))
    ]
    return layers.Concatenate(name=name)(parts)


def build(*, classes: int, size: int, dropout: float = 0.5, l2: float = 0.0, convention: str = "signed") -> Any:
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
        x = layers.Dense(4096, activation="relu", kernel_regularizer=penalty(l2), name=f"fc{number}")(x)
        x = layers.Dropout(dropout, seed=number, name=f"fc{number}_dropout")(x)
    return finish(x, images, classes=classes, name="alexnet")


_CAFFE = CaffeLayers(
    {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")} | {"classes": "fc8"},
    flattened={"fc6": 256},
)
"""Layers of the published Caffe model bvlc_alexnet."""

SPECS = (
    NetworkSpec(
        "alexnet",
        build,
        227,
        caffe=_CAFFE,
        source="Krizhevsky et al. 2012; Adam 1e-3 of seed ddsm-masses, sec. 4.2",
    ),
)
