"""Which views fit the images, what share of an image they see, and which would fit all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ..data import ImageRecord, scaled_side
from ..encoders import EncoderChoice, encoder_facts
from ..featurize import FeaturizeSettings, View, crop_boxes, draw_augmentation

_SHARES = (400 / 768, 650 / 768)
"""Side of a crop over the short side of the image: those of the published views in an image of BACH."""

_SCALES = (0.5, 1.0)
"""Scales that are tried, the published one first: enlarged, an image takes more time and shows no more."""

_WANTED = 128
"""Pixels that a small crop should have, for networks that were trained on pictures of 224."""

_SMALLEST = 32
"""Pixels of the smallest crop that a view takes."""

_ODD_ONES = 0.05
"""Share of images that may be left out for two views to fit the others; for more, one will do."""

NO_SCALE = "needs micrometres per pixel, which are not known"
"""What is wrong with a view in micrometres of images that say none."""

_DRAWN = 8
"""Augmentations that are drawn to see what their crops cover."""

_GRID = 512
"""Side of the grid on which crops are laid down."""

Sizes = Mapping[str, tuple[int, int]]
"""Image id to width and height."""

Scales = Mapping[str, float | None]
"""Image id to micrometres per pixel."""


@dataclass(frozen=True)
class ViewFit:
    """How a view fits the images.

    Attributes
    ----------
    view : View
    fits : int
        Images that are large enough at its scale.
    too_small : tuple of str
        Ids of the others.
    single, together : float or None
        Share of the area of an image of median size that one crop sees, and all crops of an augmentation together; None
        where no image is large enough.
    problem : str
        Why it cannot be used whatever the images are; empty where it can.
    """

    view: View
    fits: int
    too_small: tuple[str, ...]
    single: float | None
    together: float | None
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether it can be used with all images."""
        return not self.too_small and not self.problem


@dataclass(frozen=True)
class PlannedViews:
    """Views that fit.

    Attributes
    ----------
    views : tuple of View
    left_out : int
        Images that are too small even for these.
    """

    views: tuple[View, ...]
    left_out: int


def fit_views(sizes: Sizes, *, settings: FeaturizeSettings, mpp: Scales = MappingProxyType({})) -> list[ViewFit]:
    """Say of each view how many images it fits, and what share of an image its crops see.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
        Image id to width and height in pixels.
    settings : FeaturizeSettings
        Views, crops, seed and encoders are taken from here.
    mpp : mapping of str to float or None
        Image id to micrometres per pixel, which views in micrometres need.
    """
    return [_fit(view, sizes, settings, mpp) for view in settings.views]


