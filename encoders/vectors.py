"""Encoders that return one vector per crop and have no feature maps, independent of the library that runs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import Entries, ImageError, InputError, WeightsError
from ..core.formats import Array, Floats32, Pixels
from .catalogue import TREATMENT, WEIGHTS_KINDS, EncoderCard, card_of
from .kept import NOT_KEPT, KeptNetwork
from .loading import short_reason
from .registry import EncoderChoice

Run = Callable[[Floats32], Floats32]
"""Normalised images, float32 of shape (n, size, size, 3), to vectors, float32 of shape (n, d)."""


@dataclass(frozen=True)
class EncoderRequest:
    """Settings from which an encoder is built; see `bchisto.encoders.open_encoder`."""

    choice: EncoderChoice
    weights: str = "imagenet"
    precision: str = "float32"
    engine: str = "keras"
    kept: KeptNetwork = NOT_KEPT


def identity(card: EncoderCard, **decisive: Any) -> str:
    """Return the SHA-256 of everything that determines the vectors of an encoder: weights and preprocessing."""
    treatment = {name: getattr(card, name) for name in TREATMENT}
    return hashlib.sha256(
        json.dumps({**treatment, **decisive}, sort_keys=True).encode()
    ).hexdigest()


def refuse_other_than_crops(crops: Array) -> None:
    """Refuse an array that is not uint8 of shape (n, height, width, 3).

    Raises
    ------
    ImageError
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
        raise ImageError(
            f"expected uint8 crops of shape (n, height, width, 3), got {crops.dtype} {crops.shape}"
        )


def prepared(crops: Pixels, card: EncoderCard) -> Floats32:
    """Return crops as an encoder takes them: resized by Pillow, cut down to their middle, with normalised pixels."""
    side = card.resize or card.size
    if side is not None and crops.shape[1:3] != (side, side):
        from PIL import Image

        kernel = Image.Resampling[card.interpolation.upper()]
        pictures = [
            Image.fromarray(np.ascontiguousarray(crop)).resize((side, side), kernel)
            for crop in crops
        ]
        crops = np.stack([np.asarray(picture) for picture in pictures])
    if card.size is not None and side != card.size:
        middle = slice(card.margin, card.margin + card.size)
        crops = crops[:, middle, middle]
    mean = np.array(card.mean, np.float32)
    std = np.array(card.std, np.float32)
    return (crops.astype(np.float32) / np.float32(255) - mean) / std


@dataclass(eq=False)
class VectorEncoder:
    """An encoder without feature maps.

    Attributes
    ----------
    name, parts, default_layers, dim, card, backend, engine
        As those of `bchisto.encoders.Encoder`.
    layers : tuple of str
        Outputs that are concatenated to the vector, in this order.
    runner : str
        ``hub``, ``onnx``, ``timm``, or ``package`` for one of another package.
    weights : str
        ``imagenet``, ``published``, ``random`` or ``file``.
    weights_sha256 : str
        SHA-256 of everything that determines the vectors: weights and preprocessing.
    weights_file_sha256 : str
        SHA-256 of the weights file, as ``sha256sum`` prints it; for several files, one over all of them.
    parameters : int
        Number of weights of the network; 0 if unknown.
    run : callable
        Computes vectors from normalised images.
    """

    name: str
    layers: tuple[str, ...]
    parts: tuple[int, ...]
    default_layers: bool
    card: EncoderCard
    runner: str
    backend: str
    engine: str
    weights_sha256: str
    weights_file_sha256: str
    run: Run
    weights: str = "file"
    parameters: int = 0

    @property
    def dim(self) -> int:
        """Number of features."""
        return sum(self.parts)

    def encode(self, crops: Pixels) -> Floats32:
        """Encode crops, preprocessed as in training, see `prepared`.

        Parameters
        ----------
        crops : ndarray of uint8, shape (n, height, width, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, dim)

        Raises
        ------
        ImageError
            The array has another dtype or shape.
        WeightsError
            The network returns an array of an unexpected shape.
        """
        refuse_other_than_crops(crops)
        vectors = np.asarray(self.run(prepared(crops, self.card)), dtype=np.float32)
        shape = (len(crops), self.dim)
        if vectors.shape != shape:
            raise WeightsError(
                f"{self.name}: gives an array of shape {vectors.shape} for {len(crops)} crops, and not {shape}; its "
                "file was changed"
            )
        return vectors


def from_facts(facts: Entries, run: Run, *, engine: str) -> VectorEncoder:
    """Return an encoder from facts about it, which are JSON, and from the function that runs it."""
    card = card_of({"card": json.dumps(facts["card"])}) or EncoderCard()
    fields = {
        **facts,
        "layers": tuple(facts["layers"]),
        "parts": tuple(facts["parts"]),
        "card": card,
    }
    return VectorEncoder(**fields, backend=engine, engine=engine, run=run)


@dataclass(frozen=True)
class VectorSpec:
    """An encoder of another package that returns vectors of crops.

    Attributes
    ----------
    name : str
        Lower case.
    card : EncoderCard
        Image size and normalisation. bchisto applies them before it calls the encoder.
    outputs : mapping
        Names of the available outputs, with the length of each; the first is the default.
    build : callable
        ``build(outputs, weights)``: a tuple of names, and the weights that the user chose (``imagenet`` by default).
        It returns a function from normalised images, float32 of shape (n, size, size, 3), to vectors of shape (n, d),
        and the SHA-256 of its weights.
    """

    name: str
    card: EncoderCard
    outputs: Mapping[str, int]
    build: Callable[[tuple[str, ...], str], tuple[Run, str]]


def open_package_encoder(spec: VectorSpec, request: EncoderRequest) -> VectorEncoder:
    """Build a vector encoder of another package.

    Raises
    ------
    InputError
        There is no such output.
    WeightsError
        The package refuses its weights.
    """
    default = tuple(spec.outputs)[:1]
    layers = chosen_outputs(request.choice, default=default, offered=spec.outputs)
    parts = tuple(spec.outputs[name] for name in layers)
    try:
        run, sha256 = spec.build(layers, request.weights)
    except ValueError as error:
        raise WeightsError(f"{spec.name}: {short_reason(error)}") from error
    return VectorEncoder(
        name=spec.name,
        layers=layers,
        parts=parts,
        default_layers=layers == default,
        card=spec.card,
        runner="package",
        backend=spec.name,
        engine=request.engine,
        run=run,
        weights_file_sha256=sha256,
        weights_sha256=identity(spec.card, weights=sha256),
        weights=WEIGHTS_KINDS.get(request.weights, "file"),
    )


def chosen_outputs(
    choice: EncoderChoice, *, default: tuple[str, ...], offered: Collection[str]
) -> tuple[str, ...]:
    """Return the chosen outputs of an encoder, or the default ones.

    Raises
    ------
    InputError
        There is no such output.
    """
    for name in choice.layers:
        if name not in offered:
            names = ", ".join([*offered][:8])
            raise InputError("{encoders} {}: no output {}; it has {}", choice.name, name, names)
    return choice.layers or default
