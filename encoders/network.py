"""Layers and variables of a Keras network, and its precision."""

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
        There is no such layer, and the message names the most similar layer and the last layers; or a layer has no
        feature map.
    """
    names = canonical_names(model)
    map_layers = []
    for name in layers:
        if name not in names:
            raise InputError(
                "{encoders} {}: no layer {}; {}",
                encoder,
                name,
                one_of(name, reversed(names), most=5),
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
