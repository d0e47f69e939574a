"""The specification of a stain method, the interface of the object that it makes, and the stains that one estimates."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..core import InputError
from ..core.formats import Flags, Floats
from .colours import Image

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

_CITATION = re.compile(r"\[@[^]]+\]")


@dataclass(frozen=True)
class StainEstimate:
    """The estimated stains of one image.

    Attributes
    ----------
    stains : ndarray of float64, shape (3, 2)
        Unit optical-density vectors as columns: haematoxylin, eosin.
    maxima : ndarray of float64, shape (2,)
        99th percentiles of their concentrations over all pixels except foreign ones.
    tissue : float
        Share of tissue pixels, 0 to 1.
    residual : float
        Root mean square of the optical density that the two stains do not explain, over the same pixels.
    foreign : ndarray of bool, shape (height, width), or None
        The pixels that are not tissue: ink, black or single-coloured areas. They are in none of the statistics, and
        keep their colour. None if there are none.
    """

    stains: Floats
    maxima: Floats
    tissue: float
    residual: float
    foreign: Flags | None = None


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
class StainSpec:
    """A stain method: a normalisation, or a treatment of images that have no stain too.

    Another package adds one through the entry-point group ``bchisto.stains``: the entry point is a `StainSpec`, or a
    function without arguments that returns one, and has its name. Files and keys hold only this name, so a method that
    computes something else needs another one.

    Attributes
    ----------
    name : str
        Value of the option ``stain``: lower-case letters, digits and ``-``.
    make : callable
        ``make()`` returns a `Normalizer`. It must draw no random numbers, and leave the given image as it is.
    checked : bool
        Whether it normalises stains: `check_stains` checks its results, and images without a stain are refused.
    method : str
        Its sentence in a methods section, with citations such as ``[@macenko2009]``; by default that it was used.

    Raises
    ------
    InputError
        The name is not valid.
    """

    name: str
    make: Callable[[], Normalizer]
    checked: bool = True
    method: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"stain method {self.name!r}: its name must be lower-case letters, digits and -, at most 40, "
                "a letter first"
            )
        if not self.method:
            object.__setattr__(self, "method", f"Images were treated by {self.name}.")

    @property
    def cited(self) -> str:
        """The name of the method, followed by the citations in its sentence."""
        return " ".join([self.name, *_CITATION.findall(self.method)])
