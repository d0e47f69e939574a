"""Networks of convolutions as a GPU runs them: without batch normalisation, and in float16 if that is asked for.

Batch normalisation after a convolution is a factor and a shift of its features, so it is folded into the weights.

Convolution, ReLU, pooling, sums and concatenation keep a factor: if the image and all biases are multiplied by it, all
feature maps are. So a power of two brings the features of any such network into the range of float16, which ends at
65,504, and the same power taken from the last maps changes nothing but rounding. The bound of a ReLU6 is multiplied
like a bias.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Content, WeightsError
from ..core.formats import Array
from .engines import compile_tensors

_SHIFTS = ("bias", "beta", "moving_mean")
"""Weights that are multiplied like the image."""

_LARGEST = 2.0**12
"""Largest feature after scaling in the image that decides the factor: a sixteenth of the range of float16."""


def fold(model: Any, *, dtype: str = "float32", scale: float = 1.0) -> Any:
    """Return a network whose batch normalisation is folded into its convolutions.

    Parameters
    ----------
    model : keras.Model
        Network of an encoder of `bchisto.encoders.registry.FOLDED`: it has only such layers, and batch normalisation
        after convolutions. It is not changed.
    dtype : {"float32", "float16"}
        Type of weights and computation. Averages over pixels are always in float32.
    scale : float
        Factor of the feature maps, and of the image, which the caller multiplies.

    Returns
    -------
    keras.Model
        From preprocessed images times `scale` to the feature maps times `scale`. In float16 with TensorFlow, all other
        outputs of layers follow, see `Network.maps`.
    """
    import keras
    from keras import layers

    norms = _norms_by_convolution(model)
    folded_norms = {norm.name for norm in norms.values()}

    def folded_copy(layer: Any) -> Any:
        if layer.name in folded_norms:
            return layer
        config = layer.get_config()
        if not isinstance(layer, layers.InputLayer):
            config["dtype"] = dtype
        if isinstance(layer, layers.AveragePooling2D):
            config["dtype"] = "float32"
        if config.get("max_value") is not None:
            config["max_value"] *= scale
        weights = _weights(layer, norms.get(layer.name))
        if "bias" in weights:
            config["use_bias"] = True
        for name, values in weights.items():
            if name in _SHIFTS:
                values = values * scale
            option = f"{name}_initializer"
            if option not in config:
                option = "depthwise_initializer"
            config[option] = functools.partial(_initial, values)
        return type(layer).from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if layer.name in folded_norms:
            return inputs[0]
        return layer(*inputs, **options)

    folded = keras.models.clone_model(model, clone_function=folded_copy, call_function=call)
    if dtype == "float16" and keras.backend.backend() == "tensorflow":
        # its ReLU and its pooling take NaN for a small number, which hides what float16 could not hold
        every_map = [layer.output for layer in folded.layers]
        return keras.Model(folded.input, [*folded.outputs, *every_map])
    return folded


def float16_scale(model: Any, images: Any) -> float:
    """Return the power of two by which a network has room for features of other images in float16.

    Parameters
    ----------
    model : keras.Model
        See `fold`.
    images : tensor of float32, shape (n, height, width, 3)
        Preprocessed.

    Raises
    ------
    WeightsError
        The features are zero or not finite.
    """
    import keras
    from keras import ops

    folded = fold(model)
    every_map = keras.Model(folded.input, [layer.output for layer in folded.layers])

    def peaks(batch: Any) -> Any:
        return ops.stack([ops.max(ops.abs(values)) for values in every_map(batch, training=False)])

    compiled = compile_tensors(peaks, [("float32", images.shape)], folded.variables)
    largest = float(ops.max(compiled(images)))
    if not 0 < largest < np.inf:
        raise WeightsError(f"{model.name}: its features of tissue are {largest}; check its weights")
    return float(2.0 ** np.floor(np.log2(_LARGEST / largest)))


def _norms_by_convolution(model: Any) -> Content:
    """Return the batch normalisation that follows each convolution which is not an output."""
    from keras import layers

    outputs = {id(output) for output in model.outputs}
    norms = {}
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            convolution = layer.input._keras_history.operation
            assert isinstance(convolution, layers.Conv2D | layers.DepthwiseConv2D)
            if id(layer.input) not in outputs:
                norms[convolution.name] = layer
    return norms


def _initial(values: Array, shape: Sequence[int], dtype: str) -> Array:
    """Return values as an initializer of Keras gives them."""
    return values.astype(dtype)


def _weights(layer: Any, norm: Any) -> dict[str, Array]:
    """Return the weights of a layer by name, float64; those of a convolution include its batch normalisation."""
    from keras import layers

    weights = _values(layer)
    if norm is None:
        return weights
    values = _values(norm)
    factor = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"] + norm.epsilon)
    shift = values.get("beta", 0.0) - values["moving_mean"] * factor
    bias = weights.pop("bias", 0.0) * factor + shift
    ((name, kernel),) = weights.items()
    if isinstance(layer, layers.DepthwiseConv2D):  # each input has its own kernel
        factor = factor.reshape(kernel.shape[2:])
    return {name: kernel * factor, "bias": bias}


def _values(layer: Any) -> dict[str, Array]:
    """Return the weights of a layer by name, float64."""
    from keras import ops

    return {
        variable.name: np.asarray(ops.convert_to_numpy(variable), np.float64)
        for variable in layer.weights
    }
