"""Try an encoder on an image: its input, output, speed and licence."""

from __future__ import annotations

import time
import timeit

import numpy as np

from ..core import InputError, Message, WeightsError, extension_names
from .card import EncoderCard
from .catalogue import CATALOGUE
from .fetch import fetched_folder
from .opening import CropEncoder, open_encoder, stated_card
from .registry import VECTOR_GROUP, EncoderChoice, get_spec, list_encoders, weights_of
from .timm_encoder import timm_card
from .vectors import VectorEncoder

_SIDE = 224
"""Side in pixels of the crops for a network that accepts any size."""

_CROPS = 4
"""Crops of a batch."""

_ROUNDS = 3
"""Timed rounds, of which the fastest counts."""


def list_all_encoders() -> list[tuple[str, str]]:
    """Return the names of all encoders, each with a short description."""
    rows = [(name, "feature maps, ImageNet weights fetched by Keras") for name in list_encoders()]
    for published in CATALOGUE.values():
        state = "can be fetched"
        if fetched_folder(published.name) is not None:
            state = "downloaded"
        elif published.pickled:
            state = "to be converted"
        rows.append((published.name, f"{state}: {published.title}; {published.card.terms()}"))
    rows += [(name, "vectors, of another package") for name in extension_names(VECTOR_GROUP)]
    return [
        *rows,
        (
            "hub:DIR",
            "config.json and .safetensors: ViT, DINOv2, Swin, ConvNeXt of transformers; any network of timm",
        ),
        ("onnx:FILE", "an ONNX file with a JSON next to it"),
        ("timm:NAME", "a network of timm, on PyTorch"),
    ]


def describe_encoder(text: str) -> list[tuple[str, str]]:
    """Return the known properties of an encoder, each as a name and a value.

    This fetches no weights. A network from a folder or an ONNX file is built, to check that this works.

    Parameters
    ----------
    text : str
        As in ``--encoder``.

    Raises
    ------
    InputError
        There is no such encoder.
    """
    choice = EncoderChoice.parse(text)
    if choice.brings_weights:
        return _built_lines(open_encoder(choice))
    published = CATALOGUE.get(choice.name)
    if choice.runner == "timm":
        card: EncoderCard | None = timm_card(choice.name, choice.source)
    else:
        card = stated_card(choice, "imagenet")
    if card is None:
        get_spec(choice.name)
        encoder = f"{choice.name}, with feature maps: takes crops of any size, and dense mode"
        weights = (
            "ImageNet, fetched by Keras, which states no licence; or {weights}, a file of Keras"
        )
        return [("encoder", encoder), ("weights", Message(weights))]
    lines = [("encoder", published.title if published else choice.name), *_card_lines(card)]
    if published is None:
        return [
            *lines,
            ("weights", Message("{weights:{}=PATH}, or those of its package", choice.label)),
        ]
    return [
        *lines,
        ("outputs", f"cls, mean, block1 and so on; by default {'+'.join(published.outputs)}"),
        ("parameters", f"about {published.parameters} million"),
        ("weights", published.download()),
        (
            "tested",
            f"network built by {published.library} and compared with it by random weights; not tested with its weights",
        ),
    ]


def _card_lines(card: EncoderCard) -> list[tuple[str, str]]:
    pixels = f"{card.size}x{card.size} pixels"
    if card.resize:
        pixels += f", the middle of crops resized to {card.resize}x{card.resize}"
    mean = " ".join(f"{value:.4g}" for value in card.mean)
    deviation = " ".join(f"{value:.4g}" for value in card.std)
    return [
        ("takes", f"{pixels} ({card.interpolation})"),
        ("micrometres per pixel", ", ".join(f"{value:g}" for value in card.mpp) or "not known"),
        ("mean and deviation", f"{mean} and {deviation}"),
        ("licence of the weights", card.terms()),
        ("source", card.source or "not known"),
    ]


def _built_lines(encoder: CropEncoder) -> list[tuple[str, str]]:
    if isinstance(encoder, VectorEncoder):
        treatment = _card_lines(encoder.card)
    else:
        treatment = [("takes", "crops of any size"), ("weights", encoder.weights)]
    return [
        ("encoder", f"{encoder.name}, run by {encoder.engine} on {encoder.backend}"),
        *treatment,
        ("gives", f"{encoder.dim} numbers: {'+'.join(encoder.layers)}"),
        ("outputs", ", ".join(encoder.card.outputs) or "its layers"),
        ("parameters", f"{encoder.parameters:,}" if encoder.parameters else "not known"),
        ("sha256 of its weights", encoder.weights_file_sha256 or encoder.weights_sha256),
    ]


def check_encoder(
    encoder: str, *, weights: str = "imagenet", engine: str = "keras", precision: str = "float32"
) -> list[tuple[str, str]]:
    """Build an encoder, compute features of crops of noise, and return its properties, each as a name and a value.

    Parameters
    ----------
    encoder : str
        As in ``--encoder``.
    weights, engine, precision : str
        As in feature extraction.

    Raises
    ------
    InputError, DependencyError
        See `open_encoder`.
    WeightsError
        See `open_encoder`; or features are not finite, or are the same for different crops.
    """
    choice = EncoderChoice.parse(encoder)
    source = weights_of([weights], choice.label)
    if choice.brings_weights and source != "imagenet":
        raise InputError("{weights} {}: {} brings its own; leave it out", source, choice.name)
    started = time.perf_counter()
    built = open_encoder(choice, weights=source, engine=engine, precision=precision)
    ready = time.perf_counter() - started
    side = built.card.size or _SIDE
    batch = np.random.default_rng(0).integers(0, 256, (_CROPS, side, side, 3), dtype=np.uint8)
    vectors = built.encode(batch)  # the first call compiles, so it is not timed
    if not np.isfinite(vectors).all():
        raise WeightsError(
            f"{encoder}: gives numbers that are not finite; check the weights or use float32"
        )
    if np.ptp(vectors, axis=0).max() == 0:
        raise WeightsError(
            f"{encoder}: gives the same vector for every crop; check the weights and the output"
        )
    speed = _CROPS / min(timeit.repeat(lambda: built.encode(batch), number=1, repeat=_ROUNDS))
    return [
        *_built_lines(built),
        ("numbers", f"from {vectors.min():.4g} to {vectors.max():.4g}, mean {vectors.mean():.4g}"),
        ("speed", f"{speed:.3g} crops per second in batches of {_CROPS}; built in {ready:.1f} s"),
    ]
