"""Augmentation of training images, seeded per (seed, image, epoch)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..stains import augment_he

__all__ = ["AUGMENTATIONS", "OFFLINE", "make_augmenter", "make_offline"]

AUGMENTATIONS = ("isometries", "mirror", "rotation", "brightness", "noise", "crop", "stain")
"""The eight isometries of the square; left-right mirroring; rotation by up to 15 degrees; brightness and contrast by up
to 20 %; Gaussian noise; a random crop of 70 to 100 % of the area; H&E stain factors from 0.7 to 1.3."""

OFFLINE = "rotations-crops"
"""Each image in several rotations and several crops of each, the same in every epoch: seed ``ddsm-masses``, sec. 4.2,
makes them before training."""

_COLOR_RANGE = (0.7, 1.3)
"""Rakhlin et al. 2018, sec. 2.3; the other ranges are ours."""

_CROP_SHARE = (0.7, 1.0)

Image = npt.NDArray[np.uint8]


def _albumentations() -> Any:
    # the package looks for a newer version of itself on the network unless it is told not to
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def make_augmenter(names: Sequence[str], *, size: int) -> Callable[[Image, np.random.SeedSequence], Image]:
    """Return a function of an image (size, size, 3) and a seed sequence, from which alone its result follows.

    Parameters
    ----------
    names : sequence of str
        Of `AUGMENTATIONS`; applied in the order of that list.
    size : int
        Side of the images, pixels.
    """
    package = _albumentations()
    import cv2

    known: dict[str, Callable[[], Any]] = {
        "isometries": lambda: package.D4(p=1.0),
        "mirror": lambda: package.HorizontalFlip(p=0.5),
        "rotation": lambda: package.Rotate(limit=15, border_mode=cv2.BORDER_REFLECT_101, p=1.0),
        "brightness": lambda: package.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1.0),
        "noise": lambda: package.GaussNoise(std_range=(0.01, 0.05), p=1.0),
        "crop": lambda: package.RandomResizedCrop(size=(size, size), scale=_CROP_SHARE, p=1.0),
    }
    composed = package.Compose([known[name]() for name in AUGMENTATIONS if name in names and name in known])

    def augment(image: Image, sequence: np.random.SeedSequence) -> Image:
        words = sequence.generate_state(3)
        if "stain" in names:
            haem, eosin = np.random.default_rng(words[1:]).uniform(*_COLOR_RANGE, size=2)
            image = augment_he(np.ascontiguousarray(image), hematoxylin=float(haem), eosin=float(eosin))
        composed.set_random_seed(int(words[0]))
        return np.asarray(composed(image=np.ascontiguousarray(image))["image"], dtype=np.uint8)

    return augment


def make_offline(*, size: int, crops: int, seed: int) -> Callable[[Image, int, int], Image]:
    """Return a function of an image (size, size, 3), its key and the number of its copy.

    Copies ``0 ... crops - 1`` share the first rotation, the next ones the second. Angles are any; crops keep 70 to
    100 % of the area (ours).

    Parameters
    ----------
    size : int
    crops : int
        Of each rotation.
    seed : int
    """
    package = _albumentations()
    import cv2

    rotation = package.Compose([package.Rotate(limit=180, border_mode=cv2.BORDER_REFLECT_101, p=1.0)])
    crop = package.Compose([package.RandomResizedCrop(size=(size, size), scale=_CROP_SHARE, ratio=(1, 1), p=1.0)])

    def offline(image: Image, key: int, copy: int) -> Image:
        for step, entropy in ((rotation, (copy // crops, 0)), (crop, (copy, 1))):
            word = np.random.SeedSequence([seed, key, *entropy]).generate_state(1)[0]
            step.set_random_seed(int(word))
            image = step(image=np.ascontiguousarray(image))["image"]
        return np.asarray(image, dtype=np.uint8)

    return offline
