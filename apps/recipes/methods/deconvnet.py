"""The deconvnet: an image of what may have activated the most important unit for a class."""

from __future__ import annotations

import numpy as np

from ....core import InputError, Message
from ...explain import Floats, Graph, Method, Step, activation_and_gradient, pull_back


def deconvnet(graph: Graph, images: Floats, target: int, tensor: int | None) -> Floats:
    """Return the deconvnet's map for the most important unit of a feature map, shape (n, size, size).

    That unit has, of all positions and channels, the largest product of its activation and the gradient of the class
    score. On the way back, max pooling is inverted at the positions of its maxima (the switches), and rectifiers pass
    only positive values.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", sec. 2.1.
    """
    assert tensor is not None
    active, slope = activation_and_gradient(graph, images, target, tensor)
    effect = (active * slope).reshape(len(active), -1)
    chosen = effect == effect.max(axis=1, keepdims=True)
    signal = np.where(chosen, active.reshape(effect.shape), 0).reshape(active.shape)
    values = graph.run(images)

    def rule(step: Step, ahead: Floats) -> list[Floats]:
        if _rectifies(step):
            return [np.maximum(ahead, 0)]
        return pull_back(lambda *x: step(*x)[0], [values[number] for number in step.sources], ahead)

    return np.asarray(np.abs(graph.backward({tensor: signal}, rule)).max(axis=-1))


def check_switches(graph: Graph, tensor: int | None) -> None:
    """Refuse a layer without max pooling before it: the map would be the same for every image.

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
        Message(
            "{method} deconvnet: there is no max pooling between this layer and the image, so the "
            "map would be the same for every image; use gradcam, or a {layer} behind a max pooling"
        )
    )


def _rectifies(step: Step) -> bool:
    function = step.operation.activation if step.part == "activation" or step.kind == "Activation" else None
    return step.kind == "ReLU" or getattr(function, "__name__", "") in ("relu", "relu6")


DECONVNET = Method(
    "deconvnet",
    "size of what the deconvnet draws",
    "What may have excited the one unit that raises the score most; it depends on where max pooling found its "
    "maxima, and so on the edges of the image, more than on the weights, and the score rests on many units.",
    layered=True,
    default_layer=True,
    values=deconvnet,
    check=check_switches,
)
