"""Stain methods by name, as the parameter ``stain`` accepts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..core import InputError, one_of
from .macenko import MacenkoNormalizer, StainEstimate
from .od import Image
from .treatments import TREATMENTS, treat

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
        from .staintools_adapter import StainToolsNormalizer

        return StainToolsNormalizer(stain.removeprefix("staintools-"))
    raise InputError("{stain} {}: no such method; {}", stain, one_of(stain, STAIN_METHODS))
