"""What the planned `bchisto featurize` will take: reckoned from recorded speeds, or timed on one image here and now."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..core import counted
from ..data import ImageRecord
from ..encoders import encoder_facts, gives_maps
from ..featurize import FeaturizeSettings, images_per_block, reckon_seconds, time_describing
from ..jobs import Work

_RECKONED, _TIMED = 4.0, 1.5
"""Factors by which the time may be shorter or longer: of recorded speeds, since cores differ, and of a timed image,
since images and the load of a machine do."""

_CALL_SECONDS = 0.01
"""What an augmentation takes however small the image is, beside the recorded speeds, which are by the pixel; an IDC
patch of 50 pixels took 0.013 of a busy core."""

_START_SECONDS = 12.0
"""What a process takes to import and build networks before its first image (MobileNetV2 by OpenVINO: 13 of a core)."""

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class DescribingEstimate:
    """What describing the images will take.

    Attributes
    ----------
    images, stores, units : int
    processes : int
        Of this machine that it is reckoned for.
    seconds, shortest, longest : float
        Time on these processes, and between what it may lie.
    bytes : int or None
        Of the finished stores; None where a network's descriptors must be built to be known.
    timed : bool
        Whether an image was described to know; else the time is from recorded speeds of CPU cores.
    gpus : int
        That the networks would run on, where timed.
    dense : float or None
        The time that ``mode="dense"`` would take, by the same recorded speeds; None where that is planned or timed,
        or where an encoder has no feature maps.
    """

    images: int
    stores: int
    units: int
    processes: int
    seconds: float
    shortest: float
    longest: float
    bytes: int | None
    timed: bool
    gpus: int = 0
    dense: float | None = None


def estimate_describing(
    record: ImageRecord | None,
    *,
    images: int,
    pixels: int,
    settings: FeaturizeSettings,
    work: Work,
    timed: bool = False,
) -> DescribingEstimate:
    """Estimate time and disk of describing images.

    Parameters
    ----------
    record : ImageRecord or None
        An image of median size, which is described where `timed`.
    images : int
        How many will be described.
    pixels : int
        Of that image.
    settings : FeaturizeSettings
    work : Work
        On how many processes.
    timed : bool
        Load the networks and describe the image with few augmentations.

    Raises
    ------
    ImageError
        The image cannot be used, where `timed`.
    """
    size: int | None = None
    if timed and record is not None:
        resources = work.networks()
        cost = time_describing(record, settings=settings)
        each, factor = cost.seconds, _TIMED
        size = _FLOAT_BYTES * images * cost.numbers
    else:
        resources = work.cpu()
        mpp = None if record is None else record.mpp
        each, factor = reckon_seconds(settings, pixels=pixels, mpp=mpp), _RECKONED
        dims = [dim for choice in settings.encoders if (dim := encoder_facts(choice).dim) is not None]
        if len(dims) == len(settings.encoders):
            size = _FLOAT_BYTES * images * settings.augmentations * len(settings.views) * sum(dims)
    units = math.ceil(images / images_per_block(settings))
    processes = max(1, min(resources.processes, units))
    seconds = _START_SECONDS + images / processes * each
    dense = None
    if not timed and settings.mode == "exact" and all(map(gives_maps, settings.encoders)):
        dense_each = reckon_seconds(replace(settings, mode="dense"), pixels=pixels, mpp=mpp)
        dense = _START_SECONDS + images / processes * dense_each
    return DescribingEstimate(
        images,
        len(settings.encoders) * len(settings.views),
        units,
        processes,
        seconds,
        seconds / factor,
        seconds * factor,
        size,
        timed,
        len(resources.gpus),
        dense,
    )


def duration(seconds: float) -> str:
    """Write a time no finer than an estimate is.

    Examples
    --------
    >>> duration(50), duration(5000), duration(50_000), duration(500_000)
    ('50 seconds', '83 minutes', '14 hours', '6 days')
    """
    for unit, length, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48)):
        if seconds < most * length:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 86400), "day")
