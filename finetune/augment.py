"""Augmentation of training images, seeded per (seed, image, epoch)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError
from ..stains import augment_he

AUGMENTATIONS = (
    "isometries", "mirror", "rotation", "translation", "magnification", "brightness", "noise", "crop", "stain",
)  # fmt: skip
"""The eight isometries of the square; left-right mirroring; rotation, shift and zoom about the middle, with what lies
beyond the edge mirrored; brightness and contrast; Gaussian noise, one value per pixel where the image is grey; a random
crop; H&E stain factors from 0.7 to 1.3. Channels that are equal stay so under all but the last."""

RANGES = {
    "rotation": 15.0, "translation": 0.1, "magnification": 0.1, "brightness": 0.2, "noise": 0.05, "crop": 0.7,
}  # fmt: skip
"""How far those go that take a range, where none is given: degrees to either side; share of the side to either
side, each way; share by which the image is enlarged or reduced at most; share of brightness and of contrast to either
side; largest standard deviation as a share of the full scale, the smallest being a fifth of it; smallest share of the
area, the largest being all of it."""

_LIMITS = {"rotation": 180.0, "translation": 0.5, "magnification": 0.9}
"""Largest range; 1 for the others."""

OFFLINE = "rotations-crops"
"""Each image in several rotations and several crops of each, the same in every epoch: seed ``ddsm-masses``, sec. 4.2,
makes them before training."""

_COLOR_RANGE = (0.7, 1.3)
"""Rakhlin et al. 2018, sec. 2.3; the other ranges are ours."""

Image = npt.NDArray[np.uint8]


def _albumentations() -> Any:
    # the package looks for a newer version of itself on the network unless it is told not to
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _parsed(text: str) -> tuple[str, float | None]:
    """Read ``NAME`` or ``NAME:RANGE``."""
    name, colon, written = text.partition(":")
    known = (*AUGMENTATIONS, OFFLINE)
    if name not in known:
        raise InputError("{augmentations} {}: choose one of {}", text, ", ".join(known))
    if not colon:
        return name, RANGES.get(name)
    if name not in RANGES:
        raise InputError("{augmentations} {}: {} takes no range; those that do are {}", text, name, ", ".join(RANGES))
    largest = _LIMITS.get(name, 1.0)
    try:
        value = float(written)
    except ValueError:
        value = 0.0
    if not 0 < value <= largest:  # also not a number
        raise InputError(
            "{augmentations} {}: write {}:RANGE with a number above 0 and up to {:g}, such as {}:{:g}",
            text, name, largest, name, RANGES[name],
        )  # fmt: skip
    return name, value


def plain_name(text: str) -> str:
    """Return an augmentation as files have it: its name, and its range where that is not the usual one.

    Raises
    ------
    InputError
        No such augmentation, or no such range.

    Examples
    --------
    >>> [plain_name(text) for text in ("mirror", "rotation:15", "rotation:10.0")]
    ['mirror', 'rotation', 'rotation:10']
    """
    name, value = _parsed(text)
    return name if value is None or value == RANGES[name] else f"{name}:{value:g}"


def augmentation_ranges(names: Sequence[str]) -> dict[str, float | None]:
    """Return augmentations with their ranges, None for those that take none.

    Raises
    ------
    InputError
        See `plain_name`; or one with two ranges.

    Examples
    --------
    >>> augmentation_ranges(["rotation:10", "noise", "mirror"])
    {'rotation': 10.0, 'noise': 0.05, 'mirror': None}
    """
    ranges: dict[str, float | None] = {}
    for text in names:
        name, value = _parsed(text)
        if ranges.setdefault(name, value) != value:
            raise InputError("{augmentations} {}: {} is there with another range; keep one", text, name)
    return ranges


def make_augmenter(names: Sequence[str], *, size: int) -> Callable[[Image, np.random.SeedSequence], Image]:
    """Return a function of an image (size, size, 3) and a seed sequence, from which alone its result follows.

    Parameters
    ----------
    names : sequence of str
        Of `AUGMENTATIONS`, with a range or without; applied in the order of that list.
    size : int
        Side of the images, pixels.

    Raises
    ------
    InputError
        See `augmentation_ranges`.
    """
    ranges = augmentation_ranges(names)
    colours, grey = (_composed(ranges, size=size, per_channel=each) for each in (True, False))

    def augment(image: Image, sequence: np.random.SeedSequence) -> Image:
        words = sequence.generate_state(3)
        if "stain" in ranges:
            haem, eosin = np.random.default_rng(words[1:]).uniform(*_COLOR_RANGE, size=2).tolist()
            image = augment_he(np.ascontiguousarray(image), hematoxylin=haem, eosin=eosin)
        same = "noise" in ranges and (image == image[:, :, :1]).all()
        composed = grey if same else colours
        composed.set_random_seed(int(words[0]))
        return np.asarray(composed(image=np.ascontiguousarray(image))["image"], dtype=np.uint8)

    return augment


def _composed(ranges: dict[str, float | None], *, size: int, per_channel: bool) -> Any:
    """Return the transformations in the order of `AUGMENTATIONS`; those that move pixels freely are one."""
    import cv2

    package = _albumentations()
    reach = {name: value or 0.0 for name, value in ranges.items()}
    moved = reach.keys() & {"rotation", "translation", "magnification"}
    steps = []
    if "isometries" in ranges:
        steps.append(package.D4(p=1.0))
    if "mirror" in ranges:
        steps.append(package.HorizontalFlip(p=0.5))
    if moved == {"rotation"}:
        steps.append(package.Rotate(limit=reach["rotation"], border_mode=cv2.BORDER_REFLECT_101, p=1.0))
    elif moved:
        turn, shift, zoom = (reach.get(name, 0.0) for name in ("rotation", "translation", "magnification"))
        steps.append(
            package.Affine(
                rotate=(-turn, turn), translate_percent=(-shift, shift), scale=(1.0 - zoom, 1.0 + zoom),
                keep_ratio=True, border_mode=cv2.BORDER_REFLECT_101, p=1.0,
            )
        )  # fmt: skip
    if "brightness" in ranges:
        limit = reach["brightness"]
        steps.append(package.RandomBrightnessContrast(brightness_limit=limit, contrast_limit=limit, p=1.0))
    if "noise" in ranges:
        most = reach["noise"]
        steps.append(package.GaussNoise(std_range=(most / 5, most), per_channel=per_channel, p=1.0))
    if "crop" in ranges:
        steps.append(package.RandomResizedCrop(size=(size, size), scale=(reach["crop"], 1.0), p=1.0))
    return package.Compose(steps)


def make_offline(*, size: int, crops: int, seed: int) -> Callable[[Image, int, int], Image]:
    """Return a function of an image (size, size, 3), its key and the number of its copy.

    Copies ``0 ... crops - 1`` share the first rotation, the next ones the second. Angles are any; crops keep 70 to
    100 % of the area.

    Parameters
    ----------
    size : int
    crops : int
        Of each rotation.
    seed : int
    """
    package, share = _albumentations(), (RANGES["crop"], 1.0)
    rotation = _composed({"rotation": 180.0}, size=size, per_channel=True)
    crop = package.Compose([package.RandomResizedCrop(size=(size, size), scale=share, ratio=(1, 1), p=1.0)])

    def offline(image: Image, key: int, copy: int) -> Image:
        for step, sequence in zip((rotation, crop), copy_seeds(seed, key, copy, crops=crops), strict=True):
            step.set_random_seed(int(sequence.generate_state(1)[0]))
            image = step(image=np.ascontiguousarray(image))["image"]
        return np.asarray(image, dtype=np.uint8)

    return offline


def copy_seeds(seed: int, key: int, copy: int, *, crops: int) -> list[np.random.SeedSequence]:
    """Return what the rotation of a copy is drawn from, which as many copies as there are crops share, and its crop."""
    return [np.random.SeedSequence([seed, key, *entropy]) for entropy in ((copy // crops, 0), (copy, 1))]
