"""Grids of places over a picture: where windows begin, and values between places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = Sequence[Floats]
"""Where the rows and the columns of a grid are, as shares of height and width; ascending."""


def spread(values: npt.NDArray[np.floating], places: Places, shape: Sequence[int]) -> Floats:
    """Interpolate linearly between the places of a grid; beyond the outermost ones their values go on.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
    places : Places
        Where they are.
    shape : sequence of int
        Height and width of the picture.

    Returns
    -------
    ndarray of float64, shape `shape`

    Examples
    --------
    >>> spread(np.array([[0.0, 1.0]]), [np.array([0.5]), np.array([0.25, 0.75])], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    down, across = (_weights(axis, size) for axis, size in zip(places, shape, strict=True))
    return np.asarray(down @ np.asarray(values, np.float64) @ across.T)


def means_over(values: Floats, places: Places, shape: Sequence[int]) -> Floats:
    """Return the mean over the picture of each value of a grid, shape (k,), from (rows, columns, k); see `spread`."""
    down, across = (_weights(axis, size).mean(axis=0) for axis, size in zip(places, shape, strict=True))
    return np.asarray(np.einsum("r,rck,c->k", down, values, across))


def _weights(places: Floats, size: int) -> Floats:
    """Return how much of each place is in each pixel, float64 of shape (size, places)."""
    pixels = (np.arange(size) + 0.5) / size
    return np.stack([np.interp(pixels, places, unit) for unit in np.eye(len(places))], axis=1)


def grid_starts(length: int, *, side: int, step: int, most: int) -> npt.NDArray[np.int64]:
    """Return where windows of `side` pixels begin so that they cover a length evenly, about `step` pixels apart.

    Examples
    --------
    >>> grid_starts(100, side=40, step=25, most=32).tolist()
    [0, 20, 40, 60]
    """
    count = min(most, -(-(length - side) // max(1, step)) + 1)
    return np.unique(np.linspace(0, length - side, count).round().astype(np.int64))


def around(grid: npt.NDArray[np.float32], reach: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the descriptors of each place of a grid and of those up to `reach` places away, shape (k, d)."""
    height, width, depth = grid.shape
    for row in range(height):
        for column in range(width):
            rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
            yield grid[rows, columns].reshape(-1, depth)
