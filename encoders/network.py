"""Building a network up to the layers asked for, with layer names that do not depend on the process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..core import InputError


@contextlib.contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Build layers under a dtype policy and restore the one that was set."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def canonical_names(model: Any) -> dict[str, str]:
    """Return the names that the layers have in a fresh process: canonical name to present name.

    Keras numbers automatic names per process (``conv2d_94`` in a second InceptionV3); here they are counted
    from the start of the model again.
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
    """Yield (layer, variable, tensor) of all weights in layer order, under canonical names."""
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
        No such layer, or one without a feature map; the message lists close names.
    """
    names = canonical_names(model)
    chosen = []
    for wanted in layers:
        if wanted not in names:
            import difflib

            close = difflib.get_close_matches(wanted, names, n=5) or sorted(names)[-5:]
            raise InputError("{encoders} {}: no layer {}; close names are {}", encoder, wanted, ", ".join(close))
        layer = model.get_layer(names[wanted])
        if len(layer.output.shape) != 4:
            raise InputError(
                "{encoders} {}: layer {} gives no feature map; choose a convolution or block", encoder, wanted
            )
        chosen.append(layer)
    return chosen
