"""Layers and variables of a Keras network; the ResNet-50 of Keras 2.1.3.

That network uses the weights of today's ResNet-50, but computes other features:

- The first convolution is padded as ``same``, which is one pixel less on the left if the side is even.
- The maximum pooling is not padded.
- Batch normalisation has an epsilon of 1e-3 instead of 1.001e-5.
- The last feature map is first averaged over 7x7 cells at a stride of 7.

For crops of 400 pixels the last map has 13x13 cells, and that average covers only the top-left 7x7. For crops of 650
pixels it has 21x21 cells, and all are covered.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..core import InputError


@contextlib.contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Set Keras's dtype policy within a block, and restore the previous one afterwards."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def canonical_names(model: Any) -> dict[str, str]:
    """Return the layer names of a fresh process: canonical name to present name.

    Keras numbers automatic names per process (``conv2d_94`` in a second InceptionV3). Canonical names are numbered from
    the start of the model.
    """
    automatic: dict[str, list[tuple[int, str]]] = {}
    names = {}
    for layer in model.layers:
        prefix = _snake(type(layer).__name__)
        match = re.fullmatch(rf"{re.escape(prefix)}(?:_(\d+))?", layer.name)
        if match is None:
            names[layer.name] = layer.name
        else:
            automatic.setdefault(prefix, []).append((int(match[1] or 0), layer.name))
    for prefix, numbered in automatic.items():
        for rank, (_, name) in enumerate(sorted(numbered)):
            canonical = f"{prefix}_{rank}" if rank > 0 else prefix
            names[canonical] = name
    return names


def _snake(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def variables_of(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (layer, variable, tensor) of all weights in layer order, with canonical names of layers."""
    present = {name: canonical for canonical, name in canonical_names(model).items()}
    for layer in model.layers:
        for variable in layer.weights:
            yield present[layer.name], variable.name, variable


def default_layer(model: Any) -> str:
    """Return the canonical name of the layer whose output is the model's output."""
    last = model.layers[-1].name
    return next(
        canonical for canonical, present in canonical_names(model).items() if present == last
    )


def find_layers(model: Any, layers: Sequence[str], *, encoder: str) -> list[Any]:
    """Return the layers of these canonical names, each with an output of shape (batch, rows, columns, d).

    Raises
    ------
    InputError
        There is no such layer, and the message lists similar names; or a layer has no feature map.
    """
    names = canonical_names(model)
    map_layers = []
    for name in layers:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=5) or sorted(names)[-5:]
            raise InputError(
                "{encoders} {}: no layer {}; close names are {}", encoder, name, ", ".join(close)
            )
        layer = model.get_layer(names[name])
        if len(layer.output.shape) != 4:
            raise InputError(
                "{encoders} {}: layer {} gives no feature map; choose a convolution or block",
                encoder,
                name,
            )
        map_layers.append(layer)
    return map_layers


RESNET50_KERAS213 = "resnet50-keras213"
"""Name of the encoder."""

LEAST_KERAS213 = 197
"""Smallest side of a crop in pixels, because the last map needs 7x7 cells. Keras 2.1.3 had the same limit."""

_EPSILON = 1e-3
_STACKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Filters, blocks and stride of each stack of blocks (He et al. 2016, table 1)."""


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network, with the layer names of today's ResNet-50, so that the same weights files fit.

    Parameters
    ----------
    weights : {None, "imagenet"}
    include_top : bool
        Whether to add the classifier, for weights files that contain it.

    Returns
    -------
    keras.Model
        A model from preprocessed images, channels last, to the 7x7 averages of the last map.
    """
    from keras import Model, layers

    image = layers.Input((None, None, 3))
    x = layers.Conv2D(64, 7, strides=2, padding="same", name="conv1_conv")(image)
    x = layers.Activation("relu", name="conv1_relu")(_normalised(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stack, (filters, blocks, stride) in enumerate(_STACKS, start=2):
        for block in range(1, blocks + 1):
            x = _block(
                x,
                filters,
                stride=stride if block == 1 else 1,
                first=block == 1,
                name=f"conv{stack}_block{block}",
            )
    x = layers.AveragePooling2D(7, name="avg_pool7")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = Model(image, x, name="resnet50_keras213")
    if weights is not None:
        from keras import applications

        published = applications.ResNet50(weights=weights, include_top=include_top)
        for layer in published.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _normalised(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _block(x: Any, filters: int, *, stride: int, first: bool, name: str) -> Any:
    """Add a bottleneck block. The first one of a stack changes size and features, so its shortcut is a convolution."""
    from keras import layers

    shortcut = x
    if first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalised(shortcut, f"{name}_0_bn")
    for number, (features, size, step) in enumerate(
        ((filters, 1, stride), (filters, 3, 1), (4 * filters, 1, 1)), start=1
    ):
        x = layers.Conv2D(
            features, size, strides=step, padding="same", name=f"{name}_{number}_conv"
        )(x)
        x = _normalised(x, f"{name}_{number}_bn")
        if number < 3:
            x = layers.Activation("relu", name=f"{name}_{number}_relu")(x)
    return layers.Activation("relu", name=f"{name}_out")(
        layers.Add(name=f"{name}_add")([shortcut, x])
    )
