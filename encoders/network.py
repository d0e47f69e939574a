"""Find layers of a Keras network, by names that do not depend on the process."""

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
    names: dict[str, str] = {}
    for layer in model.layers:
        prefix = _snake(type(layer).__name__)
        match = re.fullmatch(rf"{re.escape(prefix)}(?:_(\d+))?", layer.name)
        if match is None:
            names[layer.name] = layer.name
        else:
            automatic.setdefault(prefix, []).append((int(match[1] or 0), layer.name))
    for prefix, numbered in automatic.items():
        for rank, (_, name) in enumerate(sorted(numbered)):
            names[f"{prefix}_{rank}" if rank else prefix] = name
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
    return next(canonical for canonical, present in canonical_names(model).items() if present == last)


def find_layers(model: Any, layers: Sequence[str], *, encoder: str) -> list[Any]:
    """Return the layers of these canonical names, each with an output of shape (batch, rows, columns, d).

    Raises
    ------
    InputError
        There is no such layer, and the message lists similar names; or a layer has no feature map.
    """
    names = canonical_names(model)
    chosen = []
    for name in layers:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=5) or sorted(names)[-5:]
            raise InputError("{encoders} {}: no layer {}; close names are {}", encoder, name, ", ".join(close))
        layer = model.get_layer(names[name])
        if len(layer.output.shape) != 4:
            raise InputError(
                "{encoders} {}: layer {} gives no feature map; choose a convolution or block", encoder, name
            )
        chosen.append(layer)
    return chosen
