"""Grids of positions over an image: starts of windows, and interpolation between positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = Sequence[Floats]
"""Positions of the rows and of the columns of a grid, as ascending fractions of height and width."""


def spread(values: npt.NDArray[np.floating], places: Places, shape: Sequence[int]) -> Floats:
    """Interpolate linearly between the positions of a grid. Beyond the outermost positions, values are constant.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
    places : Places
        Positions of the rows and columns.
    shape : sequence of int
        Height and width of the image.

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
    """Return the mean over the image of each of k values on a grid (rows, columns, k), shape (k,); see `spread`."""
    down, across = (_weights(axis, size).mean(axis=0) for axis, size in zip(places, shape, strict=True))
    return np.asarray(np.einsum("r,rck,c->k", down, values, across))


def _weights(places: Floats, size: int) -> Floats:
    """Return the interpolation weight of each position for each pixel, float64 of shape (size, places)."""
    pixels = (np.arange(size) + 0.5) / size
    return np.stack([np.interp(pixels, places, unit) for unit in np.eye(len(places))], axis=1)


def grid_starts(length: int, *, side: int, step: int, most: int) -> npt.NDArray[np.int64]:
    """Return the starts of windows of `side` pixels that cover a length evenly, about `step` pixels apart.

    Examples
    --------
    >>> grid_starts(100, side=40, step=25, most=32).tolist()
    [0, 20, 40, 60]
    """
    count = min(most, -(-(length - side) // max(1, step)) + 1)
    return np.unique(np.linspace(0, length - side, count).round().astype(np.int64))


def around(grid: npt.NDArray[np.float32], reach: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the features at each grid position and at its neighbours up to `reach` away, shape (k, d)."""
    height, width, depth = grid.shape
    for row in range(height):
        for column in range(width):
            rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
            yield grid[rows, columns].reshape(-1, depth)
