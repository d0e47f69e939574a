"""Comparison of the pixels of two images that may be near-duplicates, turned, mirrored, shifted or resized."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_SPREAD = 4.0
"""An image, or the surroundings of a point, has tissue if the standard deviation of its grey levels reaches this."""

LEAST_POINTS = 3
"""Smallest number of points that must agree on one shift and orientation."""

SAME_PIXELS = 0.9
"""Smallest correlation of the aligned grey levels of near-duplicates."""

_SURE = 0.98
"""From this correlation on, shifts by one pixel are not tried."""

_SHIFT = 3
_DISTINCT = 0.5
"""To be near-duplicates, two images may differ by at most this fraction of the difference between an image and itself
shifted by so many pixels (`_SHIFT`). On real images, near-duplicates differ by 0.02 of it (99 %: 0.17), and
other images that correlate differ by more than 1.2 of it."""

_THUMB = 32
"""Side in pixels at which orientations are tried."""

_SQUEEZED = 0.05
"""Largest logarithm of the ratio of two aspect ratios that count as equal."""

_GRID = 3
_LEAST_PARTS = 5
_ALIKE_PARTS = 0.7
"""An overlap is divided into parts (`_GRID` per side), of which so many must have at least this correlation. Otherwise
a single strong object on a plain background would make any two images correlate that both have such an object."""

Grey = npt.NDArray[np.float32]
"""Grey levels of an image, shape (height, width)."""

Points = npt.NDArray[np.int32]
"""Rows and columns of points, shape (n, 2)."""

Alignment = tuple[int, int, int]
"""Orientation (0 to 7), shift in rows and shift in columns."""


def _turn(points: Points, shape: tuple[int, ...], orientation: int) -> Points:
    """Return the positions of points after an image is mirrored (orientations 4 to 7) and turned, as in `_oriented`."""
    rows = points[:, 0]
    columns = points[:, 1]
    height, width = shape
    if orientation >= 4:
        columns = width - 1 - columns
    for _ in range(orientation % 4):
        rows, columns, height, width = width - 1 - columns, rows, width, height
    return np.stack([rows, columns], axis=1)


def _oriented(image: Grey, orientation: int) -> Grey:
    """Return an image in one of eight orientations: mirrored from the fifth on, and turned by quarter turns."""
    if orientation >= 4:
        image = image[:, ::-1]
    return np.rot90(image, orientation % 4)


def align(left: Points, right: Points, shape: tuple[int, ...]) -> Alignment | None:
    """Return the orientation of the second image and the shift on which most points agree; None if too few do."""
    best = None
    most = LEAST_POINTS - 1
    for orientation in range(8):
        shifts = left - _turn(right, shape, orientation)
        is_near = np.abs(shifts[:, None] - shifts[None]).max(axis=2) <= 2
        votes = is_near.sum(axis=1)
        leader = int(votes.argmax())
        agreeing = len(np.unique(left[is_near[leader]], axis=0))
        if agreeing > most:
            rows, columns = np.rint(np.median(shifts[is_near[leader]], axis=0)).astype(int).tolist()
            best = (orientation, rows, columns)
            most = agreeing
    return best


def compare_aligned(
    left: Grey, right: Grey, orientation: int, rows: int, columns: int
) -> tuple[float, float]:
    """Return the correlation of two images where they overlap, and the share of the smaller one in the overlap."""
    turned = _oriented(right, orientation)
    best = _overlap(left, turned, rows, columns)
    if best[0] < _SURE:  # reduced images may be shifted by half a pixel
        best = max(
            _overlap(left, turned, rows + r, columns + c) for r in (-1, 0, 1) for c in (-1, 0, 1)
        )
    return best


def _overlap(first: Grey, second: Grey, rows: int, columns: int) -> tuple[float, float]:
    top = max(0, rows)
    left = max(0, columns)
    bottom = min(first.shape[0], rows + second.shape[0])
    right = min(first.shape[1], columns + second.shape[1])
    if bottom <= top or right <= left:
        return 0.0, 0.0
    part = first[top:bottom, left:right]
    other = second[top - rows : bottom - rows, left - columns : right - columns]
    correlation = _distinct_correlation(part, other)
    if correlation >= SAME_PIXELS and not _alike_throughout(part, other):
        correlation = 0.0
    return correlation, part.size / min(first.size, second.size)


def _alike_throughout(left: Grey, right: Grey) -> bool:
    """Whether enough parts of an overlap correlate by themselves, so that a few strong objects do not decide."""
    parts = (
        _correlate(*pair, spread=1.0)
        for rows in zip(np.array_split(left, _GRID), np.array_split(right, _GRID), strict=True)
        for pair in zip(*(np.array_split(row, _GRID, axis=1) for row in rows), strict=True)
    )
    return sum(correlation >= _ALIKE_PARTS for correlation in parts) >= _LEAST_PARTS


def compare_whole(left: Grey, right: Grey) -> tuple[float, float]:
    """Return the correlation of two whole images, resized to one size, in the orientation that fits best."""
    import cv2

    def resized(image: Grey, shape: tuple[int, ...]) -> Grey:
        contiguous = np.ascontiguousarray(image)
        return np.asarray(cv2.resize(contiguous, shape[::-1], interpolation=cv2.INTER_AREA))

    small = resized(left, (_THUMB, _THUMB))
    thumb = resized(right, (_THUMB, _THUMB))
    turned = _oriented(
        right,
        max(range(8), key=lambda orientation: _correlate(small, _oriented(thumb, orientation))),
    )
    if abs(np.log(left.shape[1] / left.shape[0] * turned.shape[0] / turned.shape[1])) > _SQUEEZED:
        return 0.0, 0.0
    shape = left.shape if left.size <= turned.size else turned.shape
    return _distinct_correlation(resized(left, shape), resized(turned, shape)), 1.0


def _distinct_correlation(left: Grey, right: Grey) -> float:
    """Return the correlation of aligned grey levels; 0 if a shifted image correlates about as well with itself.

    Edges of tissue or of a slide, and other patterns along a line, match at many positions. The pixels of a
    near-duplicate match at only one.
    """
    if min(left.shape) <= 4 * _SHIFT:
        return 0.0
    correlation = _correlate(left, right)
    if correlation < SAME_PIXELS:
        return correlation
    middle = left[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    height, width = middle.shape
    shifted = max(
        _correlate(middle, left[_SHIFT + r : _SHIFT + r + height, _SHIFT + c : _SHIFT + c + width])
        for r, c in ((0, _SHIFT), (_SHIFT, 0), (_SHIFT, _SHIFT), (_SHIFT, -_SHIFT))
    )
    return correlation if 1 - correlation <= _DISTINCT * (1 - shifted) else 0.0


def _correlate(left: Grey, right: Grey, *, spread: float = LEAST_SPREAD) -> float:
    """Return the correlation of grey levels; 0 if an image is blank, judged by a standard deviation of `spread`."""
    first = left - left.mean()
    second = right - right.mean()
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 0.0 if norms < spread**2 * left.size else float((first * second).sum() / norms)
