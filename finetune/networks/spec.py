"""The specification of a network: how it is built, and how its source trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CaffeLayers:
    """Layer names by which a published Caffe model holds the weights of a network.

    Attributes
    ----------
    names : mapping of str to str
        bchisto's layer to the Caffe layer. Two layers of bchisto that end in ``_a`` and ``_b`` are the halves of a
        grouped layer, which is listed here without the ending.
    flattened : mapping of str to int
        Fully connected layers after a feature map, with the number of channels of that map. Caffe flattens it channel
        by channel, Keras position by position.
    """

    names: Mapping[str, str]
    flattened: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkSpec:
    """A network and how its source trains it.

    Attributes
    ----------
    name : str
        Name for the option ``network``, in lower case.
    build : callable
        ``build(classes=..., size=..., dropout=..., l2=...)`` returns a Keras model from float RGB in 0..255, shape
        (n, size, size, 3), to probabilities (n, classes). `dropout` and `l2` default to those of its source. A
        network whose batch normalisation has a momentum of its own also accepts ``norm_momentum=...``. Only networks
        with `caffe` must accept ``convention=...``: ``signed`` input in -1..1, or ``caffe``.
    size : int
        Side of its input, in pixels.
    optimizer : {"adam", "sgd"}
    learning_rate : float
        Learning rate.
    batch_size : int
    weights : str
        Default initial weights: ``random``, or ``imagenet`` for an encoder.
    caffe : CaffeLayers or None
        Its layers in the published Caffe model, if there is one.
    source : str
        Publication of the network and its training; ``ours`` if it is bchisto's choice.
    """

    name: str
    build: Callable[..., Any]
    size: int
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 32
    weights: str = "random"
    caffe: CaffeLayers | None = None
    source: str = "ours"
