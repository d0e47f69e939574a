"""Stain methods by name, as the parameter ``stain`` accepts them, and those of StainTools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..core import DependencyError, InputError, TissueError, how_to_install, one_of
from .colours import TRANSMITTED_LIGHT, TREATMENTS, Image, treat
from .macenko import REFERENCE_MAXIMA, REFERENCE_STAINS, MacenkoNormalizer, StainEstimate

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


ROBUST = "macenko-robust"
"""Name of Macenko's method with stains estimated from all stained tissue."""

PUBLISHED = "macenko-published"
"""Name of Macenko's method as published: ink, black and single-coloured areas count as tissue."""

STAIN_METHODS = (
    "macenko",
    "none",
    ROBUST,
    PUBLISHED,
    "staintools-macenko",
    "staintools-vahadane",
    "staintools-reinhard",
    *TREATMENTS,
)
"""Names that the parameter ``stain`` accepts."""

CHECKED = frozenset(STAIN_METHODS) - {"none", *TREATMENTS}
"""Methods that normalise stains. `check_stains` checks their results."""


class Normalizer(Protocol):
    """Interface of objects that normalise an image and return the stains that they estimated."""

    def normalize_with_estimate(self, image: Image) -> tuple[Image, StainEstimate | None]:
        """Return the normalised image and the estimated stains; ``None`` if the method does not estimate any.

        Raises
        ------
        TissueError
            Too little tissue to estimate stains.
        """
        ...


@dataclass(frozen=True)
class _Plain:
    """A method that does not estimate stains."""

    method: str

    def normalize_with_estimate(self, image: Image) -> tuple[Image, None]:
        return image if self.method == "none" else treat(image, self.method), None


def make_normalizer(stain: str) -> Normalizer:
    """Return the normaliser of the given name.

    Parameters
    ----------
    stain : str
        One of `STAIN_METHODS`.

    Raises
    ------
    InputError
        There is no such method; the message lists all methods.
    DependencyError
        A StainTools method, but StainTools is not installed.
    """
    if stain in ("macenko", ROBUST, PUBLISHED):
        return MacenkoNormalizer(robust=stain == ROBUST, published=stain == PUBLISHED)
    if stain in ("none", *TREATMENTS):
        return _Plain(stain)
    if stain in STAIN_METHODS:
        return StainToolsNormalizer(stain.removeprefix("staintools-"))
    raise InputError("{stain} {}: no such method; {}", stain, one_of(stain, STAIN_METHODS))
