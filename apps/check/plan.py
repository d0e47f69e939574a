"""Plans a feature extraction: settings that fit the images, its time and its disk space."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core import InputError, PathInput, counted
from ...core.formats import ImageHeader
from ...core.jobs import Work, cpu_resources, network_resources
from ...data import Dataset, ImageRecord, ImageSelection, find_layout, read_headers, scaled_side
from ...encoders import encoder_facts, gives_maps
from ...featurize import (
    PRESETS,
    FeaturizeSettings,
    defaults_text,
    encoder_defaults,
    images_per_block,
    preset_options,
    reckon_seconds,
    resolve_settings,
    time_describing,
)
from .views import PlannedViews, Sizes, encoders_for_small, fitting_views, shown_factor, unscaled

_log = logging.getLogger(__name__)

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
    records: Sequence[ImageRecord], sizes: Sizes, settings: FeaturizeSettings, work: Work, *, timed: bool = False
) -> DescribingEstimate | None:
    """Estimate the time and disk space of a feature extraction from an image of median size.

    Parameters
    ----------
    records : sequence of ImageRecord
    sizes : mapping of str to (int, int)
        Image ID to width and height in pixels.
    settings : FeaturizeSettings
    work : Work
        Sets the number of processes.
    timed : bool
        Load the networks, and measure the time of one image with a few augmentations.

    Returns
    -------
    DescribingEstimate or None
        None if no image fits all views.

    Raises
    ------
    ImageError
        The image cannot be used (only with `timed`).
    """
    usable = []
    for image in records:
        width, height = sizes.get(image.image_id, (0, 0))
        if all(scaled_side(min(width, height), shown_factor(view, image)) >= view.crop for view in settings.views):
            usable.append((width * height, image.image_id, image))
    if not usable:
        return None
    pixels, _, record = sorted(usable, key=lambda item: item[:2])[len(usable) // 2]
    images, views, dense_each = len(records), len(settings.views), None
    size: int | None = None
    if timed:
        resources, factor = network_resources(work.jobs), _TIMED
        cost = time_describing(record, settings=settings)
        each, size = cost.seconds, _FLOAT_BYTES * images * cost.numbers
    else:
        resources, factor = cpu_resources(work.jobs), _RECKONED
        each = reckon_seconds(settings, pixels=pixels, mpp=record.mpp)
        dims = [encoder_facts(choice).dim for choice in settings.encoders]
        if None not in dims:
            size = _FLOAT_BYTES * images * settings.augmentations * views * sum(dim or 0 for dim in dims)
        if settings.mode == "exact" and all(map(gives_maps, settings.encoders)):
            dense_each = reckon_seconds(replace(settings, mode="dense"), pixels=pixels, mpp=record.mpp)
    units = math.ceil(images / images_per_block(settings))
    processes = max(1, min(resources.processes, units))
    seconds = _START_SECONDS + images / processes * each
    return DescribingEstimate(
        images=images,
        stores=len(settings.encoders) * views,
        units=units,
        processes=processes,
        seconds=seconds,
        shortest=seconds / factor,
        longest=seconds * factor,
        bytes=size,
        timed=timed,
        gpus=len(resources.gpus),
        dense=None if dense_each is None else _START_SECONDS + images / processes * dense_each,
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


def chosen_settings(
    options: Mapping[str, Any], *, keep: Collection[str], here: bool = True
) -> tuple[FeaturizeSettings, bool, bool]:
    """Return the settings of some options, see `bchisto.featurize.resolve_settings`, and say what an encoder brings.

    Returns
    -------
    FeaturizeSettings
    bool
        Whether views are still to be chosen.
    bool
        Whether an encoder brings defaults of its own.
    """
    brought = encoder_defaults(options, keep=keep)
    settings, automatic = resolve_settings(options, here=here, brought=brought)
    if brought:
        _log.info("%s", defaults_text(brought, settings))
    return settings, automatic, bool(brought)


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
        The views are kept if they fit all images; otherwise there are at most as many. If no view fits the encoders,
        encoders for small crops replace them. For images without stain, stain normalisation is turned off.
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
    if fit:
        settings, fitting = fitted(dataset, sizes, settings, keep=keep)
        if fitting is None and (lacking := unscaled(dataset.records, settings.views)) is not None:
            raise InputError("{}", lacking)
        if fitting is None:
            raise InputError("{}: no view fits these images: every one is too small for {encoders}", dataset.root)
    records = [record for record in dataset.records if record.image_id in sizes]
    return settings, estimate_describing(records, sizes, settings, work or Work())


def measured(dataset: Dataset, headers: Mapping[str, ImageHeader]) -> tuple[Dataset, dict[str, tuple[int, int]]]:
    """Return the dataset with micrometres per pixel from the headers, and the sizes of images with a known header."""
    sizes = {
        record.image_id: record.sides(header.width, header.height)
        for record in dataset.records
        if (header := headers.get(record.image_id)) is not None
    }
    records = tuple(record.scaled_by(headers.get(record.image_id)) for record in dataset.records)
    return replace(dataset, records=records), sizes


def fitted(
    dataset: Dataset, sizes: Sizes, requested: FeaturizeSettings, *, keep: Collection[str] = ()
) -> tuple[FeaturizeSettings, PlannedViews | None]:
    """Return settings with views that fit, encoders for them, and no stain normalisation for images without stain."""
    mpp = {record.image_id: record.mpp for record in dataset.records}
    planned, fitting = requested, fitting_views(sizes, settings=requested, mpp=mpp)
    if fitting is None and "encoders" not in keep:
        planned = encoders_for_small(requested)
        fitting = fitting_views(sizes, settings=planned, mpp=mpp)
    if fitting is None:
        planned = requested
    else:
        fitting = replace(fitting, views=fitting.views[: len(requested.views)])
        planned = replace(planned, views=fitting.views)
    layout = find_layout(dataset.name)
    if layout is not None and not layout.stained and "stain" not in keep:
        planned = replace(planned, stain="none", color_range=(1.0, 1.0))
    return planned, fitting


def preset_seconds(dataset: Dataset, sizes: Sizes, work: Work) -> Iterator[tuple[str, float]]:
    """Yield each preset that has views for these images, and the seconds of its feature extraction."""
    for name in PRESETS:
        settings, _ = resolve_settings(preset_options(name), here=False)
        planned, fitting = fitted(dataset, sizes, settings)
        cost = None if fitting is None else estimate_describing(dataset.records, sizes, planned, work)
        if cost is not None:
            yield name, cost.seconds
