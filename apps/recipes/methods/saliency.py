"""Saliency maps of the published system ``ddsm-masses``: the gradient of the unnormalised score of a class."""

from __future__ import annotations

import numpy as np

from ...explain import METHODS, Floats, Graph, Method, input_gradient


def saliency(graph: Graph, images: Floats, target: int, tensor: int | None = None) -> Floats:
    """Return the largest absolute gradient over the colour channels of each pixel, shape (n, size, size).

    The score is the input of the softmax. `gradient` of `bchisto.apps.explain` subtracts the mean over the classes from
    it, which does not change probabilities, but the map.

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
