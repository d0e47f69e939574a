"""What surrounds an image in its file: an abnormality is turned within its mammogram before it is cut and resized.

A region is a square about the middle of the image's box, large enough for the box's square to turn in. Beyond the edge
of the mammogram its pixels are mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .augment import RANGES, Image, copy_seeds

Box = tuple[int, int, int, int]


class Region(NamedTuple):
    """Part of a mammogram.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    across, down : float
        Middle of the image's box, in pixels from the left and upper edge of the region.
    side : float
        Of the square as large as the image's box, pixels: the root of width times height.
    """

    pixels: Image
    across: float
    down: float
    side: float

    def turned(self, *, angle: float, share: float, shift: tuple[float, float], size: int) -> Image:
        """Return a square of it at the size of a network, uint8 of shape (size, size, 3), interpolated once (linearly).

        Parameters
        ----------
        angle : float
            By which the mammogram is turned about the middle of the box, degrees anticlockwise.
        share : float
            Of the box's area that is cut.
        shift : tuple of float
            Where from, across and down, -1 to 1: as far as the box's square, turned with it, allows.
        size : int
        """
        import cv2

        side = self.side * math.sqrt(share)
        aside, below = ((self.side - side) / 2 * part for part in shift)
        step = side / size
        turn = math.radians(angle)
        # middles of pixels, which lie half a pixel from their edges
        rows = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        start = rows @ (np.array([aside, below]) - step * (size - 1) / 2)
        start += np.array([self.across, self.down]) - 0.5
        return np.asarray(
            cv2.warpAffine(
                self.pixels,
                np.column_stack([rows * step, start]),
                (size, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            dtype=np.uint8,
        )


def cut_region(image: Image, box: Box, *, size: int, treat: Callable[[Image], Image]) -> Region:
    """Cut what a box may turn in, at full resolution.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The mammogram.
    box : tuple of int
        Left, top, right, bottom.
    size : int
        Side of the network's input, pixels. A box whose square is twice that or more is reduced by the largest whole
        factor that leaves it as large as the network's input, by averages: so a region takes 24 `size` squared bytes at
        most.
    treat : callable
        Treatment of the region at full resolution.
    """
    import cv2

    left, top, right, bottom = box
    side = math.sqrt((right - left) * (bottom - top))
    factor = max(1, math.floor(side / size))
    # half the diagonal, and the neighbours of the outermost pixels
    reach = math.ceil(side / math.sqrt(2) / factor) + 1
    (x0, x1), (y0, y1) = (
        _span((low + high) / 2, reach=reach * factor, length=length, factor=factor)
        for low, high, length in ((left, right, image.shape[1]), (top, bottom, image.shape[0]))
    )
    pixels = treat(np.ascontiguousarray(image[y0:y1, x0:x1]))
    if factor > 1:
        reduced = (max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor))
        pixels = np.asarray(cv2.resize(pixels, reduced, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    middle = ((left + right) / 2 - x0) / factor, ((top + bottom) / 2 - y0) / factor
    return Region(pixels, *middle, side / factor)


def _span(middle: float, *, reach: int, length: int, factor: int) -> tuple[int, int]:
    """Return where a region begins and ends along a side; it holds whole blocks of the factor."""
    start = max(0, math.floor(middle) - reach)
    end = min(length, math.ceil(middle) + reach)
    return start, max(start + 1, end - (end - start) % factor)


def make_turner(*, size: int, crops: int, seed: int) -> Callable[[Region, int, int], Image]:
    """Return a function of a region, its key and the number of its copy, as `make_offline` does for whole images.

    Copies ``0 ... crops - 1`` share the first angle, the next ones the second. Angles are any; crops are square, at any
    place in the turned square, and keep 70 to 100 % of the area of the box.

    Parameters
    ----------
    size : int
    crops : int
        Of each rotation.
    seed : int
    """

    def turned(region: Region, key: int, copy: int) -> Image:
        of_turn, of_crop = map(np.random.default_rng, copy_seeds(seed, key, copy, crops=crops))
        angle = float(of_turn.uniform(-180.0, 180.0))
        share, *shift = of_crop.uniform([RANGES["crop"], -1.0, -1.0], 1.0).tolist()
        return region.turned(angle=angle, share=share, shift=(shift[0], shift[1]), size=size)

    return turned
