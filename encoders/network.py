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

from ..core import InputError, one_of


@contextlib.contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Set Keras's dtype policy within a block, and restore the previous one afterwards."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def canonical_names(model: Any) -> dict[str, str]:
    """Return the layer names of a fresh process: canonical name to present name.

    Keras numbers automatic names per process (``conv2d_94`` in a second InceptionV3). Canonical names are numbered from
    the start of the model.
    """
    from keras.src.utils.naming import to_snake_case

    automatic: dict[str, list[tuple[int, str]]] = {}
    names = {}
    for layer in model.layers:
        prefix = to_snake_case(type(layer).__name__)
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
        There is no such layer, and the message names a similar one and the last ones; or a layer has no feature map.
    """
    names = canonical_names(model)
    map_layers = []
    for name in layers:
        if name not in names:
            hint = one_of(name, reversed(names), most=5)
            raise InputError("{encoders} {}: no layer {}; {}", encoder, name, hint)
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


def build_resnet50_keras213(*, weights: str | None = None, include_top: bool = False) -> Any:
    """Build the network from today's ResNet-50, with its layer names, so that the same weights files fit.

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
    from keras import applications, layers, models

    def changed(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name == "conv1_conv":
            config["padding"] = "same"
        if isinstance(layer, layers.BatchNormalization):
            config["epsilon"] = _EPSILON
        return type(layer).from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, layers.ZeroPadding2D):
            return inputs[0]
        x = layer(*inputs, **options)
        if layer.name == "conv5_block3_out":
            x = layers.AveragePooling2D(7, name="avg_pool7")(x)
        return x

    published = applications.ResNet50(weights=weights, include_top=include_top)
    model = models.clone_model(published, clone_function=changed, call_function=call)
    if weights is not None:
        model.set_weights(published.get_weights())
    return model