def _fit(view: View, sizes: Sizes, settings: FeaturizeSettings, mpp: Scales) -> ViewFit:
    large: list[tuple[int, int]] = []
    small: list[str] = []
    if view.unit and any(mpp.get(image) is None for image in sizes):
        return ViewFit(view, 0, (), None, None, NO_SCALE)
    for image, (width, height) in sizes.items():
        across, down = (scaled_side(side, view.factor(mpp.get(image))) for side in (width, height))
        if min(across, down) < view.crop:
            small.append(image)
        else:
            large.append((across, down))
    least = {choice.name: encoder_facts(choice).least for choice in settings.encoders}
    problems = [f"{name} takes no crop under {side} pixels" for name, side in least.items() if side > view.crop]
    share = together = None
    if large:
        width, height = sorted(large, key=lambda size: (size[0] * size[1], size))[len(large) // 2]
        share = view.crop**2 / (width * height)
        together = _covered(view.crop, width=width, height=height, settings=settings)
    return ViewFit(view, len(large), tuple(sorted(small)), share, together, next(iter(problems), ""))


def _covered(crop: int, *, width: int, height: int, settings: FeaturizeSettings) -> float:
    """Return the mean share of an image that the crops of an augmentation see, as they are really drawn."""
    step = max(1, math.ceil(max(width, height) / _GRID))
    rows, columns = (np.arange(step // 2, side, step) for side in (height, width))
    shares = []
    for index in range(_DRAWN):
        drawn = draw_augmentation("median", index, seed=settings.seed, color_range=settings.color_range)
        seen = np.zeros((len(rows), len(columns)), bool)
        for box in crop_boxes(drawn, height=height, width=width, crop=crop, count=settings.crops):
            inside = (rows >= box.top) & (rows < box.top + crop)
            seen |= inside[:, None] & (columns >= box.left) & (columns < box.left + crop)
        shares.append(seen.mean())
    return float(np.mean(shares))


def shown_factor(view: View, record: ImageRecord) -> float:
    """Return the factor by which a view resizes an image; 1 where its micrometres are not known, but needed."""
    return 1.0 if view.unit and record.mpp is None else view.factor(record.mpp)


def unscaled(records: Iterable[ImageRecord], views: Sequence[View]) -> str | None:
    """Say which image lacks the micrometres per pixel that a view needs; None if none does."""
    lacking = (record for record in records if record.mpp is None)
    view = next((view for view in views if view.unit), None)
    return next((view.misfit(record, width=1, height=1) for record in lacking), None) if view else None


def fitting_views(
    sizes: Sizes, *, settings: FeaturizeSettings, mpp: Scales = MappingProxyType({})
) -> PlannedViews | None:
    """Return the views as they are where they fit all images, else two that are made for the smallest image.

    Those in micrometres stay so, with the largest field that fits all images.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
    settings : FeaturizeSettings
    mpp : mapping of str to float or None
        As in `fit_views`.

    Returns
    -------
    PlannedViews or None
        None where the images are too small for any view. Where the very smallest ones are too small, a few percent of
        the images are left out.
    """
    if not sizes:
        return None
    if all(fit.whole for fit in fit_views(sizes, settings=settings, mpp=mpp)):
        return PlannedViews(settings.views, 0)
    least = max(_SMALLEST, *(encoder_facts(choice).least for choice in settings.encoders))
    if any(view.unit for view in settings.views):
        return _largest_fields(sizes, settings, mpp, least)
    short = sorted(min(size) for size in sizes.values())
    for views_wanted, most_left in ((2, _ODD_ONES * len(short)), (1, len(short))):
        for left, side in enumerate(short):
            if left and short[left - 1] == side:
                continue
            if left > most_left:
                break
            if len(views := _made_for(side, least=least)) >= views_wanted:
                fits = fit_views(sizes, settings=replace(settings, views=views))
                return PlannedViews(views, len({image for fit in fits for image in fit.too_small}))
    return None


def _largest_fields(sizes: Sizes, settings: FeaturizeSettings, mpp: Scales, least: int) -> PlannedViews | None:
    if any(mpp.get(image) is None for image in sizes):
        return None
    views = []
    for view in settings.views:
        short = min(scaled_side(min(size), view.factor(mpp[image])) for image, size in sizes.items())
        views.append(replace(view, crop=min(view.crop, short)))
    return PlannedViews(tuple(dict.fromkeys(views)), 0) if all(view.crop >= least for view in views) else None


def encoders_for_small(settings: FeaturizeSettings) -> FeaturizeSettings:
    """Return the settings with those encoders only that take the smallest crops; with MobileNetV2 if none does."""
    small = tuple(choice for choice in settings.encoders if encoder_facts(choice).least <= _SMALLEST)
    return replace(settings, encoders=small or (EncoderChoice("mobilenetv2"),))


def _made_for(side: int, *, least: int) -> tuple[View, ...]:
    """Return views with the published shares of a short side, at the first scale that gives crops of a fair size."""

    def crops(scale: float) -> list[int]:
        return [int(share * scaled_side(side, scale)) // 10 * 10 for share in _SHARES]

    scale = next((candidate for candidate in _SCALES if crops(candidate)[0] >= _WANTED), _SCALES[-1])
    sides = [crop for crop in dict.fromkeys(crops(scale)) if crop >= least]
    return tuple(View(scale, crop) for crop in sides)
