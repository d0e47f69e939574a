"""From a coarse grid of values to one for each pixel of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def spread(
    values: npt.NDArray[np.floating],
    *,
    rows: Sequence[float] | Floats,
    columns: Sequence[float] | Floats,
    shape: tuple[int, int],
) -> Floats:
    """Interpolate linearly between the places of a grid; beyond the outermost ones their values go on.

    Parameters
    ----------
    values : ndarray, shape (len(rows), len(columns))
    rows, columns : sequence of float
        Where they are, as shares of height and width; ascending.
    shape : tuple of int
        Height and width of the picture.

    Returns
    -------
    ndarray of float64, shape `shape`

    Examples
    --------
    >>> spread(np.array([[0.0, 1.0]]), rows=[0.5], columns=[0.25, 0.75], shape=(1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    down, across = (_weights(np.asarray(places), size) for places, size in zip((rows, columns), shape, strict=True))
    return np.asarray(down @ np.asarray(values, np.float64) @ across.T)


def _weights(places: Floats, size: int) -> Floats:
    """Return how much of each place is in each pixel, float64 of shape (size, places)."""
    pixels = (np.arange(size) + 0.5) / size
    return np.stack([np.interp(pixels, places, one) for one in np.eye(len(places))], axis=1)


def grid_starts(length: int, *, side: int, step: int, most: int) -> npt.NDArray[np.int64]:
    """Return where windows of `side` pixels begin so that they cover a length evenly, about `step` pixels apart.

    Examples
    --------
    >>> grid_starts(100, side=40, step=25, most=32).tolist()
    [0, 20, 40, 60]
    """
    count = min(most, -(-(length - side) // max(1, step)) + 1)
    return np.unique(np.linspace(0, length - side, count).round().astype(np.int64))
