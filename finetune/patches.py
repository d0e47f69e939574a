"""Patches: the whole image at the network's size, or squares cut from it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message
from ..data import ImageRecord

_COUNT = 8
"""Random patches of an image."""

_OVERLAP = 0.5
"""Share of its side that a window of a grid shares with the next."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PatchRule:
    """How an image becomes samples of a network.

    Attributes
    ----------
    kind : {"resize", "random", "sliding"}
        The image squeezed to a square; squares at random places, which training draws anew in each epoch; or a grid of
        squares, the last of a row or column flush with the edge. The three of the published system ``breakhis-resnet``.
    side : int
        Of a square, pixels; 0 for ``resize``.
    count : int
        Random squares of an image.
    overlap : float
        Of the grid.
    """

    kind: str = "resize"
    side: int = 0
    count: int = _COUNT
    overlap: float = _OVERLAP

    def misfit(self, record: ImageRecord, *, width: int, height: int) -> str | None:
        """Say that an image of this size is smaller than a patch; None if it is not."""
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
        """Return top and left of every patch of an image; `entropy` moves random ones."""
        if self.kind == "resize":
            return [(0, 0)]
        if self.kind == "sliding":
            return [(top, left) for top in self._starts(height) for left in self._starts(width)]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        tops = rng.integers(0, height - self.side, self.count, endpoint=True)
        lefts = rng.integers(0, width - self.side, self.count, endpoint=True)
        return list(zip(tops.tolist(), lefts.tolist(), strict=True))

    def number(self, height: int, width: int) -> int:
        """Return how many patches an image has."""
        if self.kind == "sliding":
            return len(self._starts(height)) * len(self._starts(width))
        return self.count if self.kind == "random" else 1

    def name(self, number: int, corner: tuple[int, int]) -> str:
        """Return what a patch is called in tables: its corner, and for random ones, which may coincide, its number."""
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
    """What a network sees in an epoch, as three equally long arrays.

    Attributes
    ----------
    images : ndarray of int64
        Position of the image.
    numbers : ndarray of int64
        Number of the patch in it.
    copies : ndarray of int64
        Which of the repeats of this patch.
    """

    images: Indices
    numbers: Indices
    copies: Indices

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: Indices, counts: Indices, *, copies: int = 1) -> Samples:
        """List every patch of these images `copies` times; `counts` are the patches of each."""
        each = counts * copies
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        return cls(np.repeat(images, each), within // copies, within % copies)


def parse_patches(text: str) -> PatchRule:
    """Read ``resize``, ``random:SIDE[:COUNT]`` or ``sliding:SIDE[:OVERLAP]``.

    Raises
    ------
    InputError
        Another form, or numbers out of range.

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
