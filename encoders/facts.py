"""What is known of a network before it is built: its work, the length of its descriptors, the least it can take."""

from __future__ import annotations

from dataclasses import dataclass

from ..extensions import load_extension
from .choice import EncoderChoice
from .registry import ENTRY_POINT_GROUP, MACS_PER_PIXEL, UNKNOWN_MACS_PER_PIXEL, EncoderSpec
from .resnet_keras213 import LEAST_KERAS213, RESNET50_KERAS213

__all__ = ["EncoderFacts", "encoder_facts", "least_of_partial"]

_DIMS = {"resnet50": 2048, RESNET50_KERAS213: 2048, "inceptionv3": 2048, "vgg16": 1408, "mobilenetv2": 1280}
"""Numbers in a descriptor, with the default layers."""

_LEAST = {"inceptionv3": 75, "inceptionresnetv2": 75, "xception": 71, RESNET50_KERAS213: LEAST_KERAS213}
"""Pixels on a side under which nothing is left of a picture, as Keras states them; 32 for its other networks."""

_LEAST_OF_OTHERS = 32


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
    """

    macs_per_pixel: float
    dim: int | None
    least: int
    recorded: bool = True


def encoder_facts(choice: EncoderChoice) -> EncoderFacts:
    """Return what is known of an encoder without loading Keras or building a network.

    Raises
    ------
    InputError
        An encoder of another package that cannot be loaded.

    Examples
    --------
    >>> encoder_facts(EncoderChoice("vgg16"))
    EncoderFacts(macs_per_pixel=306000.0, dim=1408, least=32, recorded=True)
    """
    offered = load_extension(ENTRY_POINT_GROUP, choice.name, EncoderSpec, what="encoder")
    macs = MACS_PER_PIXEL.get(choice.name, UNKNOWN_MACS_PER_PIXEL) if offered is None else offered.macs_per_pixel
    dim = None if offered is not None or choice.layers else _DIMS.get(choice.name)
    recorded = offered is not None or choice.name in MACS_PER_PIXEL
    return EncoderFacts(macs, dim, _LEAST.get(choice.name, _LEAST_OF_OTHERS), recorded)
