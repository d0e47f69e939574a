"""Plans a feature extraction: views that fit the images, and its disk space."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...core import BchistoError, InputError, Message, PathInput
from ...data import Dataset, ImageRecord, ImageSelection, get_layout, scaled_side, with_headers
from ...encoders import BUILT_IN, EncoderChoice, encoder_facts
from ...featurize import FeaturizeSettings, View, estimate_describing

_log = logging.getLogger(__name__)

_SHARES = (400 / 768, 650 / 768)
"""Side of a crop divided by the short side of the image, for the published views of an image of BACH."""

_SCALES = (0.5, 1.0)
"""Scales to try, the published one first. A scale above 1 would cost time without showing more."""

_WANTED = 128
"""Side in pixels that the smaller crop should at least have, since networks were trained on images of 224 pixels."""

_SMALLEST = 32
"""Side in pixels of the smallest possible crop."""

_ODD_ONES = 0.05
"""Fraction of images that may be left out so that two views fit the others; otherwise one view is used."""

Sizes = Mapping[str, tuple[int, int]]
"""Image ID to width and height in pixels."""


@dataclass(frozen=True)
class ViewFit:
    """How a view fits the images.

    Attributes
    ----------
    view : str
        As the option has it: scale and crop.
    fits : int
        Number of images that are large enough at its scale.
    too_small : tuple of str
        IDs of the other images, in the order of the sizes.
    problem : str
        The reason why it cannot be used at all; empty if it can.
    """

    view: str
    fits: int
    too_small: tuple[str, ...]
    problem: str


def fit_views(dataset: Dataset, sizes: Sizes, settings: FeaturizeSettings) -> tuple[ViewFit, ...]:
    """Return how each view fits images of these sizes, and the encoders of the settings."""
    least = {choice.name: encoder_facts(choice).least for choice in settings.encoders}
    fits = []
    for view in settings.views:
        sides = _short_sides(view, dataset, sizes)
        if sides is None:
            fits.append(
                ViewFit(str(view), 0, (), "needs micrometres per pixel, which are not known")
            )
            continue
        small = tuple(image for image, side in sides.items() if side < view.crop)
        problems = (
            f"{name} takes no crop under {side} pixels"
            for name, side in least.items()
            if side > view.crop
        )
        fits.append(ViewFit(str(view), len(sizes) - len(small), small, next(problems, "")))
    return tuple(fits)


def _short_sides(view: View, dataset: Dataset, sizes: Sizes) -> dict[str, int] | None:
    """Return the shorter sides of images at the scale of a view; None if that is not known of one."""
    mpp = {record.image_id: record.mpp for record in dataset.records}
    if view.unit and None in map(mpp.get, sizes):
        return None
    return {
        image: scaled_side(min(size), view.factor(mpp.get(image))) for image, size in sizes.items()
    }


def shown_factor(view: View, record: ImageRecord) -> float:
    """Return the factor by which a view resizes an image; 1 if it depends on micrometres per pixel that are unknown."""
    if view.unit and record.mpp is None:
        return 1.0
    return view.factor(record.mpp)


def unscaled(records: Iterable[ImageRecord], views: Sequence[View]) -> str | None:
    """Return a message on the first image without micrometres per pixel, if a view needs them; else None."""
    for view, record in itertools.product(views, records):
        if view.unit and record.mpp is None:
            return view.misfit(record, width=1, height=1)
    return None


def sizes_of(dataset: Dataset) -> Sizes:
    """Return the sizes of images with a known header."""
    return {
        record.image_id: record.sides(record.header.width, record.header.height)
        for record in dataset.records
        if record.header
    }


def fitting_views(dataset: Dataset, sizes: Sizes, settings: FeaturizeSettings) -> tuple[View, ...]:
    """Return the views unchanged if they fit all images, else at most two views that fit the smallest image.

    Views in micrometres keep their scale, and get the largest crop that fits all images.

    Returns
    -------
    tuple of View
        Empty if the images are too small for any view. A few percent of the images may be too small for two views that
        fit the others.
    """
    if not sizes:
        return ()
    if not any(fit.too_small or fit.problem for fit in fit_views(dataset, sizes, settings)):
        return settings.views
    least = max(_SMALLEST, *(encoder_facts(choice).least for choice in settings.encoders))
    if any(view.unit for view in settings.views):
        return _cut_down(settings.views, dataset, sizes, least)
    sides = sorted(min(size) for size in sizes.values())
    # two views that fit all but the odd ones, else one that fits all
    odd = sides[: int(_ODD_ONES * len(sides)) + 1]
    for wanted, smallest in ((2, odd), (1, sides)):
        for side in dict.fromkeys(smallest):
            views = _made_for(side, least)
            if len(views) >= wanted:
                return views
    return ()


def _cut_down(
    views: Sequence[View], dataset: Dataset, sizes: Sizes, least: int
) -> tuple[View, ...]:
    """Return views at their scale with crops that fit all images; none if one is smaller than the least crop."""
    smaller: dict[View, None] = {}
    for view in views:
        sides = _short_sides(view, dataset, sizes)
        if sides is None:
            return ()
        smaller[replace(view, crop=min(view.crop, *sides.values()))] = None
    if min(view.crop for view in smaller) < least:
        return ()
    return tuple(smaller)


def _made_for(side: int, least: int) -> tuple[View, ...]:
    """Return views with the published fractions of a short side, at the first scale with crops of sufficient size."""
    for scale in _SCALES:
        crops = [int(share * scaled_side(side, scale)) // 10 * 10 for share in _SHARES]
        if crops[0] >= _WANTED:
            break
    return tuple(View(scale, crop) for crop in dict.fromkeys(crops) if crop >= least)


def fitted(
    dataset: Dataset, sizes: Sizes, requested: FeaturizeSettings, *, keep: Collection[str]
) -> tuple[FeaturizeSettings, tuple[ViewFit, ...]]:
    """Return settings with views that fit, encoders for them, and no stain normalisation for images without stain.

    Parameters
    ----------
    dataset : Dataset
    sizes : mapping of str to (int, int)
    requested : FeaturizeSettings
        If no view fits its encoders, only those for the smallest crops remain, or MobileNetV2 if there are none.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.

    Returns
    -------
    FeaturizeSettings
        With at most as many views.
    tuple of ViewFit
        How these fit; empty if no view does.
    """
    planned = requested
    views = fitting_views(dataset, sizes, requested)
    if not views and "encoders" not in keep:
        small = tuple(
            choice for choice in requested.encoders if encoder_facts(choice).least <= _SMALLEST
        )
        smaller = replace(requested, encoders=small or (EncoderChoice("mobilenetv2"),))
        views = fitting_views(dataset, sizes, smaller)
        if views:
            planned = smaller
    planned = replace(planned, views=views[: len(requested.views)] or requested.views)
    fits = fit_views(dataset, sizes, planned) if views else ()
    if not get_layout(dataset.name).stained and "stain" not in keep:
        planned = replace(planned, stain="none", color_range=(1.0, 1.0))
    return planned, fits


@dataclass(frozen=True)
class DescribingEstimate:
    """Estimated size of a feature extraction.

    Attributes
    ----------
    images, stores : int
        Numbers of images and of feature files.
    bytes : int or None
        Size of the feature files; None if an encoder cannot be opened, or the first image not be used.
    seconds : float or None
        Time by the clock, measured with the first image; None as for the size.
    """

    images: int
    stores: int
    bytes: int | None = None
    seconds: float | None = None


def measure_describing(
    records: Sequence[ImageRecord], settings: FeaturizeSettings
) -> DescribingEstimate:
    """Measure the time and the size of the features of images, see `bchisto.featurize.estimate_describing`."""
    # the time does not depend on the weights, which a check does not download
    weights = tuple(
        f"{choice.name}=random" for choice in settings.encoders if choice.name in BUILT_IN
    )
    estimate = DescribingEstimate(len(records), len(settings.encoders) * len(settings.views))
    try:
        cost = estimate_describing(records, replace(settings, weights=weights or settings.weights))
    except BchistoError as error:
        _log.info("%s", error)
        return estimate
    return replace(estimate, bytes=4 * cost.numbers, seconds=cost.seconds)


def plan_describing(
    images: ImageSelection | PathInput, settings: FeaturizeSettings, *, keep: Collection[str] = ()
) -> FeaturizeSettings:
    """Return settings with views that fit the images; this reads all image headers.

    Parameters
    ----------
    images : ImageSelection or path
    settings : FeaturizeSettings
        See `fitted`.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.

    Raises
    ------
    InputError
        The images are too small for any view.
    """
    dataset = ImageSelection.of(images).table()
    dataset = replace(dataset, records=tuple(with_headers(dataset.records)))
    planned, fits = fitted(dataset, sizes_of(dataset), settings, keep=keep)
    if not fits:
        small = Message(
            "{}: no view fits these images: every one is too small for {encoders}", dataset.root
        )
        raise InputError("{}", unscaled(dataset.records, settings.views) or small)
    return planned
