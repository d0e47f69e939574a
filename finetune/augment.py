"""Augment training images, seeded per seed, image and epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import InputError, one_of
from ..core.formats import Pixels
from ..stains import augment_he

AUGMENTATIONS = {
    "isometries": "the eight isometries of the square",
    "mirror": "mirroring left and right",
    "rotation": "rotation by up to {0:g} degrees",
    "translation": "translation by up to {1:g} % of the side",
    "magnification": "magnification by up to {1:g} %",
    "brightness": "brightness and contrast by up to {1:g} %",
    "noise": "Gaussian noise of up to {1:g} % of full scale",
    "crop": "crops of at least {1:g} % of the area",
    "stain": "factors of 0.7 to 1.3 for haematoxylin and eosin",
}
"""The augmentations in the order in which they are applied, and a text that takes the range, also in percent.

Rotation, shift and zoom are around the centre, mirrored beyond the edges. Noise is one value per pixel if the image is
grey. Equal colour channels stay equal under all of them except ``stain``."""

RANGES = {
    "rotation": 15.0,
    "translation": 0.1,
    "magnification": 0.1,
    "brightness": 0.2,
    "noise": 0.05,
    "crop": 0.7,
}
"""Default ranges of the augmentations that accept one.

``rotation``: degrees in either direction. ``translation``: fraction of the side in either direction, along both axes.
``magnification``: largest fraction by which the image is enlarged or reduced. ``brightness``: change of brightness and
of contrast in either direction. ``noise``: largest standard deviation as a fraction of the full scale; the smallest is
a fifth of it. ``crop``: smallest fraction of the area; the largest is 1."""

_LIMITS = {"rotation": 180.0, "translation": 0.5, "magnification": 0.9}
"""Largest permitted ranges; 1 for the others."""

OFFLINE = "rotations-crops"
"""Several rotations of each image and several crops of each rotation, within its file, the same in every epoch.

The published system ``ddsm-masses``, sec. 4.2, computes them before training."""

NAMES = (*AUGMENTATIONS, OFFLINE)

_COLOR_RANGE = (0.7, 1.3)
"""Range of the stain factors. Rakhlin et al. 2018, sec. 2.3; the other ranges are bchisto's choice."""


def augmentation_ranges(names: Sequence[str]) -> dict[str, float | None]:
    """Parse augmentations, ``NAME`` or ``NAME:RANGE``; the range of those without one is None.

    Raises
    ------
    InputError
        There is no such augmentation, its range is invalid, or it is given twice with different ranges.

    Examples
    --------
    >>> augmentation_ranges(["rotation:10", "noise", "mirror"])
    {'rotation': 10.0, 'noise': 0.05, 'mirror': None}
    """
    ranges: dict[str, float | None] = {}
    for text in names:
        name, colon, number = text.partition(":")
        value = RANGES.get(name)
        if name not in NAMES:
            raise InputError("{augmentations} {}: {}", text, one_of(name, NAMES))
        if colon and value is None:
            takers = ", ".join(RANGES)
            raise InputError(
                "{augmentations} {}: {} takes no range; those that do are {}", text, name, takers
            )
        if colon:
            value = _range(text, name, number)
        if ranges.setdefault(name, value) != value:
            raise InputError(
                "{augmentations} {}: {} is there with another range; keep one", text, name
            )
    return ranges


def _range(text: str, name: str, number: str) -> float:
    """Return the range that an augmentation is given; refuse what is no number, or is too large."""
    largest = _LIMITS.get(name, 1.0)
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value <= largest:  # also not a number
        raise InputError(
            "{augmentations} {}: write {}:RANGE with a number above 0 and up to {:g}, such as {}:{:g}",
            text,
            name,
            largest,
            name,
            RANGES[name],
        )
    return value


def plain_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return augmentations as they are written in files: with a range only if it is not the default.

    Examples
    --------
    >>> plain_names(("mirror", "rotation:15", "noise:0.10"))
    ('mirror', 'rotation', 'noise:0.1')
    """
    ranges = augmentation_ranges(names)
    return tuple(
        name if value == RANGES.get(name) else f"{name}:{value:g}" for name, value in ranges.items()
    )


def make_augmenter(
    names: Sequence[str], *, size: int
) -> Callable[[Pixels, np.random.SeedSequence], Pixels]:
    """Return a function that augments an image (size, size, 3); its random choices depend only on a seed sequence.

    Parameters
    ----------
    names : sequence of str
        Names from `AUGMENTATIONS`, optionally with a range. They are applied in the order of that list.
    size : int
        Side of the images, in pixels.

    Raises
    ------
    InputError
        See `augmentation_ranges`.
    """
    ranges = augmentation_ranges(names)
    colours = _composed(ranges, size=size, per_channel=True)
    grey = _composed(ranges, size=size, per_channel=False)

    def augment(image: Pixels, sequence: np.random.SeedSequence) -> Pixels:
        words = sequence.generate_state(3)
        if "stain" in ranges:
            haem, eosin = np.random.default_rng(words[1:]).uniform(*_COLOR_RANGE, size=2).tolist()
            image = augment_he(np.ascontiguousarray(image), hematoxylin=haem, eosin=eosin)
        is_grey = "noise" in ranges and (image == image[:, :, :1]).all()
        composed = grey if is_grey else colours
        composed.set_random_seed(int(words[0]))
        return np.asarray(composed(image=np.ascontiguousarray(image))["image"], dtype=np.uint8)

    return augment


def _composed(ranges: dict[str, float | None], *, size: int, per_channel: bool) -> Any:
    """Return the transformations in the order of `AUGMENTATIONS`. Rotation, shift and zoom are a single one."""
    import cv2

    # otherwise the package looks for updates on the network
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as package

    far = RANGES | {name: value for name, value in ranges.items() if value is not None}
    turn, shift, zoom = (
        far[name] if name in ranges else 0.0
        for name in ("rotation", "translation", "magnification")
    )
    warp = package.Affine(
        rotate=(-turn, turn),
        translate_percent=(-shift, shift),
        scale=(1.0 - zoom, 1.0 + zoom),
        keep_ratio=True,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1.0,
    )
    if turn and not (shift or zoom):
        warp = package.Rotate(limit=turn, border_mode=cv2.BORDER_REFLECT_101, p=1.0)
    light = far["brightness"]
    noise = far["noise"]
    steps = {
        "isometries": package.D4(p=1.0),
        "mirror": package.HorizontalFlip(p=0.5),
        **dict.fromkeys(("rotation", "translation", "magnification"), warp),
        "brightness": package.RandomBrightnessContrast(
            brightness_limit=light, contrast_limit=light, p=1.0
        ),
        "noise": package.GaussNoise(std_range=(noise / 5, noise), per_channel=per_channel, p=1.0),
        "crop": package.RandomResizedCrop(size=(size, size), scale=(far["crop"], 1.0), p=1.0),
    }
    return package.Compose(
        list(dict.fromkeys(step for name, step in steps.items() if name in ranges))
    )
