"""Encoders that are known by name: what each needs, where its weights come from, and how far it was tested here.

The facts are those of the published model cards. None of these weights is part of bchisto, and none was at hand when
this was written: what was tested is the network, by random weights, against the library that it was published for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import Message
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
    architecture : str
        A name of timm; ``dinov2`` is that of transformers.
    arguments : mapping
        Of that architecture: width, depth, heads, patch, registers and what else its authors give.
    outputs : tuple of str
        What its authors use for classification.
    parameters : int
        In millions, about.
    pickled : bool
        Whether its authors publish weights that have to be converted first.
    """

    name: str
    title: str
    card: EncoderCard
    architecture: str
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]
    parameters: int
    pickled: bool = False

    @property
    def library(self) -> str:
        """The library that it was published for."""
        return "transformers" if self.architecture == "dinov2" else "timm"

    @property
    def repository(self) -> str:
        """Where the weights are, on Hugging Face."""
        return self.card.source.removeprefix("https://huggingface.co/")

    @property
    def tested(self) -> str:
        """How far it was tested here."""
        return f"network built by {self.library} and compared with it by random weights; not tested with its weights"

    def download(self) -> str:
        """Say in one line how to get the weights."""
        login = f"accept its terms at {self.card.source}, run hf auth login, then " if self.card.gated else ""
        if not self.pickled:
            return Message("{}run `bchisto encoder fetch {}`, or give {weights:{}=DIR}", login, self.name, self.name)
        convert = ", save pytorch_model.bin as .safetensors as docs/encoders.md shows"
        return Message(
            "{}download {} into a folder DIR{}, and give {weights:{}=DIR}", login, self.repository, convert, self.name
        )


def _card(source: str, licence: str, **known: Any) -> EncoderCard:
    return card_by_licence(licence, size=224, source=f"https://huggingface.co/{source}", **known)


def _dinov2(width: int, depth: int, heads: int, *, patch: int = 14, gated: bool = False) -> dict[str, Any]:
    return {
        "hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "patch_size": patch,
        "use_swiglu_ffn": gated,
    }  # fmt: skip


_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
_SMALL, _BASE, _LARGE = _dinov2(384, 12, 6), _dinov2(768, 12, 12), _dinov2(1024, 24, 16)
_GIANT = _dinov2(1536, 40, 24, gated=True)

_ALL = (
    NamedEncoder(
        "uni", "UNI, ViT-L/16", _card("MahmoodLab/UNI", _NC, mpp=_HALF, gated=True), "vit_large_patch16_224",
        {"init_values": 1e-5, "dynamic_img_size": True}, ("cls",), 303, pickled=True,
    ),
    NamedEncoder(
        "uni2-h", "UNI2-h, ViT-H/14 with 8 registers", _card("MahmoodLab/UNI2-h", _NC, mpp=_HALF, gated=True),
        "vit_giant_patch14_224",
        {"depth": 24, "num_heads": 24, "embed_dim": 1536, "mlp_ratio": 2.66667 * 2, "init_values": 1e-5,
         "no_embed_class": True, "reg_tokens": 8, "dynamic_img_size": True, **_SWIGLU}, ("cls",), 681, pickled=True,
    ),
    NamedEncoder(
        "virchow2", "Virchow2, ViT-H/14 with 4 registers", _card("paige-ai/Virchow2", _NC, mpp=_MIXED, gated=True),
        "vit_huge_patch14_224",
        {"mlp_ratio": 5.3375, "init_values": 1e-5, "reg_tokens": 4, "dynamic_img_size": True, **_SWIGLU},
        ("cls", "mean"), 632,
    ),
    NamedEncoder(
        "h-optimus-0", "H-optimus-0, ViT-g/14 with 4 registers",
        _card("bioptimus/H-optimus-0", "Apache-2.0", mpp=_HALF, gated=True, mean=(0.707223, 0.578729, 0.703617),
              std=(0.211883, 0.230117, 0.177517)), "vit_giant_patch14_reg4_dinov2",
        {"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False}, ("cls",), 1135, pickled=True,
    ),
    NamedEncoder(
        "phikon-v2", "Phikon-v2, ViT-L/16", _card("owkin/phikon-v2", "Owkin non-commercial licence", mpp=_HALF),
        "dinov2", _dinov2(1024, 24, 16, patch=16), ("cls",), 304,
    ),
    NamedEncoder(
        "midnight-12k", "Midnight-12k, ViT-g/14",
        _card("kaiko-ai/midnight", "MIT", mpp=_MIXED, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
              interpolation="bilinear"), "dinov2", _GIANT, ("cls", "mean"), 1137,
    ),
    *(
        NamedEncoder(
            f"dinov2-{size}", f"DINOv2 {size} (natural images)",
            _card(f"facebook/dinov2-{size}", "Apache-2.0", resize=256, margin=16), "dinov2", arguments, ("cls",),
            parameters,
        )
        for size, parameters, arguments in (
            ("small", 22, _SMALL), ("base", 87, _BASE), ("large", 304, _LARGE), ("giant", 1137, _GIANT),
        )
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, NamedEncoder] = {named.name: named for named in _ALL}
"""Named encoders by name."""
