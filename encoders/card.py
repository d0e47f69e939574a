"""The contract of encoders: uint8 crops to float32 vectors, and what is known of one before it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..core import ImageError, InputError

Mean = tuple[float, float, float]

TREATMENT = ("size", "resize", "margin", "mean", "std", "interpolation")
"""Fields of a card that decide what the network sees of a crop."""

_INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos")


def excludes_commerce(licence: str) -> bool:
    """Whether the name of a licence says that it excludes commercial use.

    Examples
    --------
    >>> [excludes_commerce(licence) for licence in ("CC BY-NC 4.0", "Owkin non-commercial licence", "MIT")]
    [True, True, False]
    """
    return re.search(r"(?<![a-z])nc(?![a-z])|\bnon[ _-]?commercial", licence.casefold()) is not None


@dataclass(frozen=True)
class EncoderCard:
    """What is known of an encoder before it runs.

    Attributes
    ----------
    size : int or None
        Pixels on a side of what the network takes; None: it takes any.
    resize : int or None
        Pixels on a side that crops are resized to; None: those that the network takes.
    margin : int
        Pixels that are then cut off at the top and on the left, and about as many at the bottom and on the right.
    mpp : tuple of float
        Micrometres per pixel that it was trained at, the preferred one first; empty where that is not known.
    outputs : tuple of str
        What can be asked for: ``cls``, ``mean``, ``block1`` and so on, ``vector``; or layers, of feature maps.
    mean, std : tuple of float
        Of red, green and blue in 0..1, by which pixels are normalised.
    interpolation : str
        How crops are resized: ``bicubic``, ``bilinear``, ``nearest`` or ``lanczos``.
    precisions : tuple of str
    licence : str
        Of the weights; empty where it is not known.
    non_commercial : bool
        Whether that licence excludes commercial use.
    gated : bool
        Whether weights are handed out to those alone who log in and accept terms.
    source, revision : str
        Where the weights come from.
    """

    size: int | None = None
    resize: int | None = None
    margin: int = 0
    mpp: tuple[float, ...] = ()
    outputs: tuple[str, ...] = ()
    mean: Mean = (0.485, 0.456, 0.406)
    std: Mean = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    precisions: tuple[str, ...] = ("float32",)
    licence: str = ""
    non_commercial: bool = False
    gated: bool = False
    source: str = ""
    revision: str = ""

    def text(self) -> str:
        """Return it as JSON of one line: what stores and bundles keep."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def terms(self) -> str:
        """Say under which licence the weights are."""
        return f"{self.licence or 'licence not known'}{', non-commercial use only' if self.non_commercial else ''}"


def card_by_licence(licence: str, **known: Any) -> EncoderCard:
    """Return the card of an encoder of both precisions; the name of its licence says whether it excludes commerce."""
    return EncoderCard(
        **{"precisions": ("float32", "bfloat16"), "non_commercial": excludes_commerce(licence), **known},
        licence=licence,
    )


def known_interpolation(name: Any, where: object) -> str:
    """Return how crops are resized, if that is one of the ways that there are.

    Raises
    ------
    InputError
    """
    if name not in _INTERPOLATIONS:
        raise InputError(f"{where}: resizing by {str(name)[:40]} is not known; choose of {', '.join(_INTERPOLATIONS)}")
    return str(name)


def card_of(header: Mapping[str, Any]) -> EncoderCard | None:
    """Return what a store or bundle says of its weights; None where it says nothing, as of networks of Keras."""
    try:
        content = json.loads(str(header.get("card", "")))
        known = {item.name for item in fields(EncoderCard)}
        return EncoderCard(**{name: value for name, value in content.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return None


def other_treatment(old: EncoderCard | None, new: EncoderCard | None) -> str:
    """Say in what two encoders of the same weights differ."""
    sides = [() if card is None else [_as_text(getattr(card, name)) for name in TREATMENT] for card in (old, new)]
    differing = [f"{name} {a} -> {b}" for name, a, b in zip(TREATMENT, *sides, strict=False) if a != b]
    return ", ".join(differing) or "another output, or other sizes"


def _as_text(value: Any) -> str:
    return " ".join(f"{number:g}" for number in value) if isinstance(value, (list, tuple)) else str(value)


class CropEncoder(Protocol):
    """What stage 1, `predict` and `explain` ask of every encoder.

    Attributes
    ----------
    name : str
        By which stores are called.
    layers : tuple of str
        Layers or outputs that the vector is made of, one after the other.
    parts : tuple of int
        Length of what each of them adds.
    default_layers : bool
    dim : int
        Length of a vector.
    card : EncoderCard
    runner : str
        ``keras`` for networks with feature maps, else ``hub``, ``onnx``, ``timm``, or ``package`` for one of another
        package.
    backend, engine : str
        What runs it.
    weights : str
        ``imagenet``, ``published``, ``random`` or ``file``.
    weights_sha256 : str
        Of all that decides the vectors: the same weights with other normalisation are another encoder.
    weights_file_sha256 : str
        Of the file of weights, as ``sha256sum`` says it; of several files over all of them.
    parameters : int
        Numbers that the network holds; 0 where that is not known.
    """

    name: str
    layers: tuple[str, ...]
    parts: tuple[int, ...]
    default_layers: bool
    dim: int
    card: EncoderCard
    runner: str
    backend: str
    engine: str
    weights: str
    weights_sha256: str
    weights_file_sha256: str
    parameters: int

    def encode(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Encode crops, uint8 of shape (n, height, width, 3), into vectors of shape (n, dim)."""


def check_crops(crops: npt.NDArray[Any]) -> None:
    """Refuse what is no stack of crops.

    Raises
    ------
    ImageError
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
        raise ImageError(f"expected uint8 crops of shape (n, height, width, 3), got {crops.dtype} {crops.shape}")
