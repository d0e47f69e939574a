"""Crops of an image and their colours.

Everything random about an augmentation follows from the seed, the image id and the number of the augmentation:
``SeedSequence([seed, words of SHA-256(image_id), augmentation])``. One child of it draws the colours, and one child per
crop size draws the crops. So all encoders see the same crops, independent of other views and of the order of work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core import ImageError
from ..core.formats import Integers, Pixels

_COLOUR_CHILD = 0
_FRAME_CHILD = 1
"""Spawn keys of the seed sequence for colours and frames. Those for crops are the crop sizes, which start at 32."""


_FLIP_CODES = {(True, False): 0, (False, True): 1, (True, True): -1}
"""Code of OpenCV's flip of rows, of columns, or of both."""


class Augmentation(NamedTuple):
    """The random numbers of one augmentation of one image.

    Attributes
    ----------
    hematoxylin, eosin : float
        Stain factors.
    entropy : tuple of int
        Entropy of the seed sequences for crops and frames.
    """

    hematoxylin: float
    eosin: float
    entropy: tuple[int, ...]

    @property
    def orientation(self) -> Crop:
        """A whole frame, rotated by a random number of quarter turns and flipped at random: one of eight ways."""
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=(_FRAME_CHILD,)))
        turns, flip = rng.integers([4, 2]).tolist()
        return Crop(0, 0, turns, False, bool(flip))

    def turn_frame(self, image: Pixels) -> Pixels:
        """Turn and flip a frame, see `orientation`."""
        import cv2

        # faster than a copy of the view that `cut_crop` makes
        orientation = self.orientation
        if orientation.is_transposed:
            image = cv2.transpose(image)
        if any(orientation.reversals):
            image = cv2.flip(image, _FLIP_CODES[orientation.reversals])
        return np.asarray(image)


class Crop(NamedTuple):
    """Position and orientation of a crop: top and left in pixels, quarter turns, and flips after the turn."""

    top: int
    left: int
    turns: int
    flip_rows: bool
    flip_columns: bool

    @property
    def is_transposed(self) -> bool:
        """Whether rows and columns are exchanged, before `reversals`."""
        return self.turns % 2 == 1

    @property
    def reversals(self) -> tuple[bool, bool]:
        """Whether rows, and whether columns are reversed, which with `is_transposed` gives all turns and flips."""
        return self.flip_rows != (self.turns in (1, 2)), self.flip_columns != (self.turns in (2, 3))


def draw_augmentation(
    key: str, augmentation: int, *, seed: int, color_range: tuple[float, float]
) -> Augmentation:
    """Draw the stain factors of an augmentation.

    Parameters
    ----------
    key : str
        The image id or another key of the image (`bchisto.data.crop_key`). Its SHA-256 gives eight big-endian 32-bit
        words.
    augmentation : int
        Counted from 0.
    seed : int
        The run's seed.
    color_range : tuple of float
        Bounds of the uniform distribution of both factors.

    Returns
    -------
    Augmentation

    References
    ----------
    Rakhlin et al. 2018, sec. 2.3 (U[0.7, 1.3]).
    """
    # big-endian, so that every machine draws the same
    words = np.frombuffer(hashlib.sha256(key.encode("utf-8")).digest(), dtype=">u4").tolist()
    entropy = (seed, *words, augmentation)
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(_COLOUR_CHILD,)))
    hematoxylin, eosin = rng.uniform(*color_range, size=2).tolist()
    return Augmentation(hematoxylin, eosin, entropy)


class CropGrid(int):
    """The number of crops that means a grid: 0, in a type of its own, since a plain 0 of a user is refused."""


GRID = CropGrid()


def tile_starts(side: int, *, crop: int) -> list[int]:
    """Return the starts of the fewest, evenly spaced crops that cover a side without gaps; the last ends at its end.

    Examples
    --------
    >>> tile_starts(500, crop=224), tile_starts(224, crop=224)
    ([0, 138, 276], [0])
    """
    return [round(start) for start in np.linspace(0, side - crop, math.ceil(side / crop)).tolist()]


def crop_boxes(
    augmentation: Augmentation, *, height: int, width: int, crop: int, count: int
) -> list[Crop]:
    """Draw the crops of an augmentation: uniform positions, each with a random quarter turn and random flips.

    If `count` is `GRID`, the crops cover the whole image, see `tile_starts`, and are neither turned nor flipped.

    Raises
    ------
    ImageError
        The image is smaller than the crop.
    """
    if min(height, width) < crop:
        raise ImageError(
            f"{width}x{height} pixels after scaling is smaller than the crop of {crop}"
        )
    if count == GRID:
        lefts = tile_starts(width, crop=crop)
        return [
            Crop(top, left, 0, False, False)
            for top in tile_starts(height, crop=crop)
            for left in lefts
        ]
    rng = np.random.default_rng(np.random.SeedSequence(augmentation.entropy, spawn_key=(crop,)))
    numbers = rng.integers([[height - crop + 1, width - crop + 1, 4, 2, 2]] * count).tolist()
    return [
        Crop(top, left, turns, bool(rows), bool(columns))
        for top, left, turns, rows, columns in numbers
    ]


def corners_of(boxes: Sequence[Crop], *, crop: int) -> Integers:
    """Return top, left, bottom and right of crops in pixels, shape (crops, 4); bottom and right are exclusive."""
    return np.array([(box.top, box.left, box.top + crop, box.left + crop) for box in boxes])


def cut_crop(image: Pixels, box: Crop, *, crop: int) -> Pixels:
    """Cut one crop out of an image.

    Returns
    -------
    ndarray of uint8, shape (crop, crop, 3)
        A NumPy view of the image, turned and flipped according to `box`.
    """
    piece = image[box.top : box.top + crop, box.left : box.left + crop]
    if box.is_transposed:
        piece = piece.swapaxes(0, 1)
    by_row, by_column = box.reversals
    if by_row:
        piece = piece[::-1]
    if by_column:
        piece = piece[:, ::-1]
    return piece


def pad_image(image: Pixels, *, crop: int) -> Pixels:
    """Extend an image by mirroring, equally on both sides, until a crop fits. Edge pixels are not repeated.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
    crop : int
        Side of the crop in pixels.

    Returns
    -------
    ndarray of uint8
        The image itself if the crop fits. An image smaller than half the crop is mirrored repeatedly.

    Examples
    --------
    >>> pad_image(np.array([[[1], [2], [3]]] * 7, np.uint8), crop=7)[0, :, 0].tolist()
    [3, 2, 1, 2, 3, 2, 1]
    """
    gaps = [max(0, crop - side) for side in image.shape[:2]]
    if not any(gaps):
        return image
    return np.pad(
        image,
        [*((missing // 2, missing - missing // 2) for missing in gaps), (0, 0)],
        mode="reflect",
    )
