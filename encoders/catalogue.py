"""The catalogue of published pathology encoders: architecture, preprocessing, source of the weights, and tests.

The facts come from the published model cards, and from TRIDENT, eva and LazySlide, which run these encoders. bchisto
contains none of the weights, and none were available for tests. Each network was compared, with random weights, with
the library that it was published for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core import Message
from ..core.formats import published_rows
from .card import EncoderCard

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
    arguments: Mapping[str, Any]
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
