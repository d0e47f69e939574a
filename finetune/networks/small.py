"""Small networks that are trained from scratch: for patches of 50 pixels, and the baseline of ``ddsm-masses``.

The sizes of those for patches are bchisto's choice. The baseline has three blocks and three fully connected layers.
"""

from __future__ import annotations

from typing import Any

from .layers import NORM_MOMENTUM, NetworkSpec, conv, conv_norm, finish, norm, penalty, rescaled_input, residual_stages


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
)
