"""The card that describes an encoder before it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..core import InputError
from ..core.formats import limits

Mean = tuple[float, float, float]

TREATMENT = ("size", "resize", "margin", "mean", "std", "interpolation")
"""Fields of a card that determine preprocessing, and so the features."""

WEIGHTS_KINDS = {"imagenet": "published", "random": "random"}
"""Origin of weights as recorded in feature files, by the option that chooses them; all others are ``file``."""

_INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos")


def excludes_commerce(licence: str) -> bool:
    """Return whether the name of a licence shows that it excludes commercial use.

    Examples
    --------
    >>> [excludes_commerce(licence) for licence in ("CC BY-NC 4.0", "Owkin non-commercial licence", "MIT")]
    [True, True, False]
    """
    return re.search(r"(?<![a-z])nc(?![a-z])|\bnon[ _-]?commercial", licence.casefold()) is not None


@dataclass(frozen=True)
class EncoderCard:
    """Facts about an encoder that are known before it runs.

    Attributes
    ----------
    size : int or None
        Side in pixels of the images that the network accepts; None for any size.
    resize : int or None
        Side in pixels to which crops are resized; None for `size`.
    margin : int
        Pixels cut off at the top and on the left after resizing, and about as many at the bottom and on the right.
    mpp : tuple of float
        Micrometres per pixel of its training images, the preferred value first; empty if unknown.
    outputs : tuple of str
        Available outputs: ``cls``, ``mean``, ``block1`` and so on, or ``vector``. For feature maps, the layers.
    mean, std : tuple of float
        Mean and standard deviation of red, green and blue in 0..1, for normalisation.
    interpolation : str
        Way of resizing: ``bicubic``, ``bilinear``, ``nearest`` or ``lanczos``.
    precisions : tuple of str
        Supported precisions of computation.
    licence : str
        Licence of the weights; empty if unknown.
    non_commercial : bool
        Whether that licence excludes commercial use.
    gated : bool
        Whether only users who log in and accept terms can download the weights.
    source, revision : str
        Address and revision of the weights.
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

    def terms(self) -> str:
        """Describe the licence of the weights."""
        return f"{self.licence or 'licence not known'}{', non-commercial use only' if self.non_commercial else ''}"


def card_by_licence(licence: str, **known: Any) -> EncoderCard:
    """Return the card of an encoder of both precisions; `non_commercial` follows from the name of the licence."""
    return EncoderCard(
        **{"precisions": ("float32", "bfloat16"), "non_commercial": excludes_commerce(licence), **known},
        licence=licence,
    )


def card_by_treatment(
    where: object, licence: str, *, size: Any, resize: Any, mean: Any, std: Any, interpolation: Any, **known: Any
) -> EncoderCard:
    """Return the card of an encoder with the preprocessing that its files state.

    Parameters
    ----------
    where : path or str
        For messages.
    licence : str
    size, resize, mean, std, interpolation
        As in `EncoderCard`, but not checked yet; here `resize` is a number too.
    **known
        Further fields of the card.

    Raises
    ------
    InputError
        A value is of another type, or out of range.
    """
    if not (isinstance(size, int) and isinstance(resize, int) and 8 <= size <= resize <= limits.NETWORK_SIDE):
        raise InputError(f"{where}: takes images of {size} pixels, cut out of {resize} pixels; not supported")
    try:
        means, stds = (tuple(float(value) for value in three) for three in (mean, std))
    except (TypeError, ValueError):
        means = stds = ()
    if not len(means) == len(stds) == 3 or not np.isfinite([*means, *stds]).all() or min(stds) <= 0:
        raise InputError(f"{where}: its mean and std are not three numbers that pixels can be normalised by")
    if max(means) > 1 and max(stds) > 1:
        raise InputError(f"{where}: mean and std are of pixels in 0..255, and bchisto's are in 0..1; divide by 255")
    if interpolation not in _INTERPOLATIONS:
        choices = ", ".join(_INTERPOLATIONS)
        raise InputError(f"{where}: resizing by {str(interpolation)[:40]} is not known; choose of {choices}")
    treatment = {
        "size": size, "resize": None if resize == size else resize, "margin": round((resize - size) / 2),
        "mean": means, "std": stds, "interpolation": interpolation,
    }  # fmt: skip
    return card_by_licence(licence, **{**treatment, **known})


def card_of(header: Mapping[str, Any]) -> EncoderCard | None:
    """Return the card in the header of a feature file or model file; None without one, as for networks of Keras."""
    try:
        content = json.loads(str(header.get("card", "")))
        known = {item.name for item in fields(EncoderCard)}
        values: dict[str, Any] = {name: content[name] for name in known & content.keys()}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return EncoderCard(**values)
    except (ValueError, TypeError, AttributeError):
        return None


def other_treatment(old: EncoderCard | None, new: EncoderCard | None) -> str:
    """Describe how two encoders with the same weights differ."""
    sides = [() if card is None else [_as_text(getattr(card, name)) for name in TREATMENT] for card in (old, new)]
    differing = [f"{name} {a} -> {b}" for name, a, b in zip(TREATMENT, *sides, strict=False) if a != b]
    return ", ".join(differing) or "another output, or other sizes"


def _as_text(value: Any) -> str:
    return " ".join(f"{number:g}" for number in value) if isinstance(value, (list, tuple)) else str(value)
