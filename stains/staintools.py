"""The methods of StainTools 2.1, which is installed separately."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..core import DependencyError, TissueError, how_to_install
from .colours import TRANSMITTED_LIGHT, Image
from .macenko import REFERENCE_MAXIMA, REFERENCE_STAINS, MacenkoNormalizer
from .spec import StainEstimate, StainSpec

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
        given = image
        if (foreign := estimate.foreign) is not None:
            given, kept = image.copy(), image[~foreign]
            given[foreign] = kept[
                np.linspace(0, len(kept) - 1, np.count_nonzero(foreign)).astype(int)
            ]
        try:
            normalised = np.asarray(self._normalizer.transform(given), dtype=np.uint8)
        except Exception as error:
            raise TissueError(
                "StainTools {} failed on this image: {}", self._method, error
            ) from error
        if foreign is not None:
            normalised = np.where(foreign[..., np.newaxis], image, normalised)
        return normalised, estimate if self._method == "macenko" else None


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
