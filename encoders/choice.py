"""Which encoder, up to which layers, and where its weights come from, as text says it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import InputError
from .fetch import HF_HUB, fetched_folder, kept_in, unfetched_name
from .resnet_keras213 import RESNET50_KERAS213

RUNNERS = ("hub", "onnx", "timm")
"""What brings a network of your own: a folder, a file, a name of timm. Written before a colon, as in ``hub:DIR``."""

_OUTPUT = r"(?:cls|mean|block[1-9]\d{0,2}|vector)"
_OUTPUTS = re.compile(rf"(.+):({_OUTPUT}(?:\+{_OUTPUT})*)")


_WEIGHTS_OF = {RESNET50_KERAS213: "resnet50"}
"""Encoders that take the weights of another one, and so what ``OTHER=...`` gives."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and its layers; empty layers mean the encoder's default.

    Attributes
    ----------
    name : str
        One that is registered, or ``hub:DIR``, ``onnx:FILE``, ``timm:NAME``.
    layers : tuple of str
        Layers of a network with feature maps; outputs (``cls``, ``mean``, ``block12``) of one that gives vectors.
    """

    name: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + (f":{'+'.join(self.layers)}" if self.layers else "")

    @classmethod
    def parse(cls, text: str) -> EncoderChoice:
        """Read ``NAME[:LAYER+LAYER]``, or ``hub:DIR``, ``onnx:FILE``, ``timm:NAME``, each with ``[:OUTPUT+OUTPUT]``.

        ``timm:hf-hub:OWNER/NAME`` is the folder into which ``encoder fetch`` puts it.

        Examples
        --------
        >>> EncoderChoice.parse("inceptionv3:mixed8")
        EncoderChoice(name='inceptionv3', layers=('mixed8',))
        >>> EncoderChoice.parse("hub:/data/DINOv2:cls+mean")
        EncoderChoice(name='hub:/data/DINOv2', layers=('cls', 'mean'))
        """
        name, _, layers = text.partition(":")
        if name.casefold() in RUNNERS:
            if not layers:
                raise InputError("{encoders} {}: write hub:DIR, onnx:FILE or timm:NAME", text)
            match = _OUTPUTS.fullmatch(layers)
            source, outputs = (match[1], tuple(match[2].split("+"))) if match else (layers, ())
            brought = f"{name.casefold()}:{source}"
            # what timm reads from a repository of the hub is read from the folder into which it is fetched
            return cls(f"hub:{kept_in(brought)}" if brought.startswith(HF_HUB) else brought, outputs)
        chosen = tuple(layers.split("+")) if layers else ()
        if not name or not all(chosen) or (":" in text and not layers):
            raise InputError("{encoders} {}: write NAME or NAME:LAYER+LAYER", text)
        return cls(name.casefold(), chosen)

    @property
    def runner(self) -> str:
        """One of `RUNNERS`; empty for an encoder that is registered."""
        return self.name.partition(":")[0] if ":" in self.name else ""

    @property
    def source(self) -> str:
        """What the runner gets: a folder, a file, a name; empty for an encoder that is registered."""
        return self.name.partition(":")[2]

    @property
    def label(self) -> str:
        """What stores are called by: the name, or the runner with the name of the folder or file.

        Examples
        --------
        >>> EncoderChoice("hub:/data/DINO réseau").label, EncoderChoice("vgg16").label
        ('hub-dino-reseau', 'vgg16')
        """
        if not self.runner:
            return self.name
        last = Path(self.source).absolute() if self.runner != "timm" else Path(self.source)
        stem = last.stem if self.runner == "onnx" else last.name
        letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()  # accents go, letters stay
        plain = re.sub(r"[^a-z0-9_]+", "-", letters.casefold()).strip("-")
        return f"{self.runner}-{plain or hashlib.sha256(stem.encode(errors='surrogateescape')).hexdigest()[:8]}"


def weights_of(options: Sequence[str], encoder: str) -> str:
    """Return the value of the last of `options` for `encoder`; ``NAME=...`` fits that encoder only.

    A variant that takes the weights of another encoder takes what is named for that, unless it is named itself. A
    published encoder for which nothing is given takes those that were fetched.
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
    fetched = fetched_folder(encoder.casefold()) if chosen == "imagenet" else None
    return named or shared or (str(fetched) if fetched else chosen)


def unfetched(choices: Sequence[EncoderChoice], weights: Sequence[str]) -> list[str]:
    """Return the encoders whose weights could be fetched and are not here, as ``encoder fetch`` names them.

    Parameters
    ----------
    choices : sequence of EncoderChoice
    weights : sequence of str
        As in `weights_of`.
    """
    names = []
    for choice in choices:
        if choice.runner == "hub":
            names.append(unfetched_name(Path(choice.source)))
        elif kept_in(choice.name) is not None and weights_of(weights, choice.name) == "imagenet":
            names.append(choice.name)
    return [name for name in names if name is not None]
