"""What a network's units see: first-layer filters, feature maps, masks by activation, and what excites a unit most."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .explanation import Picture
from .gradient_maps import activation_and_gradient, compiled_gradient, mean_colour, to_numpy
from .graph import Floats, Graph

Tiles = tuple[tuple[str, Picture], ...]

_MASKED = 9
"""Units whose masks are shown (ours)."""

_KEPT = 0.5
"""Of a unit's greatest activation: a mask keeps the places from there up. That it is a constant below 1 is of seed
``inbreast-inception``; which is ours."""

_STEPS, _RATE, _JITTER, _BLUR_EVERY, _BLUR = 64, 12.0, 4, 4, 0.8
"""Of activation maximisation: steps, their length in grey levels, jitter in pixels, and a blur of 0.8 pixels every
fourth step (ours, in the manner of the source)."""


def filter_tiles(graph: Graph, *, most: int) -> tuple[Tiles, Floats]:
    """Return the kernels of the first convolution as pictures, each stretched to its own range, and the kernels.

    References
    ----------
    Krizhevsky et al. 2012, fig. 3.
    """
    step = next((one for one in graph.steps if one.part == "linear" and one.kind == "Conv2D"), None)
    if step is None:
        raise InputError("`method` filters: this network has no convolution")
    kernels = np.moveaxis(to_numpy(step.operation.kernel), -1, 0)
    shown = kernels if kernels.shape[-1] == 3 else kernels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    tiles = tuple((f"{step.name} {place}", _stretched(one)) for place, one in enumerate(shown[:most]))
    return tiles, kernels


def feature_tiles(graph: Graph, images: Floats, tensor: int, *, most: int) -> tuple[Tiles, Floats]:
    """Return the first of some images, a key, and its feature maps in greys of one scale, the strongest first; and all.

    Black is 0; of a map with negative values it is the most negative one of their size, and grey is 0.
    """
    active = to_numpy(graph.run(images[:1])[tensor])[0]
    order = np.argsort(-active.mean(axis=(0, 1)), kind="stable")[:most].tolist()
    top = float(np.abs(active).max()) or 1.0
    low = -top if active.min() < 0 else 0.0

    def grey(values: Floats) -> Picture:
        shown = np.asarray(255 * (values - low) / (top - low)).round().astype(np.uint8)
        return np.repeat(shown[..., np.newaxis], 3, axis=2)

    ramp = np.linspace(low, top, 64, dtype=np.float32)[np.newaxis].repeat(16, axis=0)
    middle = ", grey 0" if low else ""
    tiles = [("as the network sees it", images[0].round().astype(np.uint8)),
             (f"black {low:.3g}{middle}, white {top:.3g}", grey(ramp))]  # fmt: skip
    tiles += [(f"channel {one} (mean {active[..., one].mean():.3g})", grey(active[..., one])) for one in order]
    return tuple(tiles), active


def masks(graph: Graph, images: Floats, target: int, tensor: int) -> tuple[Tiles, Floats, list[int]]:
    """Return the first image seen through the units that matter most for a class.

    A mask keeps the places where a unit has at least half of its greatest activation; units are ordered by the sum of
    activation times gradient of the score.

    Returns
    -------
    tuple of (str, picture)
        The image, its mean colour, and each mask, where all outside has that colour, with the probability of the class.
    ndarray of float32, shape (size, size)
        In how many of the masks a pixel is, as a share.
    list of int
        The units.

    References
    ----------
    Zhou et al. 2015, "Object detectors emerge in deep scene CNNs", sec. 3.2 (images masked by a unit's activation).
    """
    import cv2

    image = images[:1]
    active, found = activation_and_gradient(graph, image, target, tensor)
    effect = (active * found).sum(axis=(0, 1, 2))
    units = [int(one) for one in np.argsort(-effect, kind="stable")[:_MASKED]]
    size = image.shape[1:3]
    kept = []
    for unit in units:
        large = cv2.resize(active[0, :, :, unit], size[::-1], interpolation=cv2.INTER_LINEAR)
        top = float(large.max())
        kept.append(large >= min(_KEPT * top, top))
    mean = mean_colour(image)[0]
    seen = np.stack([image[0], mean, *(np.where(mask[..., np.newaxis], image[0], mean) for mask in kept)])
    shares = np.asarray(graph.model.predict_on_batch(seen))[:, target]
    names = ["all of it", "mean colour", *(f"unit {unit} alone" for unit in units)]
    tiles = tuple(
        (f"{name}: {share:.3f}", one.round().astype(np.uint8))
        for name, share, one in zip(names, shares, seen, strict=True)
    )
    return tiles, np.mean(kept, axis=0).astype(np.float32), units


def excite(graph: Graph, *, tensor: int, units: list[int], seed: int = 0) -> Floats:
    """Return the pictures that excite some units, or classes, most: float32 of shape (units, size, size, 3) in 0..255.

    Gradient ascent from grey noise, with jitter and blur.

    Parameters
    ----------
    graph : Graph
    tensor : int
        A feature map, or `Graph.logits` for classes.
    units : list of int
    seed : int

    References
    ----------
    Erhan et al. 2009, "Visualizing higher-layer features of a deep network"; Yosinski et al. 2015, "Understanding
    neural networks through deep visualization" (regularisation).
    """
    import cv2
    from keras import ops

    _, height, width, _ = graph.shapes[graph.entry]
    rng = np.random.default_rng(seed)
    found = (128 + rng.normal(0, 8, (len(units), height, width, 3))).astype(np.float32)
    chosen = np.zeros((len(units), graph.shapes[tensor][-1]), np.float32)
    chosen[range(len(units)), units] = 1.0

    def objective(x: Any) -> Any:
        values = graph.run(x)
        if tensor == graph.logits:
            return ops.sum(graph.scores(values) * chosen)
        return ops.sum(ops.mean(ops.cast(values[tensor], "float32"), axis=(1, 2)) * chosen)

    gradient = compiled_gradient(objective)
    for step in range(_STEPS):
        shift = tuple(int(one) for one in rng.integers(-_JITTER, _JITTER + 1, 2))
        slope = gradient(np.roll(found, shift, axis=(1, 2)))
        slope = np.roll(slope, (-shift[0], -shift[1]), axis=(1, 2))
        strength = np.sqrt((slope**2).mean(axis=(1, 2, 3), keepdims=True))
        found = np.clip(found + _RATE * slope / (strength + 1e-12), 0, 255)
        if step % _BLUR_EVERY == _BLUR_EVERY - 1:
            found = np.stack([cv2.GaussianBlur(one, (0, 0), _BLUR) for one in found])
    return found


def _stretched(values: Floats) -> Picture:
    low, high = float(values.min()), float(values.max())
    return np.asarray(255 * (values - low) / ((high - low) or 1.0), np.float64).round().astype(np.uint8)
