"""Plans a feature extraction: settings that fit the images, its time and its disk space."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...core import InputError, Message, PathInput, counted
from ...core.jobs import Work, cpu_resources, network_resources
from ...data import ImageRecord, ImageSelection, read_headers
from ...encoders import encoder_facts
from ...featurize import FeaturizeSettings, images_per_block, reckon_seconds, time_describing
from .views import Sizes, fit_views, fitted, measured, too_small, unscaled

_RECKONED, _TIMED = 4.0, 1.5
"""Factors by which the time can be shorter or longer: with recorded speeds, since cores differ, and with a timed image,
since images and the load of the machine differ."""

_START_SECONDS = 12.0
"""Seconds in which a process imports and builds networks before its first image (MobileNetV2 in OpenVINO: 13 of a
core)."""

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class DescribingEstimate:
    """Estimated time and disk space of a feature extraction.

    Attributes
    ----------
    images, stores : int
        Numbers of images and of feature files.
    processes : int
        Number of processes of this machine that the estimate assumes.
    seconds, shortest, longest : float
        Time with these processes, and the range in which it plausibly is.
    bytes : int or None
        Size of the feature files; None if the number of features is unknown until the network is built.
    timed : bool
        Whether the time was measured on an image; otherwise it comes from recorded speeds of CPU cores.
    """

    images: int
    stores: int
    processes: int
    seconds: float
    shortest: float
    longest: float
    bytes: int | None
    timed: bool


def estimate_describing(
    records: Sequence[ImageRecord], sizes: Sizes, settings: FeaturizeSettings, work: Work, *, timed: bool = False
) -> DescribingEstimate | None:
    """Estimate the time and disk space of a feature extraction from an image of median size.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images that fit all views.
    sizes : mapping of str to (int, int)
    settings : FeaturizeSettings
    work : Work
        Sets the number of processes.
    timed : bool
        Load the networks, and measure the time of one image with a few augmentations.

    Returns
    -------
    DescribingEstimate or None
        None if there are no images.

    Raises
    ------
    ImageError
        The image cannot be used (only with `timed`).
    """
    if not records:
        return None
    areas = {record.image_id: math.prod(sizes[record.image_id]) for record in records}
    record = sorted(records, key=lambda one: (areas[one.image_id], one.image_id))[len(records) // 2]
    dims = [encoder_facts(choice).dim for choice in settings.encoders]
    numbers = None if None in dims else settings.augmentations * len(settings.views) * sum(filter(None, dims))
    if timed:
        cost = time_describing(record, settings=settings)
        resources, factor, each, numbers = network_resources(work.jobs), _TIMED, cost.seconds, cost.numbers
    else:
        each = reckon_seconds(settings, pixels=areas[record.image_id], mpp=record.mpp)
        resources, factor = cpu_resources(work.jobs), _RECKONED
    images = len(records)
    processes = max(1, min(resources.processes, math.ceil(images / images_per_block(settings))))
    seconds = _START_SECONDS + images / processes * each
    stores = len(settings.encoders) * len(settings.views)
    size = None if numbers is None else _FLOAT_BYTES * images * numbers
    return DescribingEstimate(images, stores, processes, seconds, seconds / factor, seconds * factor, size, timed)


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


def plan_describing(
    images: ImageSelection | PathInput,
    settings: FeaturizeSettings,
    *,
    fit: bool = True,
    keep: Collection[str] = (),
    work: Work | None = None,
) -> tuple[FeaturizeSettings, DescribingEstimate | None]:
    """Return settings with views that fit the images, and an estimate for them; this reads all image headers.

    Parameters
    ----------
    images : ImageSelection or path
    settings : FeaturizeSettings
        See `bchisto.apps.check.views.fitted`.
    fit : bool
        Whether to adapt the settings.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.
    work : Work, optional
        Sets the number of processes.

    Returns
    -------
    settings : FeaturizeSettings
    estimate : DescribingEstimate or None
        None if no image fits the views.

    Raises
    ------
    InputError
        The images are too small for any view.
    """
    dataset = ImageSelection.of(images).table()
    dataset, sizes = measured(dataset, read_headers(dataset.records))
    planned, fits = (
        fitted(dataset, sizes, settings, keep=keep) if fit else (settings, fit_views(dataset, sizes, settings))
    )
    if not fits:
        small = Message("{}: no view fits these images: every one is too small for {encoders}", dataset.root)
        raise InputError("{}", unscaled(dataset.records, settings.views) or small)
    used = sizes.keys() - too_small(fits)
    records = [record for record in dataset.records if record.image_id in used]
    return planned, estimate_describing(records, sizes, planned, work or Work())
