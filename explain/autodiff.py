"""Gradients on Keras's backend: the one place where TensorFlow, JAX and PyTorch differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def gradients(function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[float, list[npt.NDArray[np.float32]]]:
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


def compiled_gradient(function: Callable[[Any], Any]) -> Callable[[Any], npt.NDArray[np.float32]]:
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

    def run(array: Any) -> npt.NDArray[np.float32]:
        return to_numpy(inner(keras.ops.convert_to_tensor(array, dtype="float32")))

    return run


def pull_back(function: Callable[..., Any], arrays: Sequence[Any], signal: Any) -> list[npt.NDArray[np.float32]]:
    """Return what a signal at the output of a function becomes at its arguments: its transposed Jacobian times it."""
    from keras import ops

    fixed = ops.convert_to_tensor(signal, dtype="float32")
    return gradients(lambda *tensors: ops.sum(ops.cast(function(*tensors), "float32") * fixed), arrays)[1]


def to_numpy(tensor: Any) -> npt.NDArray[np.float32]:
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
