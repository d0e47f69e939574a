"""Treatments of contrast, and leaving an image as it is, which estimate no stains; and the methods of StainTools 2.1.

The names of treatments are those of the BreakHis system (recipe ``breakhis-resnet``). It does not publish its
constants, so all constants here are bchisto's choice.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import DependencyError, InputError, TissueError, how_to_install, one_of
from .colours import TRANSMITTED_LIGHT, Image, check_rgb
from .macenko import REFERENCE_MAXIMA, REFERENCE_STAINS, MacenkoNormalizer
from .spec import StainEstimate, StainSpec

_CLIP = 2.0
_TILES = 8
"""Clip limit of CLAHE and its number of tiles per side, as in OpenCV's tutorial."""

_SIGMA_SHARE = 1 / 32
"""Standard deviation of the Gaussian as a share of the shorter side of the image."""

_MIDDLE = 128.0
_DEVIATION = 42.0
"""Mean and standard deviation of a whitened image, grey levels: three deviations fill the range."""

_LEAST_VARIANCE = 1.0
"""Smaller variances are rounding noise and are not amplified."""


def _clahe(image: Image) -> Image:
    """Equalise the lightness in tiles, with limited contrast (Zuiderveld 1994), without changing colours."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=_CLIP, tileGridSize=(_TILES, _TILES)).apply(
        lab[:, :, 0]
    )
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _whitening(image: Image) -> Image:
    """Decorrelate the colour channels and scale them to equal variance (ZCA, Bell & Sejnowski 1997)."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    centred = pixels - pixels.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.where(
        variances > _LEAST_VARIANCE, 1.0 / np.sqrt(np.maximum(variances, _LEAST_VARIANCE)), 0.0
    )
    white = centred @ (directions * scale) @ directions.T
    return _to_uint8(_MIDDLE + _DEVIATION * white).reshape(image.shape)


def _demean(image: Image) -> Image:
    """Shift the mean colour of the image to middle grey."""
    return _to_uint8(image - image.reshape(-1, 3).mean(axis=0) + _MIDDLE)


def _gaussian_clahe(image: Image) -> Image:
    """Subtract the smoothed image, which leaves local detail, and equalise the difference."""
    import cv2

    sigma = max(1.0, _SIGMA_SHARE * min(image.shape[:2]))
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    return _clahe(_to_uint8(image - smooth + _MIDDLE))


def _to_uint8(values: Any) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


_STEPS = {
    "clahe": (_clahe,),
    "whitening": (_whitening,),
    "demean": (_demean,),
    "gaussian-clahe": (_gaussian_clahe,),
    "clahe-whitening": (_clahe, _whitening),
    "whitening-clahe": (_whitening, _clahe),
}

TREATMENTS = tuple(_STEPS)
"""Names of the contrast treatments."""


def treat(image: Image, method: str) -> Image:
    """Apply a contrast treatment to an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB; grey as three equal channels.
    method : str
        One of `TREATMENTS`: ``clahe`` (contrast-limited adaptive histogram equalisation of the lightness),
        ``whitening`` (channels decorrelated), ``demean`` (mean colour shifted to grey), ``gaussian-clahe`` (smoothed
        image subtracted, then CLAHE), ``clahe-whitening`` or ``whitening-clahe``.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    InputError
        There is no such treatment.
    ImageError
        Not a uint8 RGB image.
    """
    if method not in _STEPS:
        raise InputError(f"{method}: no such treatment; {one_of(method, TREATMENTS)}")
    check_rgb(image)
    for step in _STEPS[method]:
        image = step(image)
    return image


@dataclass(frozen=True)
class _Treatment:
    """Gives images a treatment; estimates no stains."""

    name: str

    def normalize_with_estimate(self, image: Image) -> tuple[Image, None]:
        return treat(image, self.name), None


class _Unchanged:
    """Leaves images as they are."""

    def normalize_with_estimate(self, image: Image) -> tuple[Image, None]:
        return image, None


NONE = StainSpec("none", _Unchanged, checked=False, method="Stains were not normalised.")

TREATED = tuple(
    StainSpec(name, functools.partial(_Treatment, name), checked=False) for name in TREATMENTS
)
"""A specification of each treatment."""


_RAMP_PIXELS = 256
"""Side of the reference image, pixels."""


def reference_ramp() -> Image:
    """Return an image of all mixtures of the two reference stains, from none to their reference maxima.

    StainTools needs a target image. This one is made from the reference stain matrix and maxima of Rakhlin et al. 2018,
    so that all normalisers have the same target colours.

    Returns
    -------
    ndarray of uint8, shape (256, 256, 3)
    """
    steps = np.linspace(0.0, 1.0, _RAMP_PIXELS)
    haematoxylin, eosin = np.meshgrid(
        steps * REFERENCE_MAXIMA[0], steps * REFERENCE_MAXIMA[1], indexing="ij"
    )
    density = np.stack([haematoxylin, eosin], axis=2) @ REFERENCE_STAINS.T
    return np.asarray(np.clip(TRANSMITTED_LIGHT * np.exp(-density), 0, 255), dtype=np.uint8)


class StainToolsNormalizer:
    """Macenko, Vahadane or Reinhard normalisation by StainTools 2.1.

    Parameters
    ----------
    method : {"macenko", "vahadane", "reinhard"}
        Name of the method in StainTools.

    Raises
    ------
    DependencyError
        StainTools is not installed.
    """

    def __init__(self, method: str) -> None:
        try:
            import staintools
        except ImportError as error:
            raise DependencyError(
                "{stain:staintools-{}} needs StainTools: {}, then pip install --force-reinstall "
                "--no-deps opencv-python-headless",
                method,
                how_to_install("staintools"),
            ) from error
        self._normalizer: Any = (
            staintools.ReinhardColorNormalizer()
            if method == "reinhard"
            else staintools.StainNormalizer(method=method)
        )
        self._normalizer.fit(reference_ramp())
        self._method = method

    def normalize_with_estimate(self, image: Image) -> tuple[Image, StainEstimate | None]:
        """Normalise an image; the returned estimate is ``None`` unless the method is Macenko's.

        Foreign pixels keep their colour. StainTools has no mask, so it gets evenly spaced other pixels in their place,
        which keep the statistics.

        Raises
        ------
        TissueError
            Too little tissue. This is checked first, because StainTools crashes on blank images.
        """
        estimate = MacenkoNormalizer().estimate(image)
        foreign = estimate.foreign
        filled_image = image
        if foreign is not None:
            tissue = image[~foreign]
            positions = np.linspace(0, len(tissue) - 1, np.count_nonzero(foreign)).astype(int)
            filled_image = image.copy()
            filled_image[foreign] = tissue[positions]
        try:
            normalised = np.asarray(self._normalizer.transform(filled_image), dtype=np.uint8)
        except Exception as error:
            raise TissueError(
                "StainTools {} failed on this image: {}", self._method, error
            ) from error
        if foreign is not None:
            normalised = np.where(foreign[..., np.newaxis], image, normalised)
        if self._method != "macenko":
            return normalised, None
        return normalised, estimate


def _spec(method: str, *, what: str, source: str) -> StainSpec:
    return StainSpec(
        f"staintools-{method}",
        functools.partial(StainToolsNormalizer, method),
        method=f"StainTools normalised the {what} by the method of {source}.",
    )


STAINTOOLS = (
    _spec("macenko", what="stains", source="Macenko et al. [@macenko2009]"),
    _spec("vahadane", what="stains", source="Vahadane et al. [@vahadane2016]"),
    _spec("reinhard", what="colours", source="Reinhard et al. [@reinhard2001]"),
)
