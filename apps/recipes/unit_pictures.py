"""Pictures of what a network sees: deconvnet, masking, saliency maps and activation maximisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import InputError, Message
from ..explain import (
    METHODS,
    ExplainSettings,
    Floats,
    Graph,
    LayerStep,
    Method,
    UnitPictures,
    activation_and_gradient,
    compiled_gradient,
    input_gradient,
    mean_colour,
    pull_back,
)


def deconvnet(graph: Graph, images: Floats, target: int, tensor: int) -> Floats:
    """Return the deconvnet's map for the most important unit of a feature map, shape (n, size, size).

    That unit has, of all positions and channels, the largest product of its activation and the gradient of the class
    score. On the way back, max pooling is inverted at the positions of its maxima (the switches), and rectifiers pass
    only positive values.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", sec. 2.1.
    """
    active, slope = activation_and_gradient(graph, images, target, tensor)
    effect = (active * slope).reshape(len(active), -1)
    is_largest = effect == effect.max(axis=1, keepdims=True)
    signal = np.where(is_largest, active.reshape(effect.shape), 0).reshape(active.shape)
    values = graph.run(images)

    def rule(step: LayerStep, ahead: Floats) -> list[Floats]:
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
    tensors = {tensor}
    for step in reversed(graph.steps):
        if tensors & set(step.results):
            if step.kind == "MaxPooling2D":
                return
            tensors |= set(step.sources)
    text = Message(
        "{method} deconvnet: there is no max pooling between this layer and the image, so the map would be the same "
        "for every image; use gradcam, or a {layer} behind a max pooling"
    )
    raise InputError(text)


def _rectifies(step: LayerStep) -> bool:
    if step.kind == "ReLU":
        return True
    if step.part != "activation" and step.kind != "Activation":
        return False
    return getattr(step.operation.activation, "__name__", "") in ("relu", "relu6")


DECONVNET = Method(
    "deconvnet",
    "size of what the deconvnet draws",
    "What may have excited the one unit that raises the score most; it depends on where max pooling found its "
    "maxima, and so on the edges of the image, more than on the weights, and the score rests on many units.",
    layered=True,
    values=deconvnet,
    check=check_switches,
)


_MASKED = 9
"""Number of units whose masks are shown."""

_KEPT = 0.5
"""A mask keeps positions with at least this fraction of the unit's largest activation. The source
``inbreast-inception`` uses a constant below 1; a half is bchisto's choice."""


def masks(graph: Graph, images: Floats, target: int, tensor: int) -> UnitPictures:
    """Return the first image, masked by the most important units for a class.

    A mask keeps the positions where a unit has at least half of its largest activation. Units are ranked by the sum of
    activation times gradient of the class score.

    Returns
    -------
    UnitPictures
        Pictures with the probability of the class: the image, its mean colour, and the image under each mask, with the
        mean colour outside. Also the fraction of masks that include each pixel, and the units.

    References
    ----------
    Zhou et al. 2015, "Object detectors emerge in deep scene CNNs", sec. 3.2 (images masked by a unit's activation).
    """
    import cv2

    image = images[:1]
    active, slope = activation_and_gradient(graph, image, target, tensor)
    effect = (active * slope).sum(axis=(0, 1, 2))
    units = [int(unit) for unit in np.argsort(-effect, kind="stable")[:_MASKED]]
    size = image.shape[1:3]
    unit_masks = []
    for unit in units:
        activation = cv2.resize(active[0, :, :, unit], size[::-1], interpolation=cv2.INTER_LINEAR)
        largest = float(activation.max())
        unit_masks.append(activation >= min(_KEPT * largest, largest))
    mean = mean_colour(image)[0]
    batch = np.stack(
        [image[0], mean, *(np.where(mask[..., np.newaxis], image[0], mean) for mask in unit_masks)]
    )
    shares = np.asarray(graph.model.predict_on_batch(batch))[:, target]
    names = ["all of it", "mean colour", *(f"only unit {unit}" for unit in units)]
    tiles = tuple(
        (f"{name}: {share:.3f}", picture.round().astype(np.uint8))
        for name, share, picture in zip(names, shares, batch, strict=True)
    )
    return UnitPictures(
        tiles, {"units": np.array(units)}, np.mean(unit_masks, axis=0).astype(np.float32)
    )


MASKING = Method(
    "masking",
    "share of the masks",
    "The image where single units of the first model that raise the score are at least half as active as they "
    "become; a unit need not have one meaning, and the probabilities are of images that the network never "
    "saw: compare them with that of only the mean colour.",
    layered=True,
    of_patch=masks,
)


