"""Fields of a slide: regular positions, and the share of tissue of each."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .tissue import Tissue

Positions: TypeAlias = npt.NDArray[np.int64]
"""x and y of left upper corners, pixels of level 0; shape (fields, 2)."""


def positions(width: int, height: int, side: float, *, overlap: float = 0.0, edges: bool = False) -> Positions:
    """Return regular positions of squares, row by row from the left upper corner.

    Parameters
    ----------
    width, height : int
        Size of the slide, pixels of level 0.
    side : float
        Side of a square, pixels of level 0.
    overlap : float
        Share of the side by which squares overlap the next, 0 to below 1.
    edges : bool
        Add squares that reach beyond the right and lower edge, so that all of the slide is covered.

    Returns
    -------
    ndarray of int64, shape (squares, 2)
        None if the slide is smaller than a square, unless `edges` is set.

    Examples
    --------
    >>> positions(250, 100, 100).tolist()
    [[0, 0], [100, 0]]
    >>> positions(250, 100, 100, edges=True).tolist()
    [[0, 0], [100, 0], [200, 0]]
    """
    step = side * (1 - overlap)
    columns, rows = (
        np.rint(np.arange((length - 1 if edges else length - side) // step + 1) * step).astype(np.int64)
        for length in (width, height)
    )
    return np.stack([np.tile(columns, len(rows)), np.repeat(rows, len(columns))], axis=1)


def tissue_shares(tissue: Tissue, corners: Positions, side: float) -> npt.NDArray[np.float64]:
    """Return the share of tissue in squares, 0 to 1.

    Parameters
    ----------
    tissue : Tissue
    corners : ndarray, shape (squares, 2)
    side : float
        Pixels of level 0.
    """
    import cv2

    sums = cv2.integral(tissue.mask.astype(np.uint8))
    begin, length = np.rint(corners / tissue.factor).astype(int), max(1, round(side / tissue.factor))
    most = tissue.mask.shape[::-1]
    (left, top), (right, bottom) = (np.minimum(at, most).T for at in (begin, begin + length))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(inside / length**2, dtype=np.float64)
