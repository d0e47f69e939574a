"""Time and disk space of a planned `bchisto featurize`, from recorded speeds or timed on one image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..core import counted
from ..data import ImageRecord
from ..encoders import encoder_facts, gives_maps
from ..featurize import FeaturizeSettings, images_per_block, reckon_seconds, time_describing
from ..jobs import Work

_RECKONED, _TIMED = 4.0, 1.5
"""Factors by which the time can be shorter or longer: with recorded speeds, since cores differ, and with a timed image,
since images and the load of the machine differ."""

_CALL_SECONDS = 0.01
"""Seconds of an augmentation for an image of any size, in addition to the recorded speeds, which are per pixel. An IDC
patch of 50 pixels took 0.013 seconds of a busy core."""

_START_SECONDS = 12.0
"""Seconds in which a process imports and builds networks before its first image (MobileNetV2 in OpenVINO: 13 of a
core)."""

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class DescribingEstimate:
    """Estimated time and disk space of a feature extraction.

    Attributes
    ----------
    images, stores, units : int
        Numbers of images, of feature files, and of units (blocks of images).
    processes : int
        Number of processes of this machine that the estimate assumes.
    seconds, shortest, longest : float
        Time with these processes, and the range in which it plausibly is.
    bytes : int or None
        Size of the feature files; None if the number of features is unknown until the network is built.
    timed : bool
        Whether the time was measured on an image; otherwise it comes from recorded speeds of CPU cores.
    gpus : int
        Number of GPUs that the networks would use, if the time was measured.
    dense : float or None
        Time with ``mode="dense"``, from the same recorded speeds. None if dense mode is planned, the time was measured,
        or an encoder has no feature maps.
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
    """Estimate the time and disk space of a feature extraction.

    Parameters
    ----------
    record : ImageRecord or None
        An image of median size; with `timed`, its features are extracted.
    images : int
        Number of images.
    pixels : int
        Number of pixels of an image of median size.
    settings : FeaturizeSettings
    work : Work
        Sets the number of processes.
    timed : bool
        Load the networks, and measure the time of one image with a few augmentations.

    Raises
    ------
    ImageError
        The image cannot be used (only with `timed`).
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
    """Return a duration as text, rounded as roughly as an estimate.

    Examples
    --------
    >>> duration(50), duration(5000), duration(50_000), duration(500_000)
    ('50 seconds', '83 minutes', '14 hours', '6 days')
    """
    for unit, length, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48)):
        if seconds < most * length:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 86400), "day")
