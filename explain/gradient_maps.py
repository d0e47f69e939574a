"""Maps of a network by gradients: saliency, SmoothGrad, integrated gradients, Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np

from .autodiff import compiled_gradient, gradients, to_numpy
from .graph import Floats, Graph

_NOISY, _NOISE = 25, 0.15
"""Noisy copies, and their noise as a share of the range of pixels: Smilkov et al. 2017, sec. 3 and fig. 3."""

_PATH = 32
"""Steps from the baseline to the image (ours; Sundararajan et al. 2017 name 20 to 300)."""


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

    References
    ----------
    Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks". The baseline is ours: black, which is
    often taken, is what no stained section shows.
    """
    baseline = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    total = np.zeros_like(images)
    for step in range(_PATH):
        share = np.float32((step + 0.5) / _PATH)
        total += input_gradient(graph, baseline + share * (images - baseline), target)
    return np.asarray(((images - baseline) * total / _PATH).sum(axis=-1))


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
