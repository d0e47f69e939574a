"""Parse the text that selects an encoder, its layers and its weights."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import InputError
from .fetch import HF_HUB, fetched_folder, kept_in, unfetched_name
from .network import RESNET50_KERAS213

RUNNERS = ("hub", "onnx", "timm")
"""Prefixes for networks that are not registered: ``hub:DIR``, ``onnx:FILE`` and ``timm:NAME``."""

_OUTPUT = r"(?:cls|mean|block[1-9]\d{0,2}|vector)"
_OUTPUTS = re.compile(rf"(.+):({_OUTPUT}(?:\+{_OUTPUT})*)")


_WEIGHTS_OF = {RESNET50_KERAS213: "resnet50"}
"""Encoders that share the weights of another encoder, and therefore accept ``OTHER=...``."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and its layers. Empty layers mean the encoder's default.

    Attributes
    ----------
    name : str
        A registered name, or ``hub:DIR``, ``onnx:FILE`` or ``timm:NAME``.
    layers : tuple of str
        For a network with feature maps, names of layers. For a network that returns vectors, names of outputs
        (``cls``, ``mean``, ``block12``).
    """

    name: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + (f":{'+'.join(self.layers)}" if self.layers else "")

    @classmethod
    def parse(cls, text: str) -> EncoderChoice:
        """Parse ``NAME[:LAYER+LAYER]``, or ``hub:DIR``, ``onnx:FILE`` or ``timm:NAME`` with ``[:OUTPUT+OUTPUT]``.

        ``timm:hf-hub:OWNER/NAME`` becomes ``hub:`` and the folder into which ``encoder fetch`` downloads it.

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
            encoder = f"{name.casefold()}:{source}"
            # timm would download such a repository; bchisto reads the folder into which it was fetched
            return cls(f"hub:{kept_in(encoder)}" if encoder.startswith(HF_HUB) else encoder, outputs)
        chosen = tuple(layers.split("+")) if layers else ()
        if not name or not all(chosen) or (":" in text and not layers):
            raise InputError("{encoders} {}: write NAME or NAME:LAYER+LAYER", text)
        return cls(name.casefold(), chosen)

    @property
    def runner(self) -> str:
        """One of `RUNNERS`; empty for a registered encoder."""
        return self.name.partition(":")[0] if ":" in self.name else ""

    @property
    def source(self) -> str:
        """The text after the runner: a folder, a file or a name; empty for a registered encoder."""
        return self.name.partition(":")[2]

    @property
    def label(self) -> str:
        """The encoder's part of the name of a feature file: its name, or the runner and the name of the folder or file.

        Examples
        --------
        >>> EncoderChoice("hub:/data/DINO réseau").label, EncoderChoice("vgg16").label
        ('hub-dino-reseau', 'vgg16')
        """
        if not self.runner:
            return self.name
        last = Path(self.source).absolute() if self.runner != "timm" else Path(self.source)
        stem = last.stem if self.runner == "onnx" else last.name
        letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()  # removes accents
        plain = re.sub(r"[^a-z0-9_]+", "-", letters.casefold()).strip("-")
        return f"{self.runner}-{plain or hashlib.sha256(stem.encode(errors='surrogateescape')).hexdigest()[:8]}"


def weights_of(options: Sequence[str], encoder: str) -> str:
    """Return the weights that `options` select for an encoder.

    The last option counts; ``NAME=...`` applies only to the encoder of that name. An encoder that shares the weights of
    another one also accepts the option of that encoder, but its own comes first. Without an option, a published encoder
    uses the weights that were fetched.
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
    """Return the names, for ``encoder fetch``, of encoders whose weights can be fetched but were not.

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
