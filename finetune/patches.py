"""Patches, the input of a network: the whole image, squares cut from it, or a region rotated within its file.

A region is a square around the centre of the image's box. It is large enough to rotate the box's square within it.
Beyond the edges of the mammogram, pixels are mirrored.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..core import InputError, Message
from ..core.formats import Integers, Pixels
from ..data import ImageRecord
from .augment import RANGES

Box = tuple[int, int, int, int]


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
        aside, below = ((self.side - side) / 2 * part for part in shift)
        step = side / size
        turn = math.radians(angle)
        # coordinates of pixel centres, half a pixel from the edges
        rows = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        start = rows @ (np.array([aside, below]) - step * (size - 1) / 2)
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
        each = counts * copies
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        return cls(np.repeat(images, each), within // copies, within % copies)
