"""Which views fit the images, what share of an image they see, and which would fit all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..data import scaled_side
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

_DRAWN = 8
"""Augmentations that are drawn to see what their crops cover."""

_GRID = 512
"""Side of the grid on which crops are laid down."""

Sizes = Mapping[str, tuple[int, int]]
"""Image id to width and height."""


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


def fit_views(sizes: Sizes, *, settings: FeaturizeSettings) -> list[ViewFit]:
    """Say of each view how many images it fits, and what share of an image its crops see.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
        Image id to width and height in pixels.
    settings : FeaturizeSettings
        Views, crops, seed and encoders are taken from here.
    """
    return [_fit(view, sizes, settings) for view in settings.views]


def _fit(view: View, sizes: Sizes, settings: FeaturizeSettings) -> ViewFit:
    large: list[tuple[int, int]] = []
    small: list[str] = []
    for image, (width, height) in sizes.items():
        across, down = scaled_side(width, view.scale), scaled_side(height, view.scale)
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


def fitting_views(sizes: Sizes, *, settings: FeaturizeSettings) -> PlannedViews | None:
    """Return the views as they are where they fit all images, else two that are made for the smallest image.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
    settings : FeaturizeSettings

    Returns
    -------
    PlannedViews or None
        None where the images are too small for any view. Where the very smallest ones are too small, a few percent of
        the images are left out.
    """
    if not sizes:
        return None
    if all(fit.whole for fit in fit_views(sizes, settings=settings)):
        return PlannedViews(settings.views, 0)
    least = max(_SMALLEST, *(encoder_facts(choice).least for choice in settings.encoders))
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
