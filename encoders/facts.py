"""What is known of a network before it is built: its work, the length of its descriptors, the least it can take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..extensions import load_extension
from .catalogue import CATALOGUE
from .choice import EncoderChoice
from .registry import ENTRY_POINT_GROUP, MACS_PER_PIXEL, UNKNOWN_MACS_PER_PIXEL, EncoderSpec
from .resnet_keras213 import LEAST_KERAS213, RESNET50_KERAS213

_DIMS = {"resnet50": 2048, RESNET50_KERAS213: 2048, "inceptionv3": 2048, "vgg16": 1408, "mobilenetv2": 1280}
"""Numbers in a descriptor, with the default layers."""

_LEAST = {"inceptionv3": 75, "inceptionresnetv2": 75, "xception": 71, RESNET50_KERAS213: LEAST_KERAS213}
"""Pixels on a side under which nothing is left of a picture, as Keras states them; 32 for its other networks."""

_LEAST_OF_OTHERS = 32


_TOKENS, _UNKNOWN_PARAMETERS = 256, 86e6
"""Places at which a network of one size uses each weight, those of a transformer of 14 pixels at 224; and the weights
of one whose file is not there, those of ViT-B."""


def least_of_partial(choice: EncoderChoice) -> int | None:
    """Return the least crop of an encoder that looks at a part of a crop alone; None for one that sees all of it.

    Windows of a frame cannot stand for the crops of such an encoder.
    """
    return LEAST_KERAS213 if choice == EncoderChoice(RESNET50_KERAS213) else None


@dataclass(frozen=True)
class EncoderFacts:
    """What is known of an encoder before it is built.

    Attributes
    ----------
    macs_per_pixel : float
        Multiply-accumulates per input pixel; a guess for a network that is not listed.
    dim : int or None
        Numbers in a descriptor; None where it takes the built network to know.
    least : int
        Pixels on a side that a crop must have.
    recorded : bool
        Whether its work is recorded, or said by the package that adds it.
    macs_per_crop : float or None
        Multiply-accumulates of a crop of any size, where the network takes one size alone.
    """

    macs_per_pixel: float
    dim: int | None
    least: int
    recorded: bool = True
    macs_per_crop: float | None = None


def encoder_facts(choice: EncoderChoice) -> EncoderFacts:
    """Return what is known of an encoder without loading Keras or building a network.

    Raises
    ------
    InputError
        An encoder of another package that cannot be loaded.

    Examples
    --------
    >>> encoder_facts(EncoderChoice("vgg16"))
    EncoderFacts(macs_per_pixel=306000.0, dim=1408, least=32, recorded=True, macs_per_crop=None)
    """
    if choice.runner or choice.name in CATALOGUE:
        return EncoderFacts(UNKNOWN_MACS_PER_PIXEL, None, _LEAST_OF_OTHERS, True, _TOKENS * _parameters(choice))
    offered = load_extension(ENTRY_POINT_GROUP, choice.name, EncoderSpec, what="encoder")
    macs = MACS_PER_PIXEL.get(choice.name, UNKNOWN_MACS_PER_PIXEL) if offered is None else offered.macs_per_pixel
    dim = None if offered is not None or choice.layers else _DIMS.get(choice.name)
    recorded = offered is not None or choice.name in MACS_PER_PIXEL
    return EncoderFacts(macs, dim, _LEAST.get(choice.name, _LEAST_OF_OTHERS), recorded)


def _parameters(choice: EncoderChoice) -> float:
    """Return about how many weights a network has, by the size of its files."""
    if choice.name in CATALOGUE:
        return CATALOGUE[choice.name].parameters * 1e6
    path = Path(choice.source)
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.weights.h5")]
    return sum(file.stat().st_size for file in files if file.is_file()) / 4 or _UNKNOWN_PARAMETERS
