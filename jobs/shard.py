"""The share ``K/N`` of the units: every N-th unit, by arithmetic alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..core import InputError

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

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``K/N``.

        Raises
        ------
        InputError
            Not two positive integers with K at most N.

        Examples
        --------
        >>> Shard.parse("3/16").select(list(range(40)))
        [2, 18, 34]
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None:
            raise InputError("{shard} {}: write it as K/N, for example 3/16", text)
        index, count = int(match[1]), int(match[2])
        if not 1 <= index <= count:
            raise InputError("{shard} {}: K counts from 1 and is at most N", text)
        return cls(index, count)


@dataclass(frozen=True)
class Share:
    """What a shard has of some work, and how much of all of it is done.

    Attributes
    ----------
    shard : Shard
    own, done, units : int
        Units of the shard, units that are done by whichever shard, and all units.
    unit : str
        What they are called, in the plural.
    """

    shard: Shard
    own: int
    done: int
    units: int
    unit: str

    def __str__(self) -> str:
        whole = f"{self.units} {self.unit if self.units != 1 else self.unit[:-1]}"
        held = f"has {self.own} of {whole}" if self.own else f"is empty, since there is no more work than {whole}"
        return f"shard {self.shard} {held}; {self.done} of {self.units} done"

    def total(self, shares: Sequence[Share]) -> Share:
        """Return that of several pieces of work together."""
        own, done, units = (sum(getattr(one, name) for one in shares) for name in ("own", "done", "units"))
        return Share(self.shard, own, done, units, self.unit)

    def content(self) -> dict[str, Any]:
        """Return what the record of a run holds."""
        return {"shard": str(self.shard), "done": self.done, "units": self.units, "unit": self.unit}
