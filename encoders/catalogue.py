"""The card that describes an encoder before it runs, and the catalogue of published pathology encoders.

The facts of the catalogue come from the published model cards, and from TRIDENT, eva and LazySlide, which run
these encoders. bchisto contains none of the weights, and none were available for tests. Each network was compared, with
random weights, with the library that it was published for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ..core import Entries, InputError, Message
from ..core.formats import Floats, limits, published_rows

Mean = tuple[float, float, float]

TREATMENT = ("size", "resize", "margin", "mean", "std", "interpolation")
"""Fields of a card that determine preprocessing, and so the features."""

WEIGHTS_KINDS = {"imagenet": "published", "random": "random"}
"""Origin of weights as recorded in feature files, by the option that chooses them; all others are ``file``."""

_INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos")


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
    licence : str
        Licence of the weights; empty if unknown.
    gated : bool
        Whether only users who log in and accept terms can download the weights.
    source : str
        Address of the weights.
    """

    size: int | None = None
    resize: int | None = None
    margin: int = 0
    mpp: tuple[float, ...] = ()
    outputs: tuple[str, ...] = ()
    mean: Mean = (0.485, 0.456, 0.406)
    std: Mean = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    licence: str = ""
    gated: bool = False
    source: str = ""

    @property
    def non_commercial(self) -> bool:
        """Whether the name of the licence shows that it excludes commercial use.

        Examples
        --------
        >>> names = ("CC BY-NC 4.0", "Owkin non-commercial licence", "MIT")
        >>> [EncoderCard(licence=name).non_commercial for name in names]
        [True, True, False]
        """
        words = r"(?<![a-z])nc(?![a-z])|\bnon[ _-]?commercial"
        return bool(re.search(words, self.licence.casefold()))

    def terms(self) -> str:
        """Describe the licence of the weights."""
        terms = self.licence or "licence not known"
        if self.non_commercial:
            terms += ", non-commercial use only"
        if self.gated:
            terms += ", gated"
        return terms


def treated_card(
    where: object,
    *,
    size: Any,
    resize: Any,
    mean: Any,
    std: Any,
    interpolation: Any,
    **further: Any,
) -> EncoderCard:
    """Return the card of an encoder with the preprocessing that its files state.

    Parameters
    ----------
    where : path or str
        For messages.
    size, resize, mean, std, interpolation
        As in `EncoderCard`, but not checked yet; here `resize` is a number too.
    **further
        Further fields of the card.

    Raises
    ------
    InputError
        A value is out of range.
    TypeError, ValueError
        A value is of another type.
    """
    means = np.array(mean, np.float64)
    stds = np.array(std, np.float64)
    fits = type(size) is type(resize) is int and 8 <= size <= resize <= limits.NETWORK_SIDE
    if not fits or not _normalises(means, stds) or interpolation not in _INTERPOLATIONS:
        stated = f"{size} of {resize} pixels, mean {mean}, deviation {std}, {interpolation}"
        raise InputError(
            f"{where}: its preprocessing is not supported ({stated[:160]}); bchisto cuts a square out of a resized one "
            f"({', '.join(_INTERPOLATIONS)}), and normalises pixels of 0..1 by three numbers"
        )
    return EncoderCard(
        size=size,
        resize=None if resize == size else resize,
        mean=tuple(means.tolist()),
        std=tuple(stds.tolist()),
        interpolation=interpolation,
        **{"margin": round((resize - size) / 2), **further},
    )


def _normalises(means: Floats, stds: Floats) -> bool:
    """Return whether these are three means and deviations of pixels in 0..1; those of 0..255 are both above 1."""
    if not means.shape == stds.shape == (3,):
        return False
    if not (np.isfinite(means) & (stds > 0)).all():
        return False
    return bool(means.max() <= 1 or stds.max() <= 1)


def card_of(header: Entries) -> EncoderCard | None:
    """Return the card in the header of a feature file or model file; None without one, as for networks of Keras."""
    try:
        content = json.loads(str(header.get("card", "")))
        names = {item.name for item in fields(EncoderCard)}
        values = {name: content[name] for name in names & content.keys()}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return EncoderCard(**values)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


_OF_TRANSFORMERS = ("dinov2", "vit")


class NamedEncoder(NamedTuple):
    """A published encoder.

    Attributes
    ----------
    name : str
    title : str
        Name as its authors write it, with the architecture.
    card : EncoderCard
    architecture : str
        A name of timm; ``dinov2`` and ``vit`` are names of transformers.
    arguments : mapping
        Arguments of that architecture, such as width, depth, heads, patch and registers.
    parameters : int
        Approximate number of weights, in millions.
    outputs : tuple of str
        Outputs that its authors use for classification.
    pickled : bool
        Whether the published weights are pickled and must be converted first.
    """

    name: str
    title: str
    card: EncoderCard
    architecture: str
    arguments: Entries
    parameters: int
    outputs: tuple[str, ...]
    pickled: bool

    @property
    def library(self) -> str:
        """The library that it was published for."""
        return "transformers" if self.architecture in _OF_TRANSFORMERS else "timm"

    @property
    def repository(self) -> str:
        """Repository of the weights on Hugging Face."""
        return self.card.source.removeprefix("https://huggingface.co/")

    def download(self) -> Message:
        """Return one line on how to get the weights."""
        if self.pickled:
            return self.convert()
        return Message(
            "{}run `bchisto encoder {} --fetch`, or give {weights:{}=DIR}",
            self._login,
            self.name,
            self.name,
        )

    def convert(self) -> Message:
        """Return one line on how to convert pickled weights to a format that bchisto reads."""
        return Message(
            "{}download {} into a folder DIR, save pytorch_model.bin as .safetensors as docs/encoders.md shows, and "
            "give {weights:{}=DIR}",
            self._login,
            self.repository,
            self.name,
        )

    @property
    def _login(self) -> str:
        if not self.card.gated:
            return ""
        return f"accept its terms at {self.card.source}, run hf auth login, then "


def _of_row(row: Mapping[str, str]) -> NamedEncoder:
    """Return the encoder of a row of ``published/encoders.csv``."""
    card = EncoderCard(
        size=224,
        resize=int(row["resize"]) if row["resize"] else None,
        margin=int(row["margin"]),
        mpp=tuple(json.loads(row["mpp"])),
        mean=tuple(json.loads(row["mean"])),
        std=tuple(json.loads(row["std"])),
        interpolation=row["interpolation"],
        licence=row["licence"],
        gated=row["gated"] == "yes",
        source=f"https://huggingface.co/{row['source']}",
    )
    return NamedEncoder(
        row["name"],
        row["title"],
        card,
        row["architecture"],
        json.loads(row["arguments"]),
        int(row["parameters"]),
        tuple(json.loads(row["outputs"])),
        row["pickled"] == "yes",
    )


CATALOGUE: Mapping[str, NamedEncoder] = {
    row["name"]: _of_row(row) for row in published_rows(__package__, "encoders.csv")
}
"""Published encoders, by name."""
