"""The catalogue of published pathology encoders: architecture, preprocessing, source of the weights, and tests.

The facts come from the published model cards, and from TRIDENT, eva and LazySlide, which run these encoders. bchisto
contains none of the weights, and none were available for tests. Each network was compared, with random weights, with
the library that it was published for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import Message
from .card import EncoderCard

_HALF = (0.5,)
_MIXED = (0.5, 0.25, 1.0, 2.0)
_NC = "CC-BY-NC-ND-4.0"
_OWKIN = "Owkin non-commercial licence"
_OF_TRANSFORMERS = ("dinov2", "vit")


@dataclass(frozen=True)
class NamedEncoder:
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
    outputs: tuple[str, ...] = ("cls",)
    pickled: bool = False

    @property
    def library(self) -> str:
        """The library that it was published for."""
        return "transformers" if self.architecture in _OF_TRANSFORMERS else "timm"

    @property
    def repository(self) -> str:
        """Repository of the weights on Hugging Face."""
        return self.card.source.removeprefix("https://huggingface.co/")

    @property
    def tested(self) -> str:
        """How bchisto tested this encoder."""
        return f"network built by {self.library} and compared with it by random weights; not tested with its weights"

    def download(self) -> Message:
        """Return one line on how to get the weights."""
        if self.pickled:
            return self.convert()
        return Message(
            "{}run `bchisto encoder fetch {}`, or give {weights:{}=DIR}",
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


def _card(source: str, licence: str, **facts: Any) -> EncoderCard:
    return EncoderCard(
        size=224, licence=licence, source=f"https://huggingface.co/{source}", **facts
    )


def _vit(width: int, depth: int, heads: int, *, patch: int = 14, **further: Any) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "patch_size": patch,
        **further,
    }


_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
_VIRCHOW = {"mlp_ratio": 5.3375, "init_values": 1e-5, "dynamic_img_size": True, **_SWIGLU}
_H_OPTIMUS = {"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False}
_OF_H_OPTIMUS: dict[str, Any] = {
    "mpp": _HALF,
    "gated": True,
    "mean": (0.707223, 0.578729, 0.703617),
    "std": (0.211883, 0.230117, 0.177517),
}
_OF_KAIKO: dict[str, Any] = {
    "mpp": _MIXED,
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
    "interpolation": "bilinear",
}
_OF_LUNIT: dict[str, Any] = {
    "mpp": (0.5, 0.25),
    "mean": (0.70322989, 0.53606487, 0.66096631),
    "std": (0.21716536, 0.26081574, 0.20723464),
}

_ALL = (
    NamedEncoder(
        "uni",
        "UNI, ViT-L/16",
        _card("MahmoodLab/UNI", _NC, mpp=_HALF, gated=True, interpolation="bilinear"),
        "vit_large_patch16_224",
        {"init_values": 1e-5, "dynamic_img_size": True},
        303,
        pickled=True,
    ),
    NamedEncoder(
        "uni2-h",
        "UNI2-h, ViT-H/14 with 8 registers",
        _card("MahmoodLab/UNI2-h", _NC, mpp=_HALF, gated=True, interpolation="bilinear"),
        "vit_giant_patch14_224",
        {
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "init_values": 1e-5,
            "no_embed_class": True,
            "reg_tokens": 8,
            "dynamic_img_size": True,
            **_SWIGLU,
        },
        681,
        pickled=True,
    ),
    NamedEncoder(
        "virchow",
        "Virchow, ViT-H/14",
        _card("paige-ai/Virchow", "Apache-2.0", mpp=_HALF, gated=True),
        "vit_huge_patch14_224",
        _VIRCHOW,
        631,
        outputs=("cls", "mean"),
    ),
    NamedEncoder(
        "virchow2",
        "Virchow2, ViT-H/14 with 4 registers",
        _card("paige-ai/Virchow2", _NC, mpp=_MIXED, gated=True),
        "vit_huge_patch14_224",
        {**_VIRCHOW, "reg_tokens": 4},
        631,
        outputs=("cls", "mean"),
    ),
    NamedEncoder(
        "gigapath",
        "Prov-GigaPath, ViT-g/16",
        _card(
            "prov-gigapath/prov-gigapath",
            "Apache-2.0 with conditions, non-commercial",
            mpp=_HALF,
            gated=True,
            resize=256,
            margin=16,
        ),
        "vit_giant_patch14_dinov2",
        {
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "mlp_ratio": 5.33334,
            "init_values": 1e-5,
            "dynamic_img_size": True,
        },
        1135,
        pickled=True,
    ),
    NamedEncoder(
        "h-optimus-0",
        "H-optimus-0, ViT-g/14 with 4 registers",
        _card("bioptimus/H-optimus-0", "Apache-2.0", **_OF_H_OPTIMUS),
        "vit_giant_patch14_reg4_dinov2",
        _H_OPTIMUS,
        1135,
        pickled=True,
    ),
    NamedEncoder(
        "h-optimus-1",
        "H-optimus-1, ViT-g/14 with 4 registers",
        _card("bioptimus/H-optimus-1", _NC, **_OF_H_OPTIMUS),
        "vit_giant_patch14_reg4_dinov2",
        _H_OPTIMUS,
        1135,
    ),
    NamedEncoder(
        "h0-mini",
        "H0-mini, ViT-B/14 with 4 registers",
        _card("bioptimus/H0-mini", _NC, **_OF_H_OPTIMUS),
        "vit_base_patch14_reg4_dinov2",
        {**_H_OPTIMUS, "mlp_ratio": 5.33334, **_SWIGLU},
        86,
    ),
    NamedEncoder(
        "phikon",
        "Phikon, ViT-B/16",
        _card("owkin/phikon", _OWKIN, mpp=_HALF, interpolation="bilinear"),
        "vit",
        _vit(768, 12, 12, patch=16, intermediate_size=3072),
        86,
    ),
    NamedEncoder(
        "phikon-v2",
        "Phikon-v2, ViT-L/16",
        _card("owkin/phikon-v2", _OWKIN, mpp=_HALF),
        "dinov2",
        _vit(1024, 24, 16, patch=16, use_swiglu_ffn=False),
        304,
    ),
    NamedEncoder(
        "midnight-12k",
        "Midnight-12k, ViT-g/14",
        _card("kaiko-ai/midnight", "MIT", **_OF_KAIKO),
        "dinov2",
        _vit(1536, 40, 24, use_swiglu_ffn=True),
        1137,
        outputs=("cls", "mean"),
    ),
    *(
        NamedEncoder(
            f"kaiko-{name}",
            title,
            _card(
                f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms",
                "Kaiko Non-Commercial Public License",
                **_OF_KAIKO,
            ),
            architecture,
            {"dynamic_img_size": True},
            parameters,
        )
        for name, title, architecture, parameters in (
            ("vits16", "Kaiko ViT-S/16", "vit_small_patch16_224", 22),
            ("vits8", "Kaiko ViT-S/8", "vit_small_patch8_224", 22),
            ("vitb16", "Kaiko ViT-B/16", "vit_base_patch16_224", 86),
            ("vitb8", "Kaiko ViT-B/8", "vit_base_patch8_224", 86),
            ("vitl14", "Kaiko ViT-L/14 with 4 registers", "vit_large_patch14_reg4_dinov2", 304),
        )
    ),
    *(
        NamedEncoder(
            f"lunit-vits{patch}",
            f"Lunit's DINO, ViT-S/{patch}",
            _card(
                f"1aurent/vit_small_patch{patch}_224.lunit_dino",
                "Lunit non-commercial licence",
                **_OF_LUNIT,
            ),
            f"vit_small_patch{patch}_224",
            {"dynamic_img_size": True},
            22,
        )
        for patch in (16, 8)
    ),
    *(
        NamedEncoder(
            f"dinov2-{size}",
            f"DINOv2 {size} (natural images)",
            _card(f"facebook/dinov2-{size}", "Apache-2.0", resize=256, margin=16),
            "dinov2",
            _vit(*network, use_swiglu_ffn=size == "giant"),
            parameters,
        )
        for size, parameters, network in (
            ("small", 22, (384, 12, 6)),
            ("base", 87, (768, 12, 12)),
            ("large", 304, (1024, 24, 16)),
            ("giant", 1137, (1536, 40, 24)),
        )
    ),
)

CATALOGUE: Mapping[str, NamedEncoder] = {named.name: named for named in _ALL}
"""Published encoders, by name."""
