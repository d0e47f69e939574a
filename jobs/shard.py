"""The share ``K/N`` of the units: every N-th unit, by arithmetic alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Share `index` (1-based) of `count`."""

    index: int
    count: int

    def select(self, units: Sequence[T]) -> list[T]:
        """Return every `count`-th unit, starting with unit `index`."""
        return list(units[self.index - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read ``K/N``.

    Raises
    ------
    InputError
        Not two positive integers with K at most N.

    Examples
    --------
    >>> parse_shard("3/16").select(list(range(40)))
    [2, 18, 34]
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise InputError(f"`shard` {text}: write it as K/N, for example 3/16")
    index, count = int(match[1]), int(match[2])
    if not 1 <= index <= count:
        raise InputError(f"`shard` {text}: K counts from 1 and is at most N")
    return Shard(index, count)
