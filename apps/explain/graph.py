"""A network as a list of steps, to read inner values and to walk backwards. Nested networks are expanded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import InputError, one_of
from ...encoders import canonical_names

Floats = npt.NDArray[np.float32]
"""Arrays of images, maps or features."""


@dataclass(frozen=True)
class LayerStep:
    """A layer or an operation of a network, between tensors that are identified by numbers.

    Attributes
    ----------
    name : str
        Name of the layer, the same in every process.
    operation : keras.Operation
    node : any
        Node of the Keras graph, with the arguments of the call.
    sources, results : tuple of int
        Numbers of the input and output tensors.
    part : {"", "linear", "activation"}
        Part of a layer: a convolution or dense layer with an activation is two steps.
    """

    name: str
    operation: Any
    node: Any
    sources: tuple[int, ...]
    results: tuple[int, ...]
    part: str

    def __call__(self, *tensors: Any) -> list[Any]:
        """Return the results for given values of the sources."""
        if self.part == "linear":
            return [linear(self.operation, tensors[0])]
        if self.part == "activation":
            return [self.operation.activation(tensors[0])]
        from keras import tree

        unique = dict.fromkeys(map(id, self.node.input_tensors))
        args, options = self.node.arguments.fill_in(dict(zip(unique, tensors, strict=True)))
        return list(tree.flatten(self.operation(*args, **options)))

    @property
    def kind(self) -> str:
        """The class name of the operation."""
        return type(self.operation).__name__


class Graph:
    """A functional Keras network as a list of steps.

    Parameters
    ----------
    model : keras.Model
        A model from images to probabilities, with one input and one output.

    Attributes
    ----------
    model : keras.Model
    steps : tuple of LayerStep
        The steps, in an order in which they can be run.
    entry : int
        Number of the input tensor, the images.
    logits : int
        Number of the input of the last activation, or of the output if the network ends without one.
    shapes : dict of int to tuple
        Shape of each tensor.
    slopes : dict of (int, bool) to callable
        Class index, and whether its score is raw, to the gradient of the score, compiled when it is first needed.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.slopes: dict[tuple[int, bool], Callable[[Any], Floats]] = {}
        self.shapes: dict[int, tuple[Any, ...]] = {}
        self.entry = self._number(model.inputs[0])
        steps: list[LayerStep] = []
        (end,) = self._walk(model, [self.entry], steps)
        self.steps = tuple(steps)
        last = next(step for step in self.steps if end in step.results)
        self.logits = end
        if last.part == "activation" or last.kind in ("Softmax", "Activation"):
            self.logits = last.sources[0]

    def _number(self, tensor: Any) -> int:
        number = len(self.shapes)
        self.shapes[number] = tuple(tensor.shape)
        return number

    def _walk(self, model: Any, given: Sequence[int], steps: list[LayerStep]) -> list[int]:
        """Add the steps of a functional model; return the numbers of its outputs."""
        import keras

        numbers = {id(tensor): number for tensor, number in zip(model.inputs, given, strict=True)}
        names = {present: name for name, present in canonical_names(model).items()}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                operation = node.operation
                sources = tuple(dict.fromkeys(numbers[id(tensor)] for tensor in node.input_tensors))
                inner = operation
                if isinstance(operation, keras.Sequential):
                    inner = operation._functional
                if isinstance(inner, keras.Model) and hasattr(inner, "_nodes_by_depth"):
                    results = self._walk(inner, sources, steps)
                else:
                    results = [self._number(tensor) for tensor in node.outputs]
                    name = names.get(operation.name, operation.name)
                    steps += self._split(name, node, sources, tuple(results))
                for tensor, number in zip(node.outputs, results, strict=True):
                    numbers[id(tensor)] = number
        return [numbers[id(tensor)] for tensor in model.outputs]

    def _split(
        self, name: str, node: Any, sources: tuple[int, ...], results: tuple[int, ...]
    ) -> Iterator[LayerStep]:
        """Yield the steps of a layer: one for each multiplication by a kernel, then one for its activation."""
        operation = node.operation
        if type(operation).__name__ == "SeparableConv2D":
            first, second = _halves(operation)
            parts = [(first, "linear"), (second, "linear")]
        elif type(operation).__name__ in _LINEAR:
            parts = [(operation, "linear")]
        else:
            parts = [(operation, "")]
        last, kind = parts[-1]
        if kind == "linear" and getattr(last.activation, "__name__", "") != "linear":
            parts.append((last, "activation"))
        between = [(self._number(node.outputs[0]),) for _ in parts[1:]]
        for (layer, part), ends in zip(parts, [*between, results], strict=True):
            yield LayerStep(name, layer, node, sources, ends, part)
            sources = ends

    def run(self, images: Any, *, add: Mapping[int, Any] | None = None) -> dict[int, Any]:
        """Run the network, and return the value of every tensor by its number.

        Parameters
        ----------
        images : array or tensor, shape (n, size, size, 3)
            RGB in 0..255.
        add : mapping, optional
            Number of a tensor to an array that is added to it. Adding zeros makes its gradient available.
        """
        from keras import ops

        add = add or {}
        values = {self.entry: ops.cast(ops.convert_to_tensor(images), "float32")}
        for step in self.steps:
            results = step(*[values[number] for number in step.sources])
            for number, value in zip(step.results, results, strict=True):
                if number in add:
                    value = value + ops.cast(add[number], value.dtype)
                values[number] = value
        return values

    def scores(self, values: Mapping[int, Any], *, raw: bool = False) -> Any:
        """Return the score of each class, shape (n, classes): its logit, less the mean over classes unless `raw`.

        A softmax does not change if the same number is added to all logits, so their mean has no meaning.
        """
        from keras import ops

        logits = ops.cast(values[self.logits], "float32")
        if raw:
            return logits
        return logits - ops.mean(logits, axis=-1, keepdims=True)

    def tensor_of(self, layer: str, *, method: str) -> int:
        """Return the number of the feature map of a layer; for an empty name, of the last one in the network.

        Raises
        ------
        InputError
            There is no such layer, and the message names the most similar layer and the last layers; or it has no
            feature map.
        """
        maps = self.maps
        if not layer:
            if not maps:
                raise InputError("{method} {}: this network has no feature map", method)
            return list(maps.values())[-1]
        if layer not in maps:
            raise InputError(
                "{layer} {}: no feature map of this name; {}",
                layer,
                one_of(layer, reversed(maps), most=5),
            )
        return maps[layer]

    @functools.cached_property
    def maps(self) -> dict[str, int]:
        """Name of each layer with a feature map of more than one position, and the number of its tensor."""
        # a nested network accepts any size: run once to find the shapes
        if any(None in shape[1:] for shape in self.shapes.values()):
            values = self.run(np.zeros((1, *self.shapes[self.entry][1:]), np.float32))
            self.shapes.update(
                {number: (None, *value.shape[1:]) for number, value in values.items()}
            )
        return {step.name: step.results[0] for step in self.steps if self._has_map(step)}

    def _has_map(self, step: LayerStep) -> bool:
        """Return whether a step is a layer with a feature map of more than one position."""
        if step.kind in _NO_MAPS or not hasattr(step.operation, "weights"):
            return False
        shape = self.shapes[step.results[0]]
        return len(shape) == 4 and shape[1] != 1 and shape[3] is not None

    def backward(
        self, signals: dict[int, Floats], rule: Callable[[LayerStep, Floats], list[Floats]]
    ) -> Floats:
        """Propagate signals back to the images.

        Parameters
        ----------
        signals : dict of int to ndarray
            Number of a tensor to the signal that starts there.
        rule : callable
            Function of a step and the signal at its result; returns the signal at each of its sources.
        """
        for step in reversed(self.steps):
            result_signal = signals.pop(step.results[0], None)
            if result_signal is None:
                continue
            for number, signal in zip(step.sources, rule(step, result_signal), strict=False):
                if number in signals:
                    signal = signals[number] + signal
                signals[number] = signal
        return signals[self.entry]


