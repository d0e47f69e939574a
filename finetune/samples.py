"""Patches, the input of a network (the whole image, squares of it, a region rotated in its file), and augmentation.

A region is a square around the centre of the image's box. It is large enough to rotate the box's square within it.
Beyond the edges of the mammogram, pixels are mirrored.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..core import InputError, Message, one_of
from ..core.formats import Integers, Pixels
from ..data import Box, ImageRecord
from ..stains import augment_he


class ImageRegion(NamedTuple):
    """The part of a mammogram that surrounds an image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    across, down : float
        Centre of the image's box, in pixels from the left and upper edge of the region.
    side : float
        Side, in pixels, of the square with the same area as the image's box.
    """

    pixels: Pixels
    across: float
    down: float
    side: float

    def turned(
        self, *, angle: float, share: float, shift: tuple[float, float], size: int
    ) -> Pixels:
        """Return a rotated square of the region, resized for a network with a single linear interpolation.

        Parameters
        ----------
        angle : float
            Rotation of the mammogram around the centre of the box, in degrees anticlockwise.
        share : float
            Fraction of the area of the box that is cut out.
        shift : tuple of float
            Position of the cut across and down, from -1 to 1, the ends of the rotated square of the box.
        size : int
            Side of the result, in pixels.

        Returns
        -------
        ndarray of uint8, shape (size, size, 3)
        """
        import cv2

        side = self.side * math.sqrt(share)
        offset_across, offset_down = ((self.side - side) / 2 * part for part in shift)
        step = side / size
        turn = math.radians(angle)
        # coordinates of pixel centres, half a pixel from the edges
        rows = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        start = rows @ (np.array([offset_across, offset_down]) - step * (size - 1) / 2)
        start += np.array([self.across, self.down]) - 0.5
        turned = cv2.warpAffine(
            self.pixels,
            np.column_stack([rows * step, start]),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(turned)


def cut_region(
    image: Pixels, box: Box, *, size: int, treat: Callable[[Pixels], Pixels]
) -> ImageRegion:
    """Cut out the region in which the square of a box can be rotated.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The mammogram.
    box : tuple of int
        Left, top, right, bottom.
    size : int
        Side of the network's input, in pixels. If the square of the box is at least twice as large, the region is
        reduced by averaging, by the largest integer factor that keeps the square at least that size. So a region needs
        at most 24 `size` squared bytes.
    treat : callable
        Stain treatment, applied to the region at full resolution.
    """
    import cv2

    left, top, right, bottom = box
    x = (left + right) / 2
    y = (top + bottom) / 2
    side = math.sqrt((right - left) * (bottom - top))
    factor = max(1, math.floor(side / size))
    # half the diagonal, and one pixel more for interpolation
    reach = factor * (math.ceil(side / math.sqrt(2) / factor) + 1)
    height, width = image.shape[:2]
    x0, x1 = _span(x, reach, width, factor)
    y0, y1 = _span(y, reach, height, factor)
    pixels = treat(np.ascontiguousarray(image[y0:y1, x0:x1]))
    if factor > 1:
        reduced = (max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor))
        pixels = cv2.resize(pixels, reduced, interpolation=cv2.INTER_AREA)
    return ImageRegion(pixels, (x - x0) / factor, (y - y0) / factor, side / factor)


def _span(middle: float, reach: int, length: int, factor: int) -> tuple[int, int]:
    """Return start and end of a region along an axis. Its length is a multiple of the factor."""
    start = max(0, math.floor(middle) - reach)
    end = min(length, math.ceil(middle) + reach)
    return start, max(start + 1, end - (end - start) % factor)


def make_turner(*, size: int, crops: int, seed: int) -> Callable[[ImageRegion, int, int], Pixels]:
    """Return a function that computes one of the variants of an image by ``rotations-crops``, within its region.

    Its arguments are the region, the key of the image, and the number of the variant. Variants ``0 ... crops - 1``
    share the first angle, the next ones the second, and so on. Angles are drawn from the full circle. Crops are
    square, at any position in the rotated square, and keep 70 to 100 % of the area of the box.

    Parameters
    ----------
    size : int
        Side of the result, in pixels.
    crops : int
        Number of crops of each rotation.
    seed : int
    """

    def turned(region: ImageRegion, key: int, copy: int) -> Pixels:
        rotation = np.random.default_rng([seed, key, copy // crops, 0])
        crop = np.random.default_rng([seed, key, copy, 1])
        angle = float(rotation.uniform(-180.0, 180.0))
        share, across, down = crop.uniform([RANGES["crop"], -1.0, -1.0], 1.0).tolist()
        return region.turned(angle=angle, share=share, shift=(across, down), size=size)

    return turned


@dataclass(frozen=True)
class PatchRule:
    """Rule by which an image is divided into patches.

    Attributes
    ----------
    kind : {"resize", "random", "sliding"}
        The whole image resized to a square; squares at random positions, which are new in each epoch of training; or a
        grid of squares, the last of each row and column flush with the edge. The published system ``breakhis-resnet``
        uses all three.
    side : int
        Side of a square, in pixels; 0 for ``resize``.
    count : int
        Number of random squares of an image.
    overlap : float
        Overlap of neighbouring squares in the grid, as a fraction of the side.
    """

    kind: str = "resize"
    side: int = 0
    count: int = 8
    overlap: float = 0.5

    def misfit(self, record: ImageRecord, *, width: int, height: int) -> str | None:
        """Return an error message if an image of this size is smaller than a patch; otherwise None."""
        if min(height, width) >= self.side:
            return None
        return Message(
            "{}: {}x{} is smaller than patches of {}",
            record.called,
            width,
            height,
            self.side,
            remedies=[Message("use {patches:resize} or smaller ones")],
        )

    def corners(
        self, height: int, width: int, *, entropy: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        """Return top and left of every patch of an image. `entropy` seeds random patches."""
        if self.kind == "resize":
            return [(0, 0)]
        if self.kind == "sliding":
            return [(top, left) for top in self._starts(height) for left in self._starts(width)]
        rng = np.random.default_rng(entropy)
        tops = rng.integers(0, height - self.side, self.count, endpoint=True)
        lefts = rng.integers(0, width - self.side, self.count, endpoint=True)
        return list(zip(tops.tolist(), lefts.tolist(), strict=True))

    def number(self, height: int, width: int) -> int:
        """Return the number of patches of an image."""
        if self.kind == "sliding":
            return len(self._starts(height)) * len(self._starts(width))
        return self.count if self.kind == "random" else 1

    def name(self, number: int, corner: tuple[int, int]) -> str:
        """Return the name of a patch in tables: its corner, with its number if random patches may coincide."""
        if self.kind == "resize":
            return ""
        name = f"x{corner[1]}_y{corner[0]}"
        return name if self.kind == "sliding" else f"{number}_{name}"

    def _starts(self, length: int) -> list[int]:
        return window_starts(length, self.side, round(self.side * (1.0 - self.overlap)))


def window_starts(length: int, side: int, step: int) -> list[int]:
    """Return the starts of windows that cover a length, at least a pixel apart; the last ends flush with it.

    Examples
    --------
    >>> window_starts(10, side=4, step=4)
    [0, 4, 6]
    """
    starts = list(range(0, length - side + 1, max(1, step)))
    if starts[-1] != length - side:
        starts.append(length - side)
    return starts


def parse_patches(text: str) -> PatchRule:
    """Parse ``resize``, ``random:SIDE[:COUNT]`` or ``sliding:SIDE[:OVERLAP]``.

    Raises
    ------
    InputError
        The text has another form, or a number is out of range.

    Examples
    --------
    >>> parse_patches("sliding:128")
    PatchRule(kind='sliding', side=128, count=8, overlap=0.5)
    """
    rule = None
    with contextlib.suppress(ValueError):
        match text.split(":"):
            case ["resize"]:
                return PatchRule()
            case ["random" | "sliding" as kind, side]:
                rule = PatchRule(kind, int(side))
            case ["random", side, count]:
                rule = PatchRule("random", int(side), count=int(count))
            case ["sliding", side, overlap]:
                rule = PatchRule("sliding", int(side), overlap=float(overlap))
    if rule is None:
        raise InputError(
            "{patches} {}: write resize, random:SIDE[:COUNT] or sliding:SIDE[:OVERLAP]", text
        )
    if rule.side < 8 or rule.count < 1 or not 0.0 <= rule.overlap < 1.0:
        raise InputError(
            "{patches} {}: give a side from 8 up, a count from 1 up and an overlap below 1", text
        )
    return rule


@dataclass(frozen=True)
class EpochSamples:
    """The samples of an epoch, as three arrays of equal length.

    Attributes
    ----------
    images : ndarray of int64
        Position of the image.
    numbers : ndarray of int64
        Number of the patch in its image.
    copies : ndarray of int64
        Number of the repeat of this patch.
    """

    images: Integers
    numbers: Integers
    copies: Integers

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: Integers, counts: Integers, *, copies: int = 1) -> EpochSamples:
        """Return every patch of these images `copies` times. `counts` is the number of patches of each image."""
        sizes = counts * copies
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(np.repeat(images, sizes), offsets // copies, offsets % copies)


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
            largest = _LIMITS.get(name, 1.0)
            value = 0.0
            with contextlib.suppress(ValueError):
                value = float(number)
            if not 0 < value <= largest:  # also not a number
                raise InputError(
                    "{augmentations} {}: write {}:RANGE with a number above 0 and up to {:g}, such as {}:{:g}",
                    text,
                    name,
                    largest,
                    name,
                    RANGES[name],
                )
        if ranges.setdefault(name, value) != value:
            raise InputError(
                "{augmentations} {}: {} is there with another range; keep one", text, name
            )
    return ranges


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

    extents = RANGES | {name: value for name, value in ranges.items() if value is not None}
    turn, shift, zoom = (
        extents[name] if name in ranges else 0.0
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
    light = extents["brightness"]
    noise = extents["noise"]
    steps = {
        "isometries": package.D4(p=1.0),
        "mirror": package.HorizontalFlip(p=0.5),
        **dict.fromkeys(("rotation", "translation", "magnification"), warp),
        "brightness": package.RandomBrightnessContrast(
            brightness_limit=light, contrast_limit=light, p=1.0
        ),
        "noise": package.GaussNoise(std_range=(noise / 5, noise), per_channel=per_channel, p=1.0),
        "crop": package.RandomResizedCrop(size=(size, size), scale=(extents["crop"], 1.0), p=1.0),
    }
    return package.Compose(
        list(dict.fromkeys(step for name, step in steps.items() if name in ranges))
    )
