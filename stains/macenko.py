"""Macenko normalisation, with the constants and conventions of Rakhlin et al. 2018."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from ..core import TissueError
from .od import TRANSMITTED_LIGHT, Image, check_rgb, density_table, optical_density

Array = npt.NDArray[np.float64]

MACENKO_BETA: Final = 0.15
"""A pixel is tissue where all three optical densities (natural log) reach this. Macenko et al. 2009, sec. 2;
Rakhlin et al. 2018, published code."""

MACENKO_ALPHA: Final = 1.0
"""Percentile (and 100 minus it) of the angle taken as the extreme stains. Macenko et al. 2009, sec. 2."""

MACENKO_MAX_PERCENTILE: Final = 99.0
"""Percentile of a stain's concentration taken as its maximum. Macenko et al. 2009, sec. 2."""

REFERENCE_STAINS: Final = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
"""Reference stain matrix: rows red, green, blue; columns haematoxylin, eosin (natural-log optical density).
Rakhlin et al. 2018, published code, after the reference implementation of Macenko et al. 2009."""

REFERENCE_MAXIMA: Final = np.array([1.9705, 1.0308])
"""Reference 99th percentiles of the haematoxylin and eosin concentrations. Source as `REFERENCE_STAINS`."""

MIN_TISSUE_PIXELS: Final = 100
"""Fewer tissue pixels than this are too little to estimate stains from (a 1st percentile of fewer
pixels is the minimum)."""

RANK_TOLERANCE: Final = 1e-6
"""The tissue covariance is rank deficient where its second eigenvalue is below this share of the first
(a uint8 image of one flat colour with rounding noise stays below it)."""


_MEAN = np.full((1, 3), 1 / 3)
"""Takes the mean over the channels."""

_SAMPLE = 64
"""Every so many values guess where the tail begins."""

_MARGIN = 1.0
"""Percentage points by which the guessed tail is longer than needed; too short a guess costs only time."""


@dataclass(frozen=True)
class StainEstimate:
    """The stains of one image.

    Attributes
    ----------
    stains : ndarray of float64, shape (3, 2)
        Unit optical-density vectors as columns: haematoxylin, eosin.
    maxima : ndarray of float64, shape (2,)
        99th percentiles of their concentrations over all pixels.
    tissue : float
        Share of tissue pixels, 0 to 1.
    residual : float
        Root mean square of the optical density that the two stains do not explain, over all pixels.
    """

    stains: Array
    maxima: Array
    tissue: float
    residual: float


