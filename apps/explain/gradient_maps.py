"""Common methods to explain networks: saliency, Grad-CAM, occlusion and feature maps, on every backend of Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from ...finetune import window_starts
from .explanation import Picture, UnitPictures
from .graph import Floats, Graph

Function = Callable[..., Any]
"""A function of tensors."""

_SHOWN = 20
"""Number of channels of a layer that are shown."""

_COVERS = 8
"""Number of covering patches along a side if they did not overlap."""


def input_gradient(graph: Graph, images: Floats, target: int, *, raw: bool = False) -> Floats:
    """Return the gradient of the score of a class with respect to each pixel, float32 of the shape of `images`.

    With `raw`, the score is the logit of the class, without subtracting the mean over the classes.
    """
    from keras import ops

    if (target, raw) not in graph.slopes:
        graph.slopes[target, raw] = compiled_gradient(
            lambda x: ops.sum(graph.scores(graph.run(x), raw=raw)[:, target])
        )
    return graph.slopes[target, raw](images)


def gradient(graph: Graph, images: Floats, target: int, tensor: int | None = None) -> Floats:
    """Return the largest absolute gradient over the colour channels of each pixel, shape (n, size, size).

    References
    ----------
    Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks", sec. 3.1.
    """
    return np.asarray(np.abs(input_gradient(graph, images, target)).max(axis=-1))


def mean_colour(images: Floats) -> Floats:
    """Return images of uniform colour, the mean colour of each image, in the shape of `images`."""
    return np.asarray(
        np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape), np.float32
    )


def activation_and_gradient(
    graph: Graph, images: Floats, target: int, tensor: int
) -> tuple[Floats, Floats]:
    """Return a feature map and the gradient of the score with respect to it, float32 of shape (n, h, w, channels)."""
    from keras import ops

    active = to_numpy(graph.run(images)[tensor])

    def score(added: Any) -> Any:
        return ops.sum(graph.scores(graph.run(images, add={tensor: added}))[:, target])

    return active, gradients(score, [np.zeros_like(active)])[0]


def gradcam(graph: Graph, images: Floats, target: int, tensor: int) -> Floats:
    """Return the Grad-CAM of a class at the size of the feature map, shape (n, h, w).

    References
    ----------
    Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization", eq. 1, 2.
    """
    active, slope = activation_and_gradient(graph, images, target, tensor)
    weights = slope.mean(axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum((weights * active).sum(axis=-1), 0))


def occlusion(graph: Graph, images: Floats, target: int, tensor: int | None = None) -> Floats:
    """Return how far the probability of a class falls if a patch of the mean colour covers each pixel.

    The result has the shape (n, size, size). Patches are an eighth of the side and overlap by half. A pixel gets the
    mean over the patches that cover it.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", sec. 4.2.
    """
    height, width = images.shape[1:3]
    total = np.zeros(images.shape[:3])
    times = np.zeros_like(total)
    side = max(2, height // _COVERS)
    before = np.asarray(graph.model.predict_on_batch(images))[:, target]
    mean = images.mean(axis=(1, 2), keepdims=True)
    tops = window_starts(height, side, side // 2)
    for top, left in product(tops, window_starts(width, side, side // 2)):
        window = np.s_[:, top : top + side, left : left + side]
        covered = images.copy()
        covered[window] = mean
        fall = before - np.asarray(graph.model.predict_on_batch(covered))[:, target]
        total[window] += fall[:, np.newaxis, np.newaxis]
        times[window] += 1
    return np.asarray(total / times, np.float32)


def feature_maps(graph: Graph, images: Floats, target: int, tensor: int) -> UnitPictures:
    """Return pictures of the feature maps of the first image, those with the highest mean first.

    Before them come the image and a grey scale, which all maps share. Black is 0. If there are negative values, the
    scale is symmetric and grey is 0. The array ``activations`` holds all channels.
    """
    active = to_numpy(graph.run(images[:1])[tensor])[0]
    order = np.argsort(-active.mean(axis=(0, 1)), kind="stable")[:_SHOWN].tolist()
    high = float(np.abs(active).max()) or 1.0
    low = 0.0
    middle = ""
    if active.min() < 0:
        low = -high
        middle = ", grey 0"

    def grey(values: Floats) -> Picture:
        levels = np.asarray(255 * (values - low) / (high - low)).round().astype(np.uint8)
        return np.repeat(levels[..., np.newaxis], 3, axis=2)

    ramp = np.linspace(low, high, 64, dtype=np.float32)[np.newaxis].repeat(16, axis=0)
    tiles = [
        ("as the network sees it", images[0].round().astype(np.uint8)),
        (f"black {low:.3g}{middle}, white {high:.3g}", grey(ramp)),
    ]
    tiles += [
        (f"channel {number} (mean {active[..., number].mean():.3g})", grey(active[..., number]))
        for number in order
    ]
    return UnitPictures(tuple(tiles), {"activations": active})


# Gradients: only from here on the code differs between TensorFlow, JAX and PyTorch.


def gradients(function: Function, arrays: Sequence[Any]) -> list[Floats]:
    """Return the gradient of a function of tensors with respect to each of them.

    Parameters
    ----------
    function : callable
        Uses only ``keras.ops``, and returns a scalar.
    arrays : sequence of array or tensor
        float32.

    Returns
    -------
    list of ndarray of float32
        Zero if the value does not depend on an argument.
    """
    from keras import ops

    tensors = [ops.convert_to_tensor(array, dtype="float32") for array in arrays]
    return [to_numpy(slope) for slope in _slopes(function, tensors)]


def compiled_gradient(function: Function) -> Callable[[Any], Floats]:
    """Return the gradient of a function of one tensor as a function, compiled once per input shape for repeated calls.

    Parameters
    ----------
    function : callable
        As in `gradients`.
    """
    import keras

    def slope(tensor: Any) -> Any:
        return _slopes(function, [tensor])[0]

    compiled = slope
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(slope)
    elif backend == "jax":
        import jax

        compiled = jax.jit(slope)
    return lambda array: to_numpy(compiled(keras.ops.convert_to_tensor(array, dtype="float32")))


def pull_back(function: Function, arrays: Sequence[Any], signal: Any) -> list[Floats]:
    """Propagate a signal from the output of a function back to its arguments: transposed Jacobian times signal."""
    from keras import ops

    constant = ops.convert_to_tensor(signal, dtype="float32")
    return gradients(
        lambda *tensors: ops.sum(ops.cast(function(*tensors), "float32") * constant), arrays
    )


def to_numpy(tensor: Any) -> Floats:
    """Return a tensor as a NumPy array of float32."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), dtype=np.float32)


def _slopes(function: Function, tensors: list[Any]) -> Any:
    """Return the gradients as tensors of Keras's backend."""
    import keras

    by_backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    return by_backend[keras.backend.backend()](function, tensors)


def _tensorflow(function: Function, tensors: list[Any]) -> Any:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _jax(function: Function, tensors: list[Any]) -> Any:
    import jax

    return jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors)


def _torch(function: Function, tensors: list[Any]) -> Any:
    import torch

    leaves = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
    slopes = torch.autograd.grad(function(*leaves), leaves, allow_unused=True)
    return [
        torch.zeros_like(leaf) if slope is None else slope
        for slope, leaf in zip(slopes, leaves, strict=True)
    ]