def saliency(graph: Graph, images: Floats, target: int, tensor: int | None) -> Floats:
    """Return the largest absolute gradient over the colour channels of each pixel, shape (n, size, size).

    The score is the input of the softmax. `gradient` of `bchisto.apps.explain` subtracts the mean over the classes from
    it, which changes the map, but not the probabilities.

    Parameters
    ----------
    graph : Graph
    images : ndarray of float32, shape (n, size, size, 3)
        RGB in 0..255.
    target : int
        Index of the class.
    tensor : None
        There is no layer to choose.

    References
    ----------
    Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks", sec. 3.1.
    """
    return np.asarray(np.abs(input_gradient(graph, images, target, raw=True)).max(axis=-1))


SALIENCY = Method(
    "saliency",
    "largest gradient of the unnormalised score of {target}",
    f"{METHODS['gradient'].caution} The score may also rise with that of the other classes, so the map is not of what "
    "tells them apart.",
    values=saliency,
)


_UNITS = 20
"""Largest number of channels of a layer that are drawn."""

_ITERATIONS = 64
"""Number of steps uphill. This and the following values are bchisto's choice, similar to the source."""

_RATE = 12.0
"""Length of a step in grey levels."""

_JITTER = 4
"""Largest shift before a step, in pixels."""

_BLUR_EVERY = 4
"""Number of steps from one blur to the next."""

_BLUR = 0.8
"""Standard deviation of the blur, in pixels."""


def excite(graph: Graph, *, tensor: int, units: list[int]) -> Floats:
    """Return pictures that maximise units or classes: float32 of shape (units, size, size, 3) in 0..255.

    The method is gradient ascent from grey noise, with jitter and blur.

    Parameters
    ----------
    graph : Graph
    tensor : int
        A feature map, or `Graph.logits` for classes.
    units : list of int

    References
    ----------
    Erhan et al. 2009, "Visualizing higher-layer features of a deep network"; Yosinski et al. 2015, "Understanding
    neural networks through deep visualization" (regularisation).
    """
    import cv2
    from keras import ops

    _, height, width, _ = graph.shapes[graph.entry]
    rng = np.random.default_rng(0)
    pictures = (128 + rng.normal(0, 8, (len(units), height, width, 3))).astype(np.float32)
    weights = np.zeros((len(units), graph.shapes[tensor][-1]), np.float32)
    weights[range(len(units)), units] = 1.0

    def objective(x: Any) -> Any:
        values = graph.run(x)
        if tensor == graph.logits:
            return ops.sum(graph.scores(values) * weights)
        return ops.sum(ops.mean(ops.cast(values[tensor], "float32"), axis=(1, 2)) * weights)

    gradient = compiled_gradient(objective)
    for iteration in range(_ITERATIONS):
        shift = tuple(int(pixels) for pixels in rng.integers(-_JITTER, _JITTER + 1, 2))
        slope = gradient(np.roll(pictures, shift, axis=(1, 2)))
        slope = np.roll(slope, (-shift[0], -shift[1]), axis=(1, 2))
        strength = np.sqrt((slope**2).mean(axis=(1, 2, 3), keepdims=True))
        pictures = np.clip(pictures + _RATE * slope / (strength + 1e-12), 0, 255)
        if iteration % _BLUR_EVERY == _BLUR_EVERY - 1:
            pictures = np.stack([cv2.GaussianBlur(picture, (0, 0), _BLUR) for picture in pictures])
    return pictures


def maximise(
    graph: Graph,
    classes: Sequence[str],
    target: int | None,
    tensor: int | None,
    settings: ExplainSettings,
) -> UnitPictures:
    """Return pictures that maximise each class (or only `target`), or the first units of a layer."""
    if tensor is None:
        units = list(range(len(classes))) if target is None else [target]
        names = [classes[unit] for unit in units]
        tensor = graph.logits
    else:
        units = list(range(min(_UNITS, graph.shapes[tensor][-1])))
        names = [f"{settings.layer} {unit}" for unit in units]
    pictures = excite(graph, tensor=tensor, units=units)
    tiles = [
        (name, picture.round().astype(np.uint8))
        for name, picture in zip(names, pictures, strict=True)
    ]
    return UnitPictures(tuple(tiles), {"excited": pictures})


MAXIMISATION = Method(
    "maximisation",
    "",
    "Images made to excite a class or a unit of the first model most; they are not tissue, and other settings "
    "give other ones.",
    layered=True,
    of_model=maximise,
)
