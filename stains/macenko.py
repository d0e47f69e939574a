"""Macenko normalisation, with the constants and conventions of Rakhlin et al. 2018."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from ..core import TissueError
from ..core.formats import Array, Floats, Floats32
from .colours import TRANSMITTED_LIGHT, Image, check_rgb, density_table, optical_density
from .foreign import Mask, beside, foreign_pixels
from .spec import StainEstimate, StainSpec

MACENKO_BETA = 0.15
"""A pixel is tissue if its three optical densities (natural log) all reach this value. Macenko et al. 2009, sec. 2;
Rakhlin et al. 2018, published code."""

MACENKO_ALPHA = 1.0
"""This percentile of the angle, and 100 minus it, define the two stains. Macenko et al. 2009, sec. 2."""

MACENKO_MAX_PERCENTILE = 99.0
"""Percentile of a stain's concentration that is used as its maximum. Macenko et al. 2009, sec. 2."""

REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
"""Reference stain matrix: rows red, green, blue; columns haematoxylin, eosin (natural-log optical density).
Rakhlin et al. 2018, published code, after the reference implementation of Macenko et al. 2009."""

REFERENCE_MAXIMA = np.array([1.9705, 1.0308])
"""Reference 99th percentiles of the haematoxylin and eosin concentrations. Source as `REFERENCE_STAINS`."""

MIN_TISSUE_PIXELS = 100
"""Smallest number of tissue pixels from which stains are estimated. With fewer, the 1st percentile is the minimum."""

RANK_TOLERANCE = 1e-6
"""The tissue covariance is rank deficient if its second eigenvalue is below this share of the first. A uint8 image of
one flat colour with rounding noise is below it."""


_MEAN = np.full((1, 3), 1 / 3)
"""Matrix that averages the channels."""

_SAMPLE = 64
"""One in this many values is sampled to estimate where the tail of the distribution begins."""

_MARGIN = 1.0
"""Percentage points by which the estimated tail is longer than needed. A tail that is too short only costs time."""


@dataclass(frozen=True)
class MacenkoNormalizer:
    """Normalise the H&E stains of an image to a reference with Macenko's method.

    The eigenvectors of the two largest eigenvalues of the tissue covariance (by ``eigh``) span the stain plane. Angles
    in this plane are measured from the first eigenvector, which is oriented towards the tissue, so that they cannot
    wrap.

    Parameters
    ----------
    alpha : float
        This percentile of the angle, and 100 minus it, define the two stains.
    stains : ndarray, shape (3, 2)
        Reference stain vectors as columns: haematoxylin, eosin.
    maxima : ndarray, shape (2,)
        Reference 99th percentiles of their concentrations.
    robust : bool
        Estimate the stains from every pixel whose mean optical density over the channels reaches `MACENKO_BETA`. By
        default, all three channels must reach it, which few pixels of pale or eosin-rich tissue do. Negative components
        of a stain are set to 0.
    published : bool
        Estimate the stains from ink, black and single-coloured areas too, and recolour them. By default, these pixels
        are left out.

    References
    ----------
    Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", sec. 2;
    Rakhlin et al. 2018, sec. 2.3, and published code for the constants.
    """

    alpha: float = MACENKO_ALPHA
    stains: Floats = field(default_factory=REFERENCE_STAINS.copy)
    maxima: Floats = field(default_factory=REFERENCE_MAXIMA.copy)
    robust: bool = False
    published: bool = False

    def estimate(self, image: Image) -> StainEstimate:
        """Estimate the stains of an image.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
            RGB.

        Returns
        -------
        StainEstimate

        Raises
        ------
        TissueError
            Fewer than 100 tissue pixels, or tissue of only one colour, in which two stains cannot be distinguished.
        """
        import cv2

        od = optical_density(image)
        foreign = foreign_pixels(image) if not self.published else None
        tissue = self.tissue(image)
        densities = od
        if foreign is not None:
            is_counted = ~beside(foreign)
            tissue = tissue & is_counted
            # the pixels that count, as a picture of one row, which cv2.transform takes
            densities = od[np.newaxis, is_counted]
        count = int(np.count_nonzero(tissue))
        if count < MIN_TISSUE_PIXELS:
            raise TissueError(
                f"too little tissue to estimate stains: {count} tissue pixels, at least {MIN_TISSUE_PIXELS} needed"
            )
        stains = self._extreme_stains(np.compress(tissue.ravel(), od.reshape(-1, 3), axis=0))
        unmixing = np.linalg.pinv(stains)
        concentrations = _transform(densities, unmixing).reshape(-1, 2)
        maxima = np.array(
            [upper_percentile(column, MACENKO_MAX_PERCENTILE) for column in concentrations.T.copy()]
        )
        if not np.all(maxima > 0):
            raise TissueError(
                "too little tissue to estimate stains: a stain has no positive concentration"
            )
        # mean square that the two stains do not explain, computed from second moments only
        pixels = densities.reshape(-1, 3)
        moments = cv2.mulTransposed(pixels, True, dtype=cv2.CV_64F)
        unexplained = np.trace((np.eye(3) - stains @ unmixing) @ moments) / pixels.size
        return StainEstimate(
            stains=stains,
            maxima=maxima,
            tissue=count / tissue.size,
            residual=float(np.sqrt(max(unexplained, 0.0))),
            foreign=foreign,
        )

    def apply(self, image: Image, estimate: StainEstimate) -> Image:
        """Replace the estimated stains of an image by the reference stains, except in its foreign pixels.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Clipped to 0..255 and truncated.
        """
        import cv2

        scale = self.maxima / estimate.maxima
        mixing = self.stains @ np.diag(scale) @ np.linalg.pinv(estimate.stains)
        # 240 exp(-M od) = exp(ln 240 - M od), one affine map of the optical density
        exponent = _transform(
            optical_density(image), -mixing, offset=float(np.log(TRANSMITTED_LIGHT))
        )
        # The published code truncates; this cast rounds, so 0.5 is subtracted. The call returns absolute values, which
        # is harmless: no value is below -0.5, so negative values also round to 0.
        recoloured = np.asarray(cv2.convertScaleAbs(cv2.exp(exponent), alpha=1.0, beta=-0.5))
        if estimate.foreign is None:
            return recoloured
        return np.where(estimate.foreign[..., np.newaxis], image, recoloured)

    def normalize(self, image: Image) -> Image:
        """Estimate the stains of an image and replace them by the reference stains.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
            RGB.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)

        Raises
        ------
        TissueError
            As `estimate`.
        ImageError
            Not a uint8 RGB image.
        """
        return self.normalize_with_estimate(image)[0]

    def normalize_with_estimate(self, image: Image) -> tuple[Image, StainEstimate]:
        """Return the normalised image and the estimated stains; see `normalize`."""
        estimate = self.estimate(image)
        return self.apply(image, estimate), estimate

    def tissue(self, image: Image) -> Mask:
        """Return which pixels are tissue, from which stains are estimated; shape (height, width)."""
        if self.robust:
            return _transform(optical_density(image), _MEAN) >= MACENKO_BETA
        return stained_pixels(image, "RGB") > 0

    def _extreme_stains(self, density: Floats32) -> Floats:
        import cv2

        count = len(density)
        # sums in the order of NumPy, and faster
        mean = cv2.reduce(density, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)[0] / count
        moments = cv2.mulTransposed(density, True, dtype=cv2.CV_64F)
        covariance = (moments - count * np.outer(mean, mean)) / (count - 1)
        values, vectors = np.linalg.eigh(covariance)
        if values[2] <= 0 or values[1] <= RANK_TOLERANCE * values[2]:
            raise TissueError(
                "too little tissue to estimate stains: all tissue pixels are on one colour line"
            )
        plane = vectors[:, [2, 1]]
        plane = plane * np.where(mean @ plane < 0, -1.0, 1.0)
        along, across = (density @ plane.astype(np.float32)).T.copy()
        angle = np.arctan2(across, along)
        low = -upper_percentile(-angle, 100.0 - self.alpha)
        high = upper_percentile(angle, 100.0 - self.alpha)
        extremes = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
        if np.linalg.matrix_rank(extremes, tol=RANK_TOLERANCE) < 2:
            raise TissueError(
                "too little tissue to estimate stains: both extreme stains are the same"
            )
        if self.robust:
            extremes = np.maximum(extremes, 0.0)
            extremes /= np.linalg.norm(extremes, axis=0)
        # the stain that absorbs more red is haematoxylin, the first
        if extremes[0, 0] <= extremes[0, 1]:
            extremes = extremes[:, ::-1]
        return np.array(extremes, dtype=np.float64)


