"""What a network is: how it is built, and how its source trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CaffeLayers:
    """Where a published Caffe model holds the weights of a network.

    Attributes
    ----------
    names : mapping of str to str
        Our layer to theirs. Two layers of ours that end in ``_a`` and ``_b`` are the halves of a grouped one, which
        stands here without them.
    flattened : mapping of str to int
        Fully connected layers behind a feature map, each with the channels of that map: it is flattened by channel
        there, by place here.
    """

    names: Mapping[str, str]
    flattened: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkSpec:
    """A network and how its source trains it.

    Attributes
    ----------
    name : str
        What ``network`` takes, lower case.
    build : callable
        ``build(classes=..., size=..., dropout=..., l2=...)`` returns a Keras model from float RGB in 0..255, shape
        (n, size, size, 3), to probabilities (n, classes). Without `dropout` and `l2` it takes those of its source. Only
        networks with `caffe` need take ``convention=...``: ``signed`` input in -1..1, or ``caffe``.
    size : int
        Side of its input, pixels.
    optimizer : {"adam", "sgd"}
    learning_rate : float
        Learning rate.
    batch_size : int
    weights : str
        What it starts from where nothing else is asked for: ``random``, or ``imagenet`` of an encoder.
    caffe : CaffeLayers or None
        Its layers in the published Caffe model, where there is one.
    source : str
        Where these stand; ``ours`` where the source is silent.
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
