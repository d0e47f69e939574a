"""The stain methods by name: what ``stain`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..core import InputError, one_of
from .macenko import MacenkoNormalizer, StainEstimate
from .od import Image
from .treatments import TREATMENTS, treat

ROBUST = "macenko-robust"
"""Macenko's method, estimated from all of the stained tissue."""

STAIN_METHODS = (
    "macenko",
    "none",
    ROBUST,
    "staintools-macenko",
    "staintools-vahadane",
    "staintools-reinhard",
    *TREATMENTS,
)
"""Names that ``stain`` takes."""

CHECKED = frozenset(STAIN_METHODS) - {"none", *TREATMENTS}
"""Methods that normalise stains, the outcome of which `check_stains` judges."""


class Normalizer(Protocol):
    """Normalises an image and says which stains it found."""

    def normalize_with_estimate(self, image: Image) -> tuple[Image, StainEstimate | None]:
        """Return the normalised image and the estimated stains, ``None`` where the method knows none.

        Raises
        ------
        TissueError
            Too little tissue to estimate stains.
        """
        ...


@dataclass(frozen=True)
class _Plain:
    """A method that knows no stains."""

    method: str

    def normalize_with_estimate(self, image: Image) -> tuple[Image, None]:
        return image if self.method == "none" else treat(image, self.method), None


def make_normalizer(stain: str) -> Normalizer:
    """Return the normaliser of that name.

    Raises
    ------
    InputError
        No such method; the message lists them.
    DependencyError
        A StainTools stain without StainTools.
    """
    if stain in ("macenko", ROBUST):
        return MacenkoNormalizer(robust=stain == ROBUST)
    if stain in ("none", *TREATMENTS):
        return _Plain(stain)
    if stain in STAIN_METHODS:
        from .staintools_adapter import StainToolsNormalizer

        return StainToolsNormalizer(stain.removeprefix("staintools-"))
    raise InputError("{stain} {}: no such method; {}", stain, one_of(stain, STAIN_METHODS))
