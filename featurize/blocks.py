"""How many images are described in one go, from the settings alone."""

from __future__ import annotations

import math

from ..encoders import encoder_facts
from .settings import FeaturizeSettings

_UNIT_SECONDS = 10.0
"""A unit takes at least about this long, so that starting it costs little."""

_CORE_MACS_PER_SECOND = 9e10
"""Multiply-accumulates of one present CPU core in a second (measured on a Zen 5 core, ResNet-50)."""

_IMAGE_SECONDS, _AUGMENTATION_SECONDS = 0.2, 0.02
"""Decoding and normalising an image; one augmentation with its crops (measured, 1024x768)."""

_FRAME_PIXELS = 2048 * 1536
"""Pixels of an image of BACH."""

_MOST_IMAGES = 64
"""Most images in a block: bounds its memory and what a crash costs."""


def images_per_block(settings: FeaturizeSettings) -> int:
    """Return the images in a unit, from the settings alone: some ten seconds of work on one core, at most 64.

    Examples
    --------
    >>> images_per_block(FeaturizeSettings())
    1
    """
    return max(1, min(_MOST_IMAGES, math.ceil(_UNIT_SECONDS / reckon_seconds(settings))))


def reckon_seconds(settings: FeaturizeSettings, *, pixels: int = _FRAME_PIXELS) -> float:
    """Return about how long one image takes on one present CPU core, from recorded speeds: no network is loaded.

    Parameters
    ----------
    settings : FeaturizeSettings
    pixels : int
        Of an image; those of an image of BACH by default.
    """
    seen = sum(settings.crops * view.crop**2 for view in settings.views)
    if settings.mode == "dense":
        seen = round(sum(pixels * scale**2 for scale in {view.scale for view in settings.views}))
    crops = settings.crops * len(settings.views)
    every = [encoder_facts(choice) for choice in settings.encoders]
    macs = sum(f.macs_per_pixel * seen if f.macs_per_crop is None else f.macs_per_crop * crops for f in every)
    share = pixels / _FRAME_PIXELS
    return share * _IMAGE_SECONDS + settings.augmentations * (
        share * _AUGMENTATION_SECONDS + macs / _CORE_MACS_PER_SECOND
    )
