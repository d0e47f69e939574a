"""How the tiles or fields of a slide become one row: by the mean, which attention has to beat, or by another name.

The mean fades a small focus: a tenth of the tiles moves it by a tenth of their own distance. The mean of the largest
tenth fades it less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...core import InputError, counted, one_of
from ...core.formats import Array, Floats, Floats32

Blocks = Iterable[Array]
"""Rows of a slide in blocks of shape (rows, ..., d), so that no slide has to fit into memory."""

AT_ONCE = 4096
"""Rows that are read into memory at a time."""


class TilePool(NamedTuple):
    """A way to pool the rows of a slide to one.

    Attributes
    ----------
    name : str
        The word by which users choose it.
    text : str
        What the row is, as in "mean of 12 fields". Files record it, so it is never changed.
    on_blocks : callable
        ``on_blocks(blocks, count)`` pools blocks of shape (rows, ..., d), of `count` rows together, to (..., d), or to
        (..., 2 d) for two numbers per feature. It sums in float64.
    """

    name: str
    text: str
    on_blocks: Callable[[Blocks, int], Floats]

    def describe(self, counts: Iterable[int], noun: str) -> str:
        """Return what rows are that were pooled of some numbers of tiles: "mean of 3 to 9 tiles"."""
        numbers = sorted(set(counts))
        if len(numbers) == 1:
            return f"{self.text} of {counted(numbers[0], noun)}"
        return f"{self.text} of {numbers[0]} to {numbers[-1]} {noun}s"

    def row(self, read: Callable[[range], Array], count: int, *, step: int = AT_ONCE) -> Floats32:
        """Pool `count` rows of a slide, of which ``read(positions)`` returns some; `step` of them at a time."""
        starts = range(0, count, step)
        blocks = (read(range(start, min(start + step, count))) for start in starts)
        return np.asarray(self.on_blocks(blocks, count), dtype=np.float32)


def _mean(blocks: Blocks, count: int) -> Floats:
    total = sum(block.astype(np.float64).sum(axis=0) for block in blocks)
    return np.asarray(total / count)


def _norm(blocks: Blocks, count: int) -> Floats:
    """Pool by the signed 3-norm, as `bchisto.featurize.norm_pool` does crops; cubes of float32 do not overflow."""
    total = sum((block.astype(np.float64) ** 3).sum(axis=0) for block in blocks)
    return np.asarray(np.cbrt(total / count))


def _mean_and_sd(blocks: Blocks, count: int) -> Floats:
    """Return the means, then the standard deviations (of `count`, so that one row has 0)."""
    rest = iter(blocks)
    first = next(rest)
    # squares of values far from zero would round their differences away
    origin = first[0].astype(np.float64)
    total = np.zeros_like(origin)
    squares = np.zeros_like(origin)
    for block in itertools.chain([first], rest):
        distances = block - origin
        total += distances.sum(axis=0)
        squares += np.square(distances).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)
    return np.concatenate([origin + mean, np.sqrt(variance)], axis=-1)


def _largest_tenth(blocks: Blocks, count: int) -> Floats:
    """Return the mean of the largest tenth of each feature: of ``ceil(count / 10)`` values."""
    kept = -(-count // 10)
    largest: list[Array] = []
    for block in blocks:
        values = np.concatenate([*largest, block])
        last = max(len(values) - kept, 0)
        largest = [np.partition(values, last, axis=0)[last:]]
    return np.asarray(largest[0].mean(axis=0, dtype=np.float64))


MEAN = TilePool("mean", "mean", _mean)

POOLS: Sequence[TilePool] = (
    MEAN,
    TilePool("3-norm", "3-norm", _norm),
    TilePool("mean-sd", "mean and SD", _mean_and_sd),
    TilePool("top-tenth", "mean of the largest tenth", _largest_tenth),
)


def pool_named(name: str) -> TilePool:
    """Return a pooling by its name.

    Raises
    ------
    InputError
        There is none of this name.
    """
    pools = {pool.name: pool for pool in POOLS}
    if name not in pools:
        raise InputError("{pool} {}: {}", name, one_of(name, pools))
    return pools[name]