_NO_MAPS = frozenset(
    {"Rescaling", "Normalization", "Reshape", "Multiply", "ZeroPadding2D", "Dropout"}
)
"""Layers whose output has spatial positions but does not count as a feature map of its own."""


class DepthwiseConv2D(SimpleNamespace):
    """The first half of a separable convolution, under the name of the equivalent Keras layer."""


class Conv2D(SimpleNamespace):
    """The second half of a separable convolution, under the name of the equivalent Keras layer."""


def _halves(layer: Any) -> tuple[DepthwiseConv2D, Conv2D]:
    """Split a separable convolution into its two convolutions."""
    first = DepthwiseConv2D(
        kernel=layer.depthwise_kernel,
        use_bias=False,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
    )
    second = Conv2D(
        kernel=layer.pointwise_kernel,
        use_bias=layer.use_bias,
        bias=layer.bias,
        strides=1,
        padding="valid",
        dilation_rate=1,
        activation=layer.activation,
        weights=layer.weights,
    )
    return first, second


_LINEAR = ("Conv2D", "DepthwiseConv2D", "Dense")


def linear(layer: Any, x: Any, *, kernel: Any = None) -> Any:
    """Apply the linear part of a convolution or a dense layer in float32; with another kernel, without its bias."""
    from keras import ops

    x = ops.cast(x, "float32")
    weights = ops.cast(layer.kernel if kernel is None else kernel, "float32")
    kind = type(layer).__name__
    if kind == "Dense":
        outputs = ops.matmul(x, weights)
    else:
        convolve = ops.depthwise_conv if kind == "DepthwiseConv2D" else ops.conv
        outputs = convolve(
            x,
            weights,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
        )
    if kernel is None and layer.use_bias:
        outputs = outputs + ops.cast(layer.bias, "float32")
    return outputs
