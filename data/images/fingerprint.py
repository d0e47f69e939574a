"""Fingerprints that find near-duplicates even if an image was converted, turned, mirrored or cropped.

A fingerprint contains descriptors of points, which are extrema of a difference of Gaussians. A descriptor has the means
of 8 x 8 cells around the point. Cells that turning or mirroring exchanges are sorted, so that all eight orientations
have the same descriptor. One more descriptor describes the image as a whole. Images with similar descriptors are
candidates, whose pixels are then compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELLS = 8
"""Number of cells per side of a descriptor."""

LEAST_SPREAD = 4.0
"""An image, or the surroundings of a point, has tissue if the standard deviation of its grey levels reaches this."""

_SIGMAS = (0.4, 0.64)
"""Standard deviations of the two Gaussians, in cells. Their ratio is that of Lowe 2004, sec. 3."""

_MOST_POINTS = 96
"""Largest number of points of an image; the strongest are used."""

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """The scale at which all images of a dataset are compared. It is the same for all, so that crops can be found.

    Attributes
    ----------
    reduction : int
        Factor by which the sides of images are reduced.
    cell : int
        Side of a cell of a descriptor in pixels after the reduction; an even number.
    """

    reduction: int
    cell: int


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of an image with tissue.

    Attributes
    ----------
    shape : (int, int)
        Height and width after the reduction.
    points : ndarray of int32, shape (n, 2)
        Row and column of each point.
    local : ndarray of float16, shape (n, 64)
        Descriptor of each point, of unit length.
    whole : ndarray of float16, shape (64,)
        Descriptor of the whole image, of unit length.
    """

    shape: tuple[int, ...]
    points: npt.NDArray[np.int32]
    local: npt.NDArray[np.float16]
    whole: npt.NDArray[np.float16]


def grey_levels(image: npt.NDArray[np.uint8], scale: Scale) -> Grey:
    """Return the reduced grey levels of an image, float32 of shape (height, width)."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    step = scale.reduction
    if step == 1 or min(grey.shape) < step:
        return np.asarray(grey)
    height, width = grey.shape[0] // step, grey.shape[1] // step
    whole = np.ascontiguousarray(grey[: height * step, : width * step])
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def fingerprint(grey: Grey, scale: Scale) -> Fingerprint | None:
    """Compute the fingerprint of an image; None if it shows no tissue.

    Parameters
    ----------
    grey : ndarray of float32, shape (height, width)
        Reduced grey levels, from `grey_levels`.
    scale : Scale
    """
    import cv2

    if grey.std() < LEAST_SPREAD:
        return None
    points = _points(grey, scale.cell)
    reach = np.arange(1 - CELLS, CELLS, 2) * scale.cell // 2
    means = cv2.blur(grey, (scale.cell + 1, scale.cell + 1))
    cells = means[points[:, :1, None] + reach[None, :, None], points[:, 1:, None] + reach[None, None, :]]
    flat = cells.reshape(-1, CELLS**2)
    has_tissue = flat.std(axis=1) >= LEAST_SPREAD
    whole = cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA).reshape(1, -1)
    return Fingerprint(grey.shape, points[has_tissue], _invariant(flat[has_tissue]), _invariant(whole)[0])


def _points(grey: Grey, cell: int) -> npt.NDArray[np.int32]:
    """Return the extrema whose descriptor is completely inside the image, the strongest first."""
    import cv2

    narrow, wide = (cv2.GaussianBlur(grey, (0, 0), sigma * cell) for sigma in _SIGMAS)
    strength = np.abs(narrow - wide)
    side = cell + 1
    peaks = (strength == cv2.dilate(strength, np.ones((side, side), np.uint8))) & (strength > 1.0)
    margin = cell * CELLS // 2
    inside = np.zeros_like(peaks)
    inside[margin:-margin, margin:-margin] = True
    points = np.argwhere(peaks & inside).astype(np.int32)
    order = np.argsort(-strength[points[:, 0], points[:, 1]], kind="stable")[:_MOST_POINTS]
    return points[order]


def _orbits() -> list[npt.NDArray[np.int64]]:
    """Return groups of cells of a descriptor that the eight orientations of a square exchange with each other."""
    reach = np.abs(np.arange(1 - CELLS, CELLS, 2))
    key = np.maximum.outer(reach, reach) * 2 * CELLS + np.minimum.outer(reach, reach)
    return [np.flatnonzero(key.ravel() == value) for value in np.unique(key)]


def _invariant(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Compute descriptors, of unit length and independent of orientation, from the means of cells, shape (n, 64)."""
    centred = cells - cells.mean(axis=1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return np.concatenate([np.sort(centred[:, orbit], axis=1) for orbit in _orbits()], axis=1).astype(np.float16)