@dataclass(frozen=True)
class MacenkoNormalizer:
    """Bring the H&E stains of an image to a reference.

    The stain plane is spanned by the eigenvectors of the two largest eigenvalues of the tissue covariance
    (``eigh``, so always the largest two). The angle in that plane is measured around the largest eigenvector,
    oriented along the tissue, so that it cannot wrap.

    Parameters
    ----------
    light : float
        Intensity through empty glass, grey levels.
    beta : float
        Optical density that all three channels of a tissue pixel reach.
    alpha : float
        Percentile of the angle (and 100 minus it) taken as the extreme stains.
    stains : ndarray, shape (3, 2)
        Reference stain vectors as columns: haematoxylin, eosin.
    maxima : ndarray, shape (2,)
        Reference 99th percentiles of their concentrations.
    robust : bool
        Estimate from every pixel whose mean optical density over the channels reaches beta, and not only from those
        that reach it in all three: there are few of these in pale or eosin-rich tissue. Components of a stain below 0
        are taken for 0.

    References
    ----------
    Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", sec. 2;
    Rakhlin et al. 2018, sec. 2.3, and published code for the constants.
    """

    light: float = TRANSMITTED_LIGHT
    beta: float = MACENKO_BETA
    alpha: float = MACENKO_ALPHA
    stains: Array = field(default_factory=REFERENCE_STAINS.copy)
    maxima: Array = field(default_factory=REFERENCE_MAXIMA.copy)
    robust: bool = False

    def tissue_share(self, image: Image) -> float:
        """Return the share of pixels that stains are estimated from, 0 to 1."""
        return float(self._tissue(check_rgb(image)).mean())

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
            Fewer than 100 tissue pixels, or tissue of one colour only, so that two stains cannot be told apart.
        """
        od = optical_density(image, light=self.light)
        tissue = self._tissue(image)
        count = int(np.count_nonzero(tissue))
        if count < MIN_TISSUE_PIXELS:
            raise TissueError(
                f"too little tissue to estimate stains: {count} tissue pixels, at least {MIN_TISSUE_PIXELS} needed"
            )
        pixels = od.reshape(-1, 3)
        stains = self._extreme_stains(np.compress(tissue.ravel(), pixels, axis=0))
        unmixing = np.asarray(np.linalg.pinv(stains), dtype=np.float64)
        concentrations = _transform(od, unmixing).reshape(-1, 2)
        maxima = np.array([upper_percentile(column, MACENKO_MAX_PERCENTILE) for column in concentrations.T.copy()])
        if not np.all(maxima > 0):
            raise TissueError("too little tissue to estimate stains: a stain has no positive concentration")
        # the sum of squares that the projection onto the stain plane leaves, from second moments alone
        rest = np.trace((np.eye(3) - stains @ unmixing) @ _second_moments(pixels)) / pixels.size
        return StainEstimate(stains, maxima, count / tissue.size, float(np.sqrt(max(rest, 0.0))))

    def apply(self, image: Image, estimate: StainEstimate) -> Image:
        """Replace the estimated stains by the reference.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Clipped to 0..255 and truncated.
        """
        import cv2

        scale = self.maxima / estimate.maxima
        mixing = self.stains @ np.diag(scale) @ np.linalg.pinv(estimate.stains)
        # 240 exp(-M od) = exp(ln 240 - M od), one affine map of the optical density
        exponent = _transform(optical_density(image, light=self.light), -mixing, offset=float(np.log(self.light)))
        # The saturating cast rounds where the published code truncates. Nothing is below -0.5 here, so the absolute
        # value that this call takes rounds to 0 as well.
        return np.asarray(cv2.convertScaleAbs(cv2.exp(exponent), alpha=1.0, beta=-0.5), dtype=np.uint8)

    def normalize(self, image: Image) -> Image:
        """Estimate and replace the stains of an image.

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
        """Return the normalised image, see `normalize`, and the estimated stains."""
        estimate = self.estimate(image)
        return self.apply(image, estimate), estimate

    def _tissue(self, image: Image) -> npt.NDArray[np.bool_]:
        if self.robust:
            return np.asarray(_transform(optical_density(image, light=self.light), _MEAN) >= self.beta, dtype=np.bool_)
        return _darker(image, "RGB", light=self.light, beta=self.beta) > 0

    def _extreme_stains(self, density: npt.NDArray[np.float32]) -> Array:
        count = len(density)
        mean = density.mean(axis=0, dtype=np.float64)
        covariance = (_second_moments(density) - count * np.outer(mean, mean)) / (count - 1)
        values, vectors = np.linalg.eigh(covariance)
        if values[2] <= 0 or values[1] <= RANK_TOLERANCE * values[2]:
            raise TissueError("too little tissue to estimate stains: all tissue pixels are on one colour line")
        plane = vectors[:, [2, 1]]
        plane = plane * np.where(mean @ plane < 0, -1.0, 1.0)
        along, across = (density @ plane.astype(np.float32)).T.copy()
        angle = np.arctan2(across, along)
        low, high = extreme_percentiles(angle, self.alpha)
        extremes = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
        if np.linalg.matrix_rank(extremes, tol=RANK_TOLERANCE) < 2:
            raise TissueError("too little tissue to estimate stains: both extreme stains are the same")
        if self.robust:
            extremes = np.maximum(extremes, 0.0)
            extremes /= np.linalg.norm(extremes, axis=0)
        # the stain that absorbs more red is haematoxylin
        ordered = extremes if extremes[0, 0] > extremes[0, 1] else extremes[:, ::-1]
        return np.array(ordered, dtype=np.float64)


def _darker(image: Image, channels: str, *, light: float, beta: float) -> npt.NDArray[np.uint8]:
    """Return a mask, 255 if the optical densities of these channels, letters of RGB, all reach beta."""
    import cv2

    # od falls with the grey level, so "reaches beta" is a bound on the grey level
    brightest = int(np.count_nonzero(density_table(light) >= beta)) - 1
    bounds = [brightest if channel in channels else 255 for channel in "RGB"]
    return np.asarray(cv2.inRange(check_rgb(image), np.zeros(3), np.array(bounds, np.float64)), dtype=np.uint8)


def stained_pixels(image: Image) -> npt.NDArray[np.uint8]:
    """Return a mask, 255 if the optical density of the green channel, which both stains absorb, reaches 0.15."""
    return _darker(image, "G", light=TRANSMITTED_LIGHT, beta=MACENKO_BETA)


def _second_moments(density: npt.NDArray[np.float32]) -> Array:
    """Return the sum over pixels of od od^T, accumulated in float64; shape (3, 3)."""
    import cv2

    return np.asarray(cv2.mulTransposed(density, True, dtype=cv2.CV_64F), dtype=np.float64)


def _transform(od: npt.NDArray[np.float32], matrix: Array, *, offset: float = 0.0) -> npt.NDArray[np.float32]:
    import cv2

    affine = np.column_stack([matrix, np.full(len(matrix), offset)]).astype(np.float32)
    return np.asarray(cv2.transform(od, affine), dtype=np.float32)


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
    index = low - (count - len(tail))
    after = min(index + 1, len(tail) - 1)
    neighbours = np.partition(tail, [index, after])
    return float(neighbours[index] + (float(neighbours[after]) - float(neighbours[index])) * (position - low))


def extreme_percentiles(values: npt.NDArray[np.float32], percent: float) -> tuple[float, float]:
    """Return the percentiles `percent` and 100 - `percent`, for a small `percent`."""
    return -upper_percentile(-values, 100.0 - percent), upper_percentile(values, 100.0 - percent)