def stained_pixels(image: Image, channels: str = "G") -> Image:
    """Return a mask that is 255 if the optical densities of all these channels (letters of RGB) reach `MACENKO_BETA`.

    By default it is that of green, which both stains absorb.
    """
    import cv2

    # the density falls with the grey level, so there is a brightest one
    brightest = int(np.count_nonzero(density_table() >= MACENKO_BETA)) - 1
    bounds = [brightest if channel in channels else 255 for channel in "RGB"]
    return np.asarray(cv2.inRange(check_rgb(image), np.zeros(3), np.array(bounds, np.float64)))


def _transform(od: Floats32, matrix: Array, *, offset: float = 0.0) -> Floats32:
    import cv2

    affine = np.column_stack([matrix, np.full(len(matrix), offset)]).astype(np.float32)
    return np.asarray(cv2.transform(od, affine))


def upper_percentile(values: Floats32, percent: float) -> float:
    """Return a percentile by linear interpolation, as `numpy.percentile` does.

    It is faster than NumPy: a sample shows where the upper tail begins, and only the tail is partially sorted.

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
    index = low - (count - len(tail))
    upper = min(index + 1, len(tail) - 1)
    neighbours = np.partition(tail, [index, upper])
    return float(
        neighbours[index] + (float(neighbours[upper]) - float(neighbours[index])) * (position - low)
    )


_METHOD = "Images were stain-normalised by the method of Macenko et al. [@macenko2009]"

MACENKO = StainSpec("macenko", MacenkoNormalizer, method=f"{_METHOD}.")

ROBUST = StainSpec(
    "macenko-robust",
    functools.partial(MacenkoNormalizer, robust=True),
    method=f"{_METHOD}, with stains estimated from all pixels whose mean optical density over the channels is at "
    f"least {MACENKO_BETA:g}.",
)
"""Macenko's method with stains estimated from all stained tissue."""

PUBLISHED = StainSpec(
    "macenko-published",
    functools.partial(MacenkoNormalizer, published=True),
    method=f"{_METHOD} as published.",
)
"""Macenko's method as published: ink, black and single-coloured areas count as tissue."""
