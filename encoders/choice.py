"""Which encoder, up to which layers, and where its weights come from, as text says it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .resnet_keras213 import RESNET50_KERAS213

__all__ = ["EncoderChoice", "parse_encoder", "weights_of"]


_WEIGHTS_OF = {RESNET50_KERAS213: "resnet50"}
"""Encoders that take the weights of another one, and so what ``OTHER=...`` gives."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and its layers; empty layers mean the encoder's default."""

    name: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + (f":{'+'.join(self.layers)}" if self.layers else "")


def parse_encoder(text: str) -> EncoderChoice:
    """Read ``NAME[:LAYER+LAYER]``.

    Examples
    --------
    >>> parse_encoder("inceptionv3:mixed8")
    EncoderChoice(name='inceptionv3', layers=('mixed8',))
    """
    name, _, layers = text.partition(":")
    chosen = tuple(layers.split("+")) if layers else ()
    if not name or not all(chosen) or (":" in text and not layers):
        raise InputError(f"`encoders` {text}: write NAME or NAME:LAYER+LAYER")
    return EncoderChoice(name.casefold(), chosen)


def weights_of(options: Sequence[str], encoder: str) -> str:
    """Return the value of the last of `options` for `encoder`; ``NAME=...`` fits that encoder only.

    A variant that takes the weights of another encoder takes what is named for that, unless it is named itself.
    """
    chosen, named, shared = "imagenet", None, None
    for option in options:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)=(.+)", option)
        if match is None:
            chosen = option
        elif match[1].casefold() == encoder.casefold():
            named = match[2]
        elif match[1].casefold() == _WEIGHTS_OF.get(encoder.casefold()):
            shared = match[2]
    return named or shared or chosen
