"""What runs an encoder: Keras on its present backend, or OpenVINO on the exported network.

A compiled network has two functions: crops to descriptors (global averages), and one frame with windows to the
descriptors of those windows (averages over their part of each feature map).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError

__all__ = ["ENGINES", "Compiled", "compile_network"]

ENGINES = ("keras", "openvino")
"""Values of ``--engine``."""

Crops = npt.NDArray[np.uint8]
Windows = npt.NDArray[np.float32]
Preprocess = Callable[[Any], Any]


@dataclass(frozen=True)
class Compiled:
    """The two functions of an encoder.

    Attributes
    ----------
    crops : callable
        uint8 crops (n, height, width, 3) to float32 (n, d).
    windows : callable
        A uint8 frame (1, height, width, 3) and float32 windows (k, 4), as shares top, left, bottom, right of the
        frame, to float32 (k, d).
    """

    crops: Callable[[Crops], Any]
    windows: Callable[[Crops, Windows], Any]


def compile_network(model: Any, preprocess: Preprocess, *, engine: str, precision: str) -> Compiled:
    """Compile a network.

    Parameters
    ----------
    model : keras.Model
        One feature map, or several.
    preprocess : callable
        Of the encoder.
    engine : str
        Of `ENGINES`.
    precision : {"float32", "bfloat16"}
        For OpenVINO; a Keras model has its own.

    Raises
    ------
    DependencyError
        OpenVINO is not installed, or Keras does not run on TensorFlow, from which the network is exported.
    """
    if engine == "openvino":
        return _openvino(model, preprocess, precision)
    import keras

    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()](model, preprocess)


def _prepared(images: Any, preprocess: Preprocess) -> Any:
    from keras import ops

    return preprocess(ops.cast(images, "float32"))


def _maps(outputs: Any) -> list[Any]:
    from keras import ops

    maps = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [ops.cast(m, "float32") for m in maps]


def _pooled(outputs: Any) -> Any:
    """Average each map over all of it, and concatenate."""
    from keras import ops

    return ops.concatenate([ops.mean(m, axis=(1, 2)) for m in _maps(outputs)], axis=-1)


def _pooled_windows(outputs: Any, windows: Any) -> Any:
    """Average each map over each window, cells at its border by the share that lies within, and concatenate."""
    from keras import ops

    found = []
    for m in _maps(outputs):
        _, height, width, depth = ops.shape(m)
        rows = _overlap(windows[:, 0:1], windows[:, 2:3], height)
        columns = _overlap(windows[:, 1:2], windows[:, 3:4], width)
        weights = ops.reshape(rows[:, :, None] * columns[:, None, :], (-1, height * width))
        sums = ops.matmul(weights, ops.reshape(m, (height * width, depth)))
        found.append(sums / ops.sum(weights, axis=1, keepdims=True))
    return ops.concatenate(found, axis=-1)


def _overlap(start: Any, stop: Any, cells: Any) -> Any:
    """Return how much of each of `cells` equal cells of 0..1 lies between start and stop, shape (k, cells)."""
    from keras import ops

    edges = ops.cast(ops.arange(cells), "float32")[None, :]
    count = ops.cast(cells, "float32")
    return ops.maximum(ops.minimum(stop * count, edges + 1.0) - ops.maximum(start * count, edges), 0.0)


def _graphs(model: Any, preprocess: Preprocess) -> tuple[Any, Any]:
    """Return the two functions as TensorFlow graphs."""
    import tensorflow as tf

    images = tf.TensorSpec([None, None, None, 3], tf.uint8)
    frame = tf.TensorSpec([1, None, None, 3], tf.uint8)

    def crops(batch: Any) -> Any:
        return _pooled(model(_prepared(batch, preprocess), training=False))

    def windows(image: Any, places: Any) -> Any:
        return _pooled_windows(model(_prepared(image, preprocess), training=False), places)

    return (
        tf.function(crops, input_signature=[images]),
        tf.function(windows, input_signature=[frame, tf.TensorSpec([None, 4], tf.float32)]),
    )


def _tensorflow(model: Any, preprocess: Preprocess) -> Compiled:
    import tensorflow as tf

    crops, windows = _graphs(model, preprocess)
    return Compiled(
        lambda batch: crops(tf.convert_to_tensor(batch)).numpy(),
        lambda image, places: windows(tf.convert_to_tensor(image), tf.convert_to_tensor(places)).numpy(),
    )


def _jax(model: Any, preprocess: Preprocess) -> Compiled:
    import jax

    trained = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]

    def forward(images: Any) -> Any:
        outputs, _ = model.stateless_call(trained, fixed, _prepared(images, preprocess), training=False)
        return outputs

    return Compiled(
        jax.jit(lambda batch: _pooled(forward(batch))),
        jax.jit(lambda image, places: _pooled_windows(forward(image), places)),
    )


def _torch(model: Any, preprocess: Preprocess) -> Compiled:
    import torch
    from keras import ops

    def forward(images: Crops) -> Any:
        return model(_prepared(ops.convert_to_tensor(images), preprocess), training=False)

    def crops(batch: Crops) -> Any:
        with torch.inference_mode():
            return ops.convert_to_numpy(_pooled(forward(batch)))

    def windows(image: Crops, places: Windows) -> Any:
        with torch.inference_mode():
            return ops.convert_to_numpy(_pooled_windows(forward(image), ops.convert_to_tensor(places)))

    return Compiled(crops, windows)


def _openvino(model: Any, preprocess: Preprocess, precision: str) -> Compiled:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise DependencyError("--engine openvino: exports the network from TensorFlow; set KERAS_BACKEND=tensorflow")
    try:
        import openvino
    except ImportError as error:
        raise DependencyError("--engine openvino: OpenVINO is missing; pip install 'bchisto[openvino]'") from error
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": 1,  # processes, not threads, use the cores
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }
    crops, windows = (openvino.convert_model(graph) for graph in _graphs(model, preprocess))
    compiled: dict[tuple[int, ...], Any] = {}

    def network(graph: Any, image: Crops, extra: tuple[Windows, ...]) -> Any:
        """Compile for this shape, which runs faster than a network of any shape; shapes are few."""
        key = (len(extra), *image.shape, *(array.shape[0] for array in extra))
        if key not in compiled:
            fixed = graph.clone()
            shapes = [list(image.shape), *(list(array.shape) for array in extra)]
            fixed.reshape(dict(zip(fixed.inputs, shapes, strict=True)))
            compiled[key] = core.compile_model(fixed, "CPU", settings)
        return compiled[key]([image, *extra])[0]

    return Compiled(
        lambda batch: network(crops, batch, ()),
        lambda image, places: network(windows, image, (places,)),
    )
