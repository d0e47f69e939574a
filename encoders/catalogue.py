"""Encoders that are known by name: what each needs, where its weights come from, and how far it was tested here.

The facts are those of the published model cards. None of these weights is part of bchisto, and none was at hand when
this was written: what was tested is the network, by tiny random weights against the library it was published for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .card import EncoderCard, card_by_licence

_HALF, _MIXED = (0.5,), (0.5, 0.25, 1.0, 2.0)
_NC = "CC-BY-NC-ND-4.0"


@dataclass(frozen=True)
class NamedEncoder:
    """A published encoder.

    Attributes
    ----------
    name : str
    title : str
        As its authors write it, with its architecture.
    card : EncoderCard
    names : str
        By whom the tensors are named, see `bchisto.encoders.transformer.NAMES`.
    heads : int
    outputs : tuple of str
        What its authors use for classification.
    parameters : int
        In millions, about.
    pickled : bool
        Whether its authors publish weights that have to be converted first.
    tested : str
    """

    name: str
    title: str
    card: EncoderCard
    names: str
    heads: int
    outputs: tuple[str, ...]
    parameters: int
    pickled: bool
    tested: str

    @property
    def repository(self) -> str:
        """Where the weights are, on Hugging Face."""
        return self.card.source.removeprefix("https://huggingface.co/")

    def how(self) -> str:
        """Say in one line how to get the weights."""
        login = f"accept its terms at {self.card.source}, run hf auth login, then " if self.card.gated else ""
        convert = ", save pytorch_model.bin as .safetensors as docs/encoders.md shows" if self.pickled else ""
        return f'{login}download {self.repository} into a folder DIR{convert}, and give `weights="{self.name}=DIR"`'


_FULL = "network compared with timm at full size by random weights (1e-5); not tested with its weights"
_HUGGING = "network compared with transformers by tiny random weights (1e-5); not tested with its weights"


def _card(source: str, licence: str, *, divisor: int = 14, **known: Any) -> EncoderCard:
    where = f"https://huggingface.co/{source}"
    return card_by_licence(licence, size=224, divisor=divisor, source=where, **known)


_ALL = (
    NamedEncoder(
        "uni", "UNI, ViT-L/16", _card("MahmoodLab/UNI", _NC, divisor=16, mpp=_HALF, gated=True), "timm", 16, ("cls",),
        303, True, _FULL,
    ),
    NamedEncoder(
        "uni2-h", "UNI2-h, ViT-H/14 with 8 registers", _card("MahmoodLab/UNI2-h", _NC, mpp=_HALF, gated=True), "timm",
        24, ("cls",), 681, True, _FULL,
    ),
    NamedEncoder(
        "virchow2", "Virchow2, ViT-H/14 with 4 registers", _card("paige-ai/Virchow2", _NC, mpp=_MIXED, gated=True),
        "timm", 16, ("cls", "mean"), 632, False, _FULL,
    ),
    NamedEncoder(
        "h-optimus-0", "H-optimus-0, ViT-g/14 with 4 registers",
        _card("bioptimus/H-optimus-0", "Apache-2.0", mpp=_HALF, gated=True, mean=(0.707223, 0.578729, 0.703617),
              std=(0.211883, 0.230117, 0.177517)), "timm", 24, ("cls",), 1135, True, _FULL,
    ),
    NamedEncoder(
        "phikon-v2", "Phikon-v2, ViT-L/16",
        _card("owkin/phikon-v2", "Owkin non-commercial licence", divisor=16, mpp=_HALF),
        "dinov2", 16, ("cls",), 304, False, _HUGGING,
    ),
    NamedEncoder(
        "midnight-12k", "Midnight-12k, ViT-g/14",
        _card("kaiko-ai/midnight", "MIT", mpp=_MIXED, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), "dinov2", 24,
        ("cls", "mean"), 1137, False, _HUGGING,
    ),
    *(
        NamedEncoder(
            f"dinov2-{size}", f"DINOv2 {size} (natural images)", _card(f"facebook/dinov2-{size}", "Apache-2.0"),
            "dinov2", heads, ("cls",), parameters, False, _HUGGING,
        )
        for size, parameters, heads in (("small", 22, 6), ("base", 87, 12), ("large", 304, 16), ("giant", 1137, 24))
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, NamedEncoder] = {one.name: one for one in _ALL}
"""Named encoders by name."""
