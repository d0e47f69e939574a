"""Patches, the input of a network: the whole image, resized, or squares cut from it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message
from ..data import ImageRecord

_COUNT = 8
"""Default number of random patches of an image."""

_OVERLAP = 0.5
"""Default overlap of neighbouring patches in a grid, as a fraction of the side."""

Indices = npt.NDArray[np.int64]


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
    count: int = _COUNT
    overlap: float = _OVERLAP

    def misfit(self, record: ImageRecord, *, width: int, height: int) -> str | None:
        """Return an error message if an image of this size is smaller than a patch; otherwise None."""
        if min(height, width) >= self.side:
            return None
        return Message(
            "{}: {}x{} is smaller than patches of {}",
            record.path,
            width,
            height,
            self.side,
            remedies=[Message("use {patches:resize} or smaller ones")],
        )

    def corners(self, height: int, width: int, *, entropy: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return top and left of every patch of an image. `entropy` seeds random patches."""
        if self.kind == "resize":
            return [(0, 0)]
        if self.kind == "sliding":
            return [(top, left) for top in self._starts(height) for left in self._starts(width)]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
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
        step = max(1, round(self.side * (1.0 - self.overlap)))
        starts = list(range(0, length - self.side + 1, step))
        return starts if starts[-1] == length - self.side else [*starts, length - self.side]


@dataclass(frozen=True)
class Samples:
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

    images: Indices
    numbers: Indices
    copies: Indices

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: Indices, counts: Indices, *, copies: int = 1) -> Samples:
        """Return every patch of these images `copies` times. `counts` is the number of patches of each image."""
        each = counts * copies
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        return cls(np.repeat(images, each), within // copies, within % copies)


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
            "{patches} {}: write resize, random:SIDE[:COUNT] or sliding:SIDE[:OVERLAP], such as sliding:128:0.5", text
        )
    if rule.side < 8 or rule.count < 1 or not 0.0 <= rule.overlap < 1.0:
        raise InputError("{patches} {}: give a side from 8 up, a count from 1 up and an overlap below 1", text)
    return rule
