"""Deep Taylor decomposition: distributes a score, layer by layer, over the inputs that raised it, back to the pixels.

The sum is the same in each layer, so the relevance of all pixels sums to the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core import InputError, Message
from ..explain import Floats, Graph, LayerStep, Method, linear, pull_back, to_numpy

Values = Mapping[int, Any]

_TINY = 1e-9

_SAME = frozenset(
    {
        "Activation",
        "BatchNormalization",
        "Dropout",
        "LeakyReLU",
        "LocalResponse",
        "Normalization",
        "ReLU",
        "Rescaling",
        "SpatialDropout2D",
        "Subtract",
        "TrueDivide",
        "Divide",
        "Multiply",
        "Add",
        "Cast",
        "PReLU",
        "ELU",
        "LayerScale",
        "LayerNormalization",
    }
)
"""Kinds of layers that do not move values: relevance passes unchanged if they have one source."""

_MOVED = frozenset(
    {
        "Concatenate",
        "Cropping2D",
        "Flatten",
        "GetItem",
        "Identity",
        "MaxPooling2D",
        "Permute",
        "Reshape",
        "Stack",
        "ZeroPadding2D",
        "GlobalMaxPooling2D",
    }
)
"""Kinds of layers that select or move values: relevance goes back to the original positions."""

_MEANS = frozenset({"AveragePooling2D", "GlobalAveragePooling2D"})

_SUMS = frozenset({"Add", "CustomScaleLayer"})
"""Kinds of layers that add several sources: each gets relevance by its size. Inception-ResNet's scales the second."""


def check_rules(graph: Graph, tensor: int | None = None) -> None:
    """Refuse a network with a layer for which there is no relevance rule.

    Raises
    ------
    InputError
        The message names the layer.
    """
    for step in graph.steps:
        has_rule = step.part or step.kind in _SAME | _MOVED | _MEANS | _SUMS
        if not has_rule and step.results[0] != graph.logits and graph.logits not in step.sources:
            raise InputError(
                "{method} taylor: has no rule for the layer {} ({}) of this network; gradcam and occlusion need none",
                step.name,
                step.kind,
            )
    if _last(graph).kind != "Dense":
        raise InputError(
            Message("{method} taylor: needs a network that ends in a dense layer; gradcam does not")
        )


def taylor(graph: Graph, images: Floats, target: int, tensor: int | None = None) -> Floats:
    """Return the deep Taylor decomposition of a positive score: the evidence for the class, shape (n, size, size).

    A convolution and the batch normalisation after it are treated as one linear layer. The rule of the first layer uses
    the bounds of pixel values.

    References
    ----------
    Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition": the z+ rule,
    and the z^B rule for pixels.
    """
    values = graph.run(images)
    factors = _norm_factors(graph)
    first = next(step for step in graph.steps if step.part == "linear")
    low, high = (
        to_numpy(graph.run(np.full((1, *images.shape[1:]), end, np.float32))[first.sources[0]])
        for end in (0.0, 255.0)
    )
    bounds = (np.minimum(low, high), np.maximum(low, high))

    def rule(step: LayerStep, of_results: Floats) -> list[Floats]:
        bounds_of_step = bounds if step is first else None
        return _shared(step, values, of_results, bounds_of_step, factors.get(step.results[0]))

    signals = {_last(graph).sources[0]: _begin(graph, values, target)}
    return np.asarray(graph.backward(signals, rule).sum(axis=-1))


def _last(graph: Graph) -> LayerStep:
    """Return the step that computes the logits."""
    return next(step for step in graph.steps if step.results[0] == graph.logits)


def _begin(graph: Graph, values: Values, target: int) -> Floats:
    """Distribute the score of a class over the features that raise it; the sum is the score if that is positive."""
    last = _last(graph)
    features = to_numpy(values[last.sources[0]])
    kernel = to_numpy(last.operation.kernel)
    weights = kernel[:, target] - kernel.mean(axis=1)
    score = to_numpy(graph.scores(values))[:, target, np.newaxis]
    shares = np.maximum(features * weights, 0) + _TINY
    return np.asarray(np.maximum(score, 0) * shares / shares.sum(axis=1, keepdims=True))


