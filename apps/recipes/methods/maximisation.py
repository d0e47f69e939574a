"""Activation maximisation: pictures that maximise the score of a class, or the activation of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...explain import ExplainSettings, Floats, Graph, Method, UnitPictures, compiled_gradient

_UNITS = 20
"""Largest number of channels of a layer that are drawn."""

_STEPS, _RATE, _JITTER, _BLUR_EVERY, _BLUR = 64, 12.0, 4, 4, 0.8
"""Number of steps, their length in grey levels, jitter in pixels, and a blur of 0.8 pixels every fourth step. The
values are bchisto's choice, similar to the source."""


def excite(graph: Graph, *, tensor: int, units: list[int], seed: int = 0) -> Floats:
    """Return pictures that maximise units or classes: float32 of shape (units, size, size, 3) in 0..255.

    The method is gradient ascent from grey noise, with jitter and blur.

    Parameters
    ----------
    graph : Graph
    tensor : int
        A feature map, or `Graph.logits` for classes.
    units : list of int
    seed : int

    References
    ----------
    Erhan et al. 2009, "Visualizing higher-layer features of a deep network"; Yosinski et al. 2015, "Understanding
    neural networks through deep visualization" (regularisation).
    """
    import cv2
    from keras import ops

    _, height, width, _ = graph.shapes[graph.entry]
    rng = np.random.default_rng(seed)
    pictures = (128 + rng.normal(0, 8, (len(units), height, width, 3))).astype(np.float32)
    chosen = np.zeros((len(units), graph.shapes[tensor][-1]), np.float32)
    chosen[range(len(units)), units] = 1.0

    def objective(x: Any) -> Any:
        values = graph.run(x)
        if tensor == graph.logits:
            return ops.sum(graph.scores(values) * chosen)
        return ops.sum(ops.mean(ops.cast(values[tensor], "float32"), axis=(1, 2)) * chosen)

    gradient = compiled_gradient(objective)
    for step in range(_STEPS):
        shift = tuple(int(pixels) for pixels in rng.integers(-_JITTER, _JITTER + 1, 2))
        slope = gradient(np.roll(pictures, shift, axis=(1, 2)))
        slope = np.roll(slope, (-shift[0], -shift[1]), axis=(1, 2))
        strength = np.sqrt((slope**2).mean(axis=(1, 2, 3), keepdims=True))
        pictures = np.clip(pictures + _RATE * slope / (strength + 1e-12), 0, 255)
        if step % _BLUR_EVERY == _BLUR_EVERY - 1:
            pictures = np.stack([cv2.GaussianBlur(picture, (0, 0), _BLUR) for picture in pictures])
    return pictures


def maximise(
    graph: Graph, classes: Sequence[str], target: int | None, tensor: int | None, settings: ExplainSettings
) -> UnitPictures:
    """Return pictures that maximise each class (or only `target`), or the first units of a layer."""
    if tensor is None:
        units = list(range(len(classes))) if target is None else [target]
        names = [classes[unit] for unit in units]
        pictures = excite(graph, tensor=graph.logits, units=units)
    else:
        units = list(range(min(_UNITS, graph.shapes[tensor][-1])))
        names = [f"{settings.layer} {unit}" for unit in units]
        pictures = excite(graph, tensor=tensor, units=units)
    tiles = [(name, picture.round().astype(np.uint8)) for name, picture in zip(names, pictures, strict=True)]
    return UnitPictures(tuple(tiles), {"excited": pictures})


MAXIMISATION = Method(
    "maximisation",
    "",
    "Images made to excite a class or a unit of the first model most; they are not tissue, and other settings "
    "give other ones.",
    layered=True,
    of_model=maximise,
)
