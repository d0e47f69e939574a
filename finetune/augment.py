"""Augmentation of training images, seeded per (seed, image, epoch)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..stains import augment_he

__all__ = ["AUGMENTATIONS", "make_augmenter"]

AUGMENTATIONS = ("isometries", "mirror", "rotation", "brightness", "noise", "crop", "stain")
"""The eight isometries of the square; left-right mirroring; rotation by up to 15 degrees; brightness and contrast by up
to 20 %; Gaussian noise; a random crop of 70 to 100 % of the area; H&E stain factors from 0.7 to 1.3."""

_COLOR_RANGE = (0.7, 1.3)
"""Rakhlin et al. 2018, sec. 2.3; the other ranges are ours."""

Image = npt.NDArray[np.uint8]


def make_augmenter(names: Sequence[str], *, size: int) -> Callable[[Image, np.random.SeedSequence], Image]:
    """Return a function of an image (size, size, 3) and a seed sequence, from which alone its result follows.

    Parameters
    ----------
    names : sequence of str
        Of `AUGMENTATIONS`; applied in the order of that list.
    size : int
        Side of the images, pixels.
    """
    # the package looks for a newer version of itself on the network unless it is told not to
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations
    import cv2

    known: dict[str, Callable[[], Any]] = {
        "isometries": lambda: albumentations.D4(p=1.0),
        "mirror": lambda: albumentations.HorizontalFlip(p=0.5),
        "rotation": lambda: albumentations.Rotate(limit=15, border_mode=cv2.BORDER_REFLECT_101, p=1.0),
        "brightness": lambda: albumentations.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1.0),
        "noise": lambda: albumentations.GaussNoise(std_range=(0.01, 0.05), p=1.0),
        "crop": lambda: albumentations.RandomResizedCrop(size=(size, size), scale=(0.7, 1.0), p=1.0),
    }
    composed = albumentations.Compose([known[name]() for name in AUGMENTATIONS if name in names and name in known])

    def augment(image: Image, sequence: np.random.SeedSequence) -> Image:
        words = sequence.generate_state(3)
        if "stain" in names:
            haem, eosin = np.random.default_rng(words[1:]).uniform(*_COLOR_RANGE, size=2)
            image = augment_he(np.ascontiguousarray(image), hematoxylin=float(haem), eosin=float(eosin))
        composed.set_random_seed(int(words[0]))
        return np.asarray(composed(image=np.ascontiguousarray(image))["image"], dtype=np.uint8)

    return augment
