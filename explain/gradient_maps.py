"""Gradients of networks, and the maps made of them alone: saliency, SmoothGrad, integrated gradients, Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Floats, Graph

_NOISY, _NOISE = 25, 0.15
"""Noisy copies, and their noise as a share of the range of pixels: Smilkov et al. 2017, sec. 3 and fig. 3."""

_PATH, _LONGEST = 32, 288
"""Steps from the baseline to the image: the least, and the most, at which it is left as it is (ours; Sundararajan et
al. 2017 name 20 to 300)."""

_COMPLETE = 0.01
"""Share of the difference of scores that a sum may miss before there are more steps (ours)."""

_LEAST_DIFFERENCE = 0.1
"""Difference of scores below which that share is of this (ours): of next to nothing a sum may miss more."""


def input_gradient(graph: Graph, images: Floats, target: int) -> Floats:
    """Return the gradient of the score of a class with respect to each pixel, float32 of the shape of `images`."""
    from keras import ops

    if target not in graph.slopes:
        graph.slopes[target] = compiled_gradient(lambda x: ops.sum(graph.scores(graph.run(x))[:, target]))
    return graph.slopes[target](images)


def gradient(graph: Graph, images: Floats, target: int) -> Floats:
    """Return the largest absolute gradient over the colours of each pixel, shape (n, size, size).

    References
    ----------
    Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks", sec. 3.1.
    """
    return np.asarray(np.abs(input_gradient(graph, images, target)).max(axis=-1))


def smoothgrad(graph: Graph, images: Floats, target: int) -> Floats:
    """Return the mean of `gradient` over noisy copies.

    References
    ----------
    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".
    """
    rng = np.random.default_rng(0)
    total = np.zeros(images.shape[:3], np.float32)
    for _ in range(_NOISY):
        total += gradient(graph, images + rng.normal(0, _NOISE * 255, images.shape).astype(np.float32), target)
    return np.asarray(total / _NOISY, np.float32)


def integrated(graph: Graph, images: Floats, target: int) -> Floats:
    """Return integrated gradients from the mean colour of each image; they sum to the score less that of the baseline.

    There are three times as many steps until all sums are within 1 %, and at most 288.

    References
    ----------
    Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks". The baseline is ours: black, which is
    often taken, is what no stained section shows.
    """
    baseline = mean_colour(images)
    wanted = path_difference(graph, images, target)
    total, steps = np.zeros_like(images), _PATH
    while True:
        for step in range(steps):
            if steps == _PATH or step % 3 != 1:  # the middle one of three was taken before
                share = np.float32((step + 0.5) / steps)
                total += input_gradient(graph, baseline + share * (images - baseline), target)
        found = np.asarray(((images - baseline) * total / steps).sum(axis=-1))
        missed = np.abs(found.sum(axis=(1, 2)) - wanted)
        if 3 * steps > _LONGEST or (missed <= _COMPLETE * np.maximum(np.abs(wanted), _LEAST_DIFFERENCE)).all():
            return found
        steps *= 3


def mean_colour(images: Floats) -> Floats:
    """Return pictures of the mean colour of each image, of the shape of `images`."""
    return np.asarray(np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape), np.float32)


def path_difference(graph: Graph, images: Floats, target: int) -> Floats:
    """Return the score of a class less that of the mean colour, shape (n,): what integrated gradients sum to."""
    ends = [to_numpy(graph.scores(graph.run(one)))[:, target] for one in (images, mean_colour(images))]
    return np.asarray(ends[0] - ends[1])


def activation_and_gradient(graph: Graph, images: Floats, target: int, tensor: int) -> tuple[Floats, Floats]:
    """Return a feature map and the gradient of the score with respect to it, float32 of shape (n, h, w, channels)."""
    from keras import ops

    active = to_numpy(graph.run(images)[tensor])

    def score(added: Any) -> Any:
        return ops.sum(graph.scores(graph.run(images, add={tensor: added}))[:, target])

    (found,) = gradients(score, [np.zeros_like(active)])[1]
    return active, found


def gradcam(graph: Graph, images: Floats, target: int, tensor: int) -> Floats:
    """Return Grad-CAM at the size of the feature map, shape (n, h, w).

    References
    ----------
    Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization", eq. 1, 2.
    """
    active, found = activation_and_gradient(graph, images, target, tensor)
    weights = found.mean(axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum((weights * active).sum(axis=-1), 0))


# Gradients on Keras's backend: the one place where TensorFlow, JAX and PyTorch differ.


def gradients(function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[float, list[Floats]]:
    """Return the value of a function of tensors and its gradient with respect to each of them.

    Parameters
    ----------
    function : callable
        Written in ``keras.ops``; returns a scalar.
    arrays : sequence of array or tensor
        float32.

    Returns
    -------
    float
    list of ndarray of float32
        Zero where the value does not depend on an argument.
    """
    import keras

    tensors = [keras.ops.convert_to_tensor(array, dtype="float32") for array in arrays]
    value, found = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()](function, tensors)
    return float(to_numpy(value)), [to_numpy(one) for one in found]


def compiled_gradient(function: Callable[[Any], Any]) -> Callable[[Any], Floats]:
    """Return the gradient of a function of one tensor, compiled for each shape that it meets; for many calls.

    Parameters
    ----------
    function : callable
        As in `gradients`.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        inner: Any = tf.function(lambda x: _tensorflow(function, [x])[1][0])
    elif backend == "jax":
        import jax

        inner = jax.jit(jax.grad(function))
    else:

        def inner(x: Any) -> Any:
            return _torch(function, [x])[1][0]

    def run(array: Any) -> Floats:
        return to_numpy(inner(keras.ops.convert_to_tensor(array, dtype="float32")))

    return run


def pull_back(function: Callable[..., Any], arrays: Sequence[Any], signal: Any) -> list[Floats]:
    """Return what a signal at the output of a function becomes at its arguments: its transposed Jacobian times it."""
    from keras import ops

    fixed = ops.convert_to_tensor(signal, dtype="float32")
    return gradients(lambda *tensors: ops.sum(ops.cast(function(*tensors), "float32") * fixed), arrays)[1]


def to_numpy(tensor: Any) -> Floats:
    """Return a tensor as float32."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), dtype=np.float32)


def _tensorflow(function: Callable[..., Any], tensors: list[Any]) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return value, tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _jax(function: Callable[..., Any], tensors: list[Any]) -> tuple[Any, list[Any]]:
    import jax

    value, found = jax.value_and_grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    return value, list(found)


def _torch(function: Callable[..., Any], tensors: list[Any]) -> tuple[Any, list[Any]]:
    import torch

    leaves = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
    value = function(*leaves)
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    each = zip(found, leaves, strict=True)
    return value.detach(), [torch.zeros_like(leaf) if one is None else one for one, leaf in each]
