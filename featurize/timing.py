"""What describing images will take, from one image that is described here and now."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..data import ImageRecord
from ..encoders import cached_encoder, gives_maps
from ..jobs import Ticker
from .settings import FeaturizeSettings
from .stream import describe_images

_FEW, _MORE = 1, 3
"""Augmentations of the two timed units; their difference is the cost of one (ours)."""


@dataclass(frozen=True)
class DescribingCost:
    """What one image costs: seconds of one process, and numbers in its rows of all stores."""

    seconds: float
    numbers: int


def time_describing(record: ImageRecord, *, settings: FeaturizeSettings) -> DescribingCost:
    """Describe an image with few augmentations, and scale that up.

    Parameters
    ----------
    record : ImageRecord
    settings : FeaturizeSettings
        Weights of networks with feature maps are random here, since neither time nor size depends on them.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    encoders = {
        choice: cached_encoder(
            choice,
            weights="random" if gives_maps(choice) else settings.weights_of(choice.label),
            precision="float32",
            engine="keras",
            seed=0,
        )
        for choice in settings.encoders
    }
    targets = {
        f"{choice}-{view.crop}-{view.scale}": (encoders[choice], view)
        for choice in settings.encoders
        for view in settings.views
    }
    crops = min(settings.crops, settings.batch_size)

    def describe(augmentations: int) -> float:
        started = time.perf_counter()
        small = replace(settings, augmentations=augmentations, crops=crops)
        list(describe_images([record], settings=small, targets=targets, ticker=Ticker(None)))
        return time.perf_counter() - started

    describe(1)  # compiles
    few, more = describe(_FEW), describe(_MORE)
    one = max(0.0, more - few) / (_MORE - _FEW)
    image = max(0.0, few - _FEW * one) + settings.augmentations * one * settings.crops / crops
    return DescribingCost(image, settings.augmentations * sum(encoder.dim for encoder, _ in targets.values()))
