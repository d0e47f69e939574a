"""Percentiles near the ends of large arrays, exact, at a fraction of the cost of a full selection."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_SAMPLE = 64
"""Every so many values guess where the tail begins (ours)."""

_MARGIN = 1.0
"""Percentage points by which the guessed tail is longer than needed (ours); too short a guess costs only time."""


def upper_percentile(values: npt.NDArray[np.float32], percent: float) -> float:
    """Return a percentile by linear interpolation, as `numpy.percentile` does.

    A sample guesses where the upper tail begins; the order statistics are then selected within the tail alone.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
        At least one value.
    percent : float
        0 to 100; fast near 100.

    Examples
    --------
    >>> upper_percentile(np.arange(101, dtype=np.float32), 99)
    99.0
    """
    count = len(values)
    position = (count - 1) * percent / 100.0
    low = math.floor(position)
    start = np.percentile(values[::_SAMPLE], max(percent - _MARGIN, 0.0))
    tail = values[values >= start]
    if len(tail) < count - low:
        tail = values
    place = low - (count - len(tail))
    after = min(place + 1, len(tail) - 1)
    found = np.partition(tail, [place, after])
    return float(found[place] + (float(found[after]) - float(found[place])) * (position - low))


def extreme_percentiles(values: npt.NDArray[np.float32], percent: float) -> tuple[float, float]:
    """Return the percentiles `percent` and 100 - `percent`, for a small `percent`."""
    return -upper_percentile(-values, 100.0 - percent), upper_percentile(values, 100.0 - percent)
