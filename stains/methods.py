"""The stain methods by name: what ``stain`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import InputError, one_of
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


def make_normalizer(method: str) -> Normalizer:
    """Return the normaliser of that name.

    Raises
    ------
    InputError
        No such method; the message lists them.
    DependencyError
        A StainTools method without StainTools.
    """
    if method in ("macenko", ROBUST):
        return MacenkoNormalizer(robust=method == ROBUST)
    if method in ("none", *TREATMENTS):
        return _Plain(method)
    if method in STAIN_METHODS:
        from .staintools_adapter import StainToolsNormalizer

        return StainToolsNormalizer(method.removeprefix("staintools-"))
    raise InputError(f"`method` {method}: no such method; {one_of(method, STAIN_METHODS)}")
