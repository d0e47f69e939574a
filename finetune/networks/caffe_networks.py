"""AlexNet, with grouped convolutions as published, and GoogLeNet without its auxiliary classifiers."""

from __future__ import annotations

from typing import Any

from .layers import CaffeLayers, NetworkSpec, conv, finish, local_response, penalty, rescaled_input

_MODULES = {
    # filters: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection. Szegedy et al. 2015, Table 1.
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _grouped(x: Any, filters: int, kernel: int, *, l2: float, name: str) -> Any:
    """Convolve the two halves of the channels separately, as the two GPUs of the paper did."""
    from keras import layers

    half = x.shape[-1] // 2
    parts = [
        conv(x[..., start : start + half], filters // 2, kernel, activation="relu", l2=l2, name=f"{name}_{part}")
        for part, start in (("a", 0), ("b", half))
    ]
    return layers.Concatenate(name=name)(parts)


def alexnet(*, classes: int, size: int, dropout: float = 0.5, l2: float = 0.0, convention: str = "signed") -> Any:
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


_ALEXNET = CaffeLayers(
    {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")} | {"classes": "fc8"},
    flattened={"fc6": 256},
)
"""Layers of the published Caffe model bvlc_alexnet."""


def googlenet(*, classes: int, size: int, dropout: float = 0.2, l2: float = 0.0, convention: str = "signed") -> Any:
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

    images, x = rescaled_input(size, convention)
    # three pixels on every side, as in Caffe; "same" padding of Keras is two and three
    x = layers.ZeroPadding2D(3, name="pad1")(x)
    x = conv_relu(x, 64, 7, "conv1", strides=2, padding="valid")
    x = local_response(pool(x, "pool1"), name="norm1")
    x = local_response(conv_relu(conv_relu(x, 64, 1, "conv2_reduce"), 192, 3, "conv2"), name="norm2")
    x = pool(x, "pool2")
    for name, (width1, reduce3, width3, reduce5, width5, project) in _MODULES.items():
        inside = f"inception_{name}"
        pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{inside}_pool")(x)
        branches = [
            conv_relu(x, width1, 1, f"{inside}_1x1"),
            conv_relu(conv_relu(x, reduce3, 1, f"{inside}_3x3_reduce"), width3, 3, f"{inside}_3x3"),
            conv_relu(conv_relu(x, reduce5, 1, f"{inside}_5x5_reduce"), width5, 5, f"{inside}_5x5"),
            conv_relu(pooled, project, 1, f"{inside}_project"),
        ]
        x = layers.Concatenate(name=inside)(branches)
        if name in ("3b", "4e"):
            x = pool(x, f"pool{name[0]}")
    x = layers.Dropout(dropout, seed=1, name="dropout")(layers.GlobalAveragePooling2D(name="average")(x))
    return finish(x, images, classes=classes, name="googlenet")


_BRANCHES = {
    "1x1": "1x1", "3x3_reduce": "3x3_reduce", "3x3": "3x3", "5x5_reduce": "5x5_reduce", "5x5": "5x5",
    "project": "pool_proj",
}  # fmt: skip

_GOOGLENET = CaffeLayers(
    {"conv1": "conv1/7x7_s2", "conv2_reduce": "conv2/3x3_reduce", "conv2": "conv2/3x3"}
    | {f"inception_{m}_{ours}": f"inception_{m}/{theirs}" for m in _MODULES for ours, theirs in _BRANCHES.items()}
    | {"classes": "loss3/classifier"}
)
"""Layers of the published Caffe model bvlc_googlenet."""


SPECS = (
    NetworkSpec(
        "alexnet", alexnet, 227, caffe=_ALEXNET,
        source="Krizhevsky et al. 2012; Adam 1e-3 of seed ddsm-masses, sec. 4.2",
    ),
    NetworkSpec(
        "googlenet", googlenet, 224, optimizer="sgd", learning_rate=1e-2, caffe=_GOOGLENET,
        source="Szegedy et al. 2015; seed ddsm-masses, sec. 4.2",
    ),
)  # fmt: skip
