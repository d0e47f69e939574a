"""Maps of a network by walking back through it: layer-wise relevance propagation, deep Taylor, deconvnet.

Relevance begins as the score of a class and is shared out, layer by layer, among what made it; nothing is added or
lost, so that the pixels sum to the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .gradient_maps import activation_and_gradient, pull_back, to_numpy
from .graph import Floats, Graph, Step, linear

Values = Mapping[int, Any]

_TINY = 1e-9
_EPSILON = 1e-6
"""Stabiliser of the epsilon rule (ours; small, so that little relevance is lost)."""

_SAME = frozenset({
    "Activation", "BatchNormalization", "Dropout", "LeakyReLU", "Normalization", "ReLU", "Rescaling",
    "SpatialDropout2D", "Subtract", "TrueDivide", "Divide", "Multiply", "Add", "Cast", "PReLU", "ELU", "LayerScale",
    "LayerNormalization",
})  # fmt: skip
"""Kinds that leave every value where it is: relevance passes them unchanged where they have one source."""

_MOVED = frozenset({
    "Concatenate", "Cropping2D", "Flatten", "GetItem", "Identity", "MaxPooling2D", "Permute", "Reshape",
    "Stack", "ZeroPadding2D", "GlobalMaxPooling2D",
})  # fmt: skip
"""Kinds that choose or move values: relevance goes back to where they came from."""

_MEANS = frozenset({"AveragePooling2D", "GlobalAveragePooling2D"})

_SUMS = frozenset({"Add", "CustomScaleLayer"})
"""Kinds that add several sources up: each gets what it brings; that of Inception-ResNet scales the second."""


def check_rules(graph: Graph, *, method: str) -> None:
    """Refuse a network with a layer that relevance cannot be carried through.

    Raises
    ------
    InputError
        The message names the layer.
    """
    for step in graph.steps:
        known = step.part or step.kind in _SAME | _MOVED | _MEANS | _SUMS | {"_Power"}
        if not known and step.results[0] != graph.logits and graph.logits not in step.sources:
            raise InputError(
                f"`method` {method}: has no rule for the layer {step.name} ({step.kind}) of this network; gradcam and "
                "occlusion need none"
            )
    if _last(graph).kind != "Dense":
        raise InputError(f"`method` {method}: needs a network that ends in a dense layer; gradcam does not")


def lrp(graph: Graph, images: Floats, target: int) -> Floats:
    """Return relevance: epsilon rule in dense layers, positive parts alone in convolutions, shape (n, size, size).

    A convolution and the batch normalisation behind it are one linear layer. The first layer takes into account that
    pixels have bounds.

    References
    ----------
    Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
    propagation", eqs 58 and 60 (alpha 1, beta 0).
    """
    return _relevance(graph, images, target, positive=False)


def taylor(graph: Graph, images: Floats, target: int) -> Floats:
    """Return the deep Taylor decomposition of a positive score: what speaks for the class, and never against it.

    References
    ----------
    Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition": the z+ rule,
    and the z^B rule for pixels.
    """
    return _relevance(graph, images, target, positive=True)


def deconvnet(graph: Graph, images: Floats, target: int, tensor: int) -> Floats:
    """Return what a deconvnet draws of the unit of a feature map that matters most, shape (n, size, size).

    It is the one, of all places and channels, whose activation times the gradient of the score of the class is largest.
    Max pooling is undone at the places of its maxima (the switches), rectifiers let through what is positive on the
    way back.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", sec. 2.1.
    """
    active, found = activation_and_gradient(graph, images, target, tensor)
    effect = (active * found).reshape(len(active), -1)
    chosen = effect == effect.max(axis=1, keepdims=True)
    signal = np.where(chosen, active.reshape(effect.shape), 0).reshape(active.shape)
    values = graph.run(images)

    def rule(step: Step, ahead: Floats) -> list[Floats]:
        if _rectifies(step):
            return [np.maximum(ahead, 0)]
        return pull_back(lambda *x: step(*x)[0], [values[number] for number in step.sources], ahead)

    return np.asarray(np.abs(_backward(graph, {tensor: signal}, rule)).max(axis=-1))


def check_switches(graph: Graph, tensor: int) -> None:
    """Refuse a deconvnet without max pooling on the way: then it draws the same of every image.

    Raises
    ------
    InputError
    """
    behind = {tensor}
    for step in reversed(graph.steps):
        if behind & set(step.results):
            if step.kind == "MaxPooling2D":
                return
            behind |= set(step.sources)
    raise InputError(
        "`method` deconvnet: there is no max pooling between this layer and the picture, so the drawing would be the "
        "same of every picture; use gradcam or lrp, or a `layer` behind a max pooling"
    )


def _rectifies(step: Step) -> bool:
    function = step.operation.activation if step.part == "activation" or step.kind == "Activation" else None
    return step.kind == "ReLU" or getattr(function, "__name__", "") in ("relu", "relu6")


def _backward(graph: Graph, signals: dict[int, Floats], rule: Callable[[Step, Floats], list[Floats]]) -> Floats:
    """Carry signals back to the images."""
    for step in reversed(graph.steps):
        ahead = signals.pop(step.results[0], None)
        if ahead is None:
            continue
        for number, found in zip(step.sources, rule(step, ahead), strict=False):
            signals[number] = signals[number] + found if number in signals else found
    return signals[graph.entry]


def _last(graph: Graph) -> Step:
    return next(step for step in graph.steps if step.results[0] == graph.logits)


def _relevance(graph: Graph, images: Floats, target: int, *, positive: bool) -> Floats:
    values, last = graph.run(images), _last(graph)
    first = next(step for step in graph.steps if step.part == "linear")
    low, high = (
        to_numpy(graph.run(np.full((1, *images.shape[1:]), end, np.float32))[first.sources[0]]) for end in (0.0, 255.0)
    )
    bounds = np.minimum(low, high), np.maximum(low, high)
    found = {last.sources[0]: _begin(graph, values, target, positive=positive)}

    def rule(step: Step, ahead: Floats) -> list[Floats]:
        return _shared(graph, step, values, ahead, bounds if step is first else None, positive=positive)

    return np.asarray(_backward(graph, found, rule).sum(axis=-1))


def _begin(graph: Graph, values: Values, target: int, *, positive: bool) -> Floats:
    """Share the score of a class among the features that the last layer adds up; they sum to it."""
    last = _last(graph)
    features = to_numpy(values[last.sources[0]])
    kernel = to_numpy(last.operation.kernel)
    weights = kernel[:, target] - kernel.mean(axis=1)
    score = to_numpy(graph.scores(values))[:, target, np.newaxis]
    if positive:
        shares = np.maximum(features * weights, 0) + _TINY
        return np.asarray(np.maximum(score, 0) * shares / shares.sum(axis=1, keepdims=True))
    parts = features * weights
    return np.asarray(parts + (score - parts.sum(axis=1, keepdims=True)) / features.shape[1])


def _shared(
    graph: Graph,
    step: Step,
    values: Values,
    ahead: Floats,
    bounds: tuple[Floats, Floats] | None,
    *,
    positive: bool,
) -> list[Floats]:
    """Share relevance behind a step among its sources."""
    tensors = [values[number] for number in step.sources]
    if step.part == "linear":
        if step.kind == "Dense" and len(ahead.shape) == 2 and not positive and bounds is None:
            return [_epsilon(step, to_numpy(tensors[0]), to_numpy(values[step.results[0]]), ahead)]
        return [_by_sign(step, to_numpy(tensors[0]), _kernel(graph, step), ahead, bounds)]
    if step.part == "activation" or step.kind == "_Power" or (step.kind in _SAME and len(tensors) == 1):
        return [ahead]
    if step.kind in _MEANS:
        size: Floats = np.asarray(np.abs(to_numpy(tensors[0])) + _TINY, np.float32)
        shares = ahead / to_numpy(step(size)[0])
        return [np.asarray(size * pull_back(lambda x: step(x)[0], [size], shares)[0], np.float32)]
    if step.kind in _SUMS:
        sizes = [np.abs(to_numpy(tensor)) + _TINY for tensor in tensors]
        sizes[-1] *= getattr(step.operation, "scale", 1.0)
        return [np.asarray(ahead * one / sum(sizes), np.float32) for one in sizes]
    if step.kind == "Multiply":  # a gate of one value a channel only weighs what it is multiplied with
        largest = max(range(len(tensors)), key=lambda place: int(np.prod(tensors[place].shape)))
        return [ahead if place == largest else np.zeros(t.shape, np.float32) for place, t in enumerate(tensors)]
    found = pull_back(lambda *x: step(*x)[0], tensors, ahead)
    if step.kind == "ZeroPadding2D":  # what fell on the padding is spread over the image
        lost = (ahead.sum(axis=(1, 2, 3)) - found[0].sum(axis=(1, 2, 3))) / found[0][0].size
        found[0] = found[0] + lost[:, np.newaxis, np.newaxis, np.newaxis]
    return found


def _kernel(graph: Graph, step: Step) -> Floats:
    """Return a kernel with the factors of the normalisation behind it."""
    kernel = to_numpy(step.operation.kernel)
    factor = graph.norm_after.get(step.results[0])
    if factor is None:
        return kernel
    shape = kernel.shape[-2:] if step.kind == "DepthwiseConv2D" else (kernel.shape[-1],)
    return np.asarray(kernel * factor.reshape(shape))


def _by_sign(step: Step, x: Floats, kernel: Floats, ahead: Floats, bounds: tuple[Floats, Floats] | None) -> Floats:
    """Share by the parts that raise the output; of pixels by how far they are from their bounds.

    Where nothing but a bias raised it, it is spread evenly over all that the kernel sees.
    """
    layer, up, down = step.operation, np.maximum(kernel, 0), np.minimum(kernel, 0)
    if bounds is None:
        pairs = [(np.maximum(x, 0), up), (np.minimum(x, 0), down)]
    else:
        low, high = (np.broadcast_to(one, x.shape) for one in bounds)
        pairs = [(x, kernel), (-low, up), (-high, down)]
    pairs = [(part, weights) for part, weights in pairs if part.any()]
    total = np.zeros_like(ahead)
    for part, weights in pairs:
        total += to_numpy(linear(layer, part, kernel=weights, bias=False))
    raised = np.abs(total) > _TINY
    found = _carried(layer, pairs, np.where(raised, ahead / np.where(raised, total, 1), 0), x)
    if not raised.all():
        even = np.ones_like(x), np.ones_like(kernel)
        seen = to_numpy(linear(layer, even[0], kernel=even[1], bias=False))
        found += _carried(layer, [even], np.where(raised, 0, ahead / seen), x)
    return found


def _carried(layer: Any, pairs: list[tuple[Floats, Floats]], shares: Floats, x: Floats) -> Floats:
    """Carry shares back through some kernels, and weigh each by what went into it."""
    found = np.zeros_like(x)
    for part, weights in pairs:
        (back,) = pull_back(lambda t, w=weights: linear(layer, t, kernel=w, bias=False), [part], shares)
        found += part * back
    return found


def _epsilon(step: Step, x: Floats, z: Floats, ahead: Floats) -> Floats:
    """Share by products with weights, of either sign; the part of the bias is spread evenly."""
    kernel = to_numpy(step.operation.kernel)
    shares = ahead / (z + _EPSILON * np.where(z >= 0, 1, -1))
    found = x * (shares @ kernel.T)
    if step.operation.use_bias:
        found += (shares @ to_numpy(step.operation.bias))[:, np.newaxis] / x.shape[1]
    return np.asarray(found, dtype=np.float32)