def _shared(
    step: LayerStep,
    values: Values,
    of_results: Floats,
    bounds: tuple[Floats, Floats] | None,
    factor: Floats | None,
) -> list[Floats]:
    """Distribute the relevance of a step's results over its sources."""
    kind = step.kind
    tensors = [values[number] for number in step.sources]
    if step.part == "linear":
        return [_by_sign(step, to_numpy(tensors[0]), _kernel(step, factor), of_results, bounds)]
    if step.part == "activation":
        return [of_results]
    if kind in _SAME and len(tensors) == 1:
        return [of_results]
    if kind in _MEANS:
        # over the values that each mean averages, by their size
        strength = np.asarray(np.abs(to_numpy(tensors[0])) + _TINY, np.float32)
        share = of_results / to_numpy(step(strength)[0])
        (gradient,) = pull_back(lambda x: step(x)[0], [strength], share)
        return [np.asarray(strength * gradient, np.float32)]
    if kind in _SUMS:
        sizes = [np.abs(to_numpy(tensor)) + _TINY for tensor in tensors]
        sizes[-1] *= getattr(step.operation, "scale", 1.0)
        return [np.asarray(of_results * size / sum(sizes), np.float32) for size in sizes]
    if kind == "Multiply":
        # a gate with one value per channel is only a weight, and gets no relevance
        shares = [np.zeros(tensor.shape, np.float32) for tensor in tensors]
        largest = max(range(len(tensors)), key=lambda index: int(np.prod(tensors[index].shape)))
        shares[largest] = of_results
        return shares
    relevance = pull_back(lambda *x: step(*x)[0], tensors, of_results)
    if kind == "ZeroPadding2D":  # relevance of the padding is spread evenly over the image
        lost = (of_results.sum(axis=(1, 2, 3)) - relevance[0].sum(axis=(1, 2, 3))) / relevance[0][
            0
        ].size
        relevance[0] = relevance[0] + lost[:, np.newaxis, np.newaxis, np.newaxis]
    return relevance


def _norm_factors(graph: Graph) -> dict[int, Floats]:
    """Return the factors of the batch normalisation after a linear step, by the number of the step's result."""
    users: dict[int, list[LayerStep]] = {}
    for step in graph.steps:
        for number in step.sources:
            users.setdefault(number, []).append(step)
    factors = {}
    for step in graph.steps:
        readers = users.get(step.results[0], [])
        if step.part == "linear" and len(readers) == 1 and readers[0].kind == "BatchNormalization":
            norm = readers[0].operation
            variance = to_numpy(norm.moving_variance)
            gamma = to_numpy(norm.gamma) if norm.scale else np.ones_like(variance)
            factors[step.results[0]] = np.asarray(
                gamma / np.sqrt(variance + norm.epsilon), dtype=np.float32
            )
    return factors


def _kernel(step: LayerStep, factor: Floats | None) -> Floats:
    """Return a kernel multiplied by the factors of the normalisation after it."""
    kernel = to_numpy(step.operation.kernel)
    if factor is None:
        return kernel
    shape = kernel.shape[-2:] if step.kind == "DepthwiseConv2D" else (kernel.shape[-1],)
    return kernel * factor.reshape(shape)


def _by_sign(
    step: LayerStep,
    x: Floats,
    kernel: Floats,
    of_results: Floats,
    bounds: tuple[Floats, Floats] | None,
) -> Floats:
    """Distribute relevance over the inputs that raise the output; over pixels, by their distance from their bounds.

    Relevance of an output that only a bias raised is spread evenly over all inputs of the kernel.
    """
    layer = step.operation
    positive = np.maximum(kernel, 0)
    negative = np.minimum(kernel, 0)
    if bounds is None:
        pairs = [(np.maximum(x, 0), positive), (np.minimum(x, 0), negative)]
    else:
        low, high = (np.broadcast_to(bound, x.shape) for bound in bounds)
        pairs = [(x, kernel), (-low, positive), (-high, negative)]
    pairs = [(part, weights) for part, weights in pairs if part.any()]
    total = np.zeros_like(of_results)
    for part, weights in pairs:
        total += to_numpy(linear(layer, part, kernel=weights))
    raised = np.abs(total) > _TINY
    relevance = _carried(
        layer, pairs, np.where(raised, of_results / np.where(raised, total, 1), 0), x
    )
    if not raised.all():
        uniform = (np.ones_like(x), np.ones_like(kernel))
        counts = to_numpy(linear(layer, uniform[0], kernel=uniform[1]))
        relevance += _carried(layer, [uniform], np.where(raised, 0, of_results / counts), x)
    return relevance


def _carried(layer: Any, pairs: list[tuple[Floats, Floats]], shares: Floats, x: Floats) -> Floats:
    """Carry shares back through kernels, and multiply each by its input."""
    relevance = np.zeros_like(x)
    for part, weights in pairs:
        (gradient,) = pull_back(lambda t, w=weights: linear(layer, t, kernel=w), [part], shares)
        relevance += part * gradient
    return relevance


TAYLOR = Method(
    "taylor",
    "share of the score of {target}",
    "What speaks for the class shared out among pixels by fixed rules; what speaks against it is not shown, and a "
    "score that is not positive shows nothing. If a network pads its images, the border is bright whatever it shows.",
    shares=True,
    values=taylor,
    check=check_rules,
)
