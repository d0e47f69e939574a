"""Try an encoder on an image: its input, output, speed and licence."""

from __future__ import annotations

import json
import time
import timeit
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core import (
    InputError,
    Message,
    MissingInputError,
    PathInput,
    WeightsError,
    converted,
    extension_names,
    load_extension,
)
from ..core.formats import decode_image
from .card import EncoderCard
from .catalogue import CATALOGUE, NamedEncoder
from .fetch import fetched_folder
from .opening import CropEncoder, open_encoder
from .registry import VECTOR_GROUP, EncoderChoice, get_spec, list_encoders, weights_of
from .timm_encoder import timm_card
from .vectors import VectorEncoder, VectorSpec

_SIDE = 224
"""Side in pixels of the crops for a network that accepts any size."""

_CROPS, _ROUNDS = 4, 3
"""Crops of a batch, and timed rounds, of which the fastest counts."""


_UNRECORDED = "not recorded; Keras publishes them"


def list_all_encoders() -> list[tuple[str, str]]:
    """Return the names of all encoders, each with a short description."""
    plain = [(name, "feature maps, ImageNet weights fetched by Keras") for name in list_encoders()]
    named = [(named.name, f"{_state(named)}: {named.title}; {named.card.terms()}") for named in CATALOGUE.values()]
    named += [(name, "vectors, of another package") for name in extension_names(VECTOR_GROUP)]
    own = [
        ("hub:DIR", "config.json and .safetensors: ViT, DINOv2, Swin, ConvNeXt of transformers; any network of timm"),
        ("onnx:FILE", "an ONNX file with a JSON next to it"),
        ("timm:NAME", "a network of timm, on PyTorch"),
        ("timm:hf-hub:OWNER/NAME", "a repository of the hub that timm or transformers wrote; `encoder fetch` gets it"),
    ]
    return [*plain, *named, *own]


def _state(named: NamedEncoder) -> str:
    """Return whether the weights of an encoder of the catalogue were fetched, or how to get them."""
    if fetched_folder(named.name) is not None:
        return "downloaded"
    how = "to be converted" if named.pickled else "can be fetched"
    return f"{how} by those who accept its terms" if named.card.gated else how


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
    if (named := CATALOGUE.get(choice.name)) is not None:
        return [
            ("encoder", named.title),
            *_card_lines(named.card),
            ("outputs", f"cls, mean, block1 and so on; by default {'+'.join(named.outputs)}"),
            ("parameters", f"about {named.parameters} million"),
            ("weights", named.download()),
            ("tested", named.tested),
        ]
    if choice.runner in ("hub", "onnx"):
        return _built_lines(open_encoder(choice))
    if choice.runner == "timm":
        hint = Message("give {weights}, as {}=DIR or FILE.safetensors", choice.label)
        return [("encoder", choice.name), *_card_lines(timm_card(choice.name, choice.source)), ("weights", hint)]
    if (offered := load_extension(VECTOR_GROUP, choice.name, VectorSpec, what="encoder")) is not None:
        outputs = ", ".join(f"{name} ({length} numbers)" for name, length in offered.outputs.items())
        return [("encoder", f"{offered.name}, of another package"), *_card_lines(offered.card), ("outputs", outputs)]
    get_spec(choice.name)
    return [
        ("encoder", f"{choice.name}, with feature maps: takes crops of any size, and dense mode"),
        ("weights", Message("ImageNet, fetched by Keras; or {weights}, a file of Keras")),
        ("licence of the weights", _UNRECORDED),
    ]


def _card_lines(card: EncoderCard) -> list[tuple[str, str]]:
    size = f"{card.size}x{card.size} pixels" if card.size else "any size"
    if card.resize:
        size += f", of crops resized to {card.resize}x{card.resize} ({card.interpolation}): the middle"
    elif card.size:
        size += f", others are resized ({card.interpolation})"
    mpp = ", ".join(f"{value:g}" for value in card.mpp)
    return [
        ("takes", size),
        ("micrometres per pixel", f"{mpp} (the preferred first)" if len(card.mpp) > 1 else mpp or "not known"),
        ("mean and deviation", " and ".join(" ".join(map("{:.4g}".format, three)) for three in (card.mean, card.std))),
        ("precision", ", ".join(card.precisions)),
        ("licence of the weights", card.terms() + (", gated" if card.gated else "")),
        ("source", " at ".join(part for part in (card.source, card.revision) if part) or "not known"),
    ]


def _built_lines(encoder: CropEncoder) -> list[tuple[str, str]]:
    layers = "+".join(encoder.layers)
    outputs = ", ".join(encoder.card.outputs[:4]) + (" ..." if len(encoder.card.outputs) > 4 else "") or layers
    facts = _card_lines(encoder.card)
    if isinstance(encoder, VectorEncoder):
        facts.append(("settings of its network", json.dumps(encoder.taken)))
    else:
        # the network normalises pixels itself, and a user's file has a licence of its own
        licences = {"imagenet": _UNRECORDED, "random": "none, they are random"}
        licence = licences.get(encoder.weights, "that of your file")
        facts = [("takes", "crops of any size"), ("licence of the weights", licence)]
    return [
        ("encoder", f"{encoder.name}, run by {encoder.engine} on {encoder.backend}"),
        *facts,
        ("gives", f"{encoder.dim} numbers: {layers}" + (f" (of {outputs})" if outputs != layers else "")),
        ("parameters", f"{encoder.parameters:,}" if encoder.parameters else "not known"),
        ("sha256 of its weights", encoder.weights_file_sha256 or encoder.weights_sha256),
    ]


def check_encoder(
    encoder: str,
    *,
    image: PathInput | None = None,
    weights: str = "imagenet",
    engine: str = "keras",
    precision: str = "float32",
) -> list[tuple[str, str]]:
    """Build an encoder, compute features of a few crops with it, and return its properties, each as a name and a value.

    Parameters
    ----------
    encoder : str
        As in ``--encoder``.
    image : path, optional
        Image from which crops are cut; without it, random noise.
    weights, engine, precision : str
        As in feature extraction.

    Raises
    ------
    InputError, DependencyError
        See `open_encoder`.
    ImageError
        The image cannot be read.
    WeightsError
        See `open_encoder`; or features are not finite, or are the same for different crops.
    """
    choice = EncoderChoice.parse(encoder)
    source = weights_of([weights], choice.label)
    if choice.runner in ("hub", "onnx") and source != "imagenet":
        raise InputError("{weights} {}: {} brings its own; leave it out", source, choice.name)
    path = None if image is None else converted(image, "image", Path)
    if path is not None and not path.is_file():
        raise MissingInputError("{}: no such image; {image} takes a file", path)
    started = time.perf_counter()
    built = open_encoder(choice, weights=source, engine=engine, precision=precision)
    ready = time.perf_counter() - started
    noise = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
    picture = noise if path is None else decode_image(path)
    batch = _cut(picture, path, side=built.card.size or _SIDE)
    vectors = built.encode(batch)  # the first call compiles, so it is not timed
    if not np.isfinite(vectors).all():
        raise WeightsError(f"{encoder}: gives numbers that are not finite; check the weights or use float32")
    if np.ptp(vectors, axis=0).max() == 0:
        raise WeightsError(f"{encoder}: gives the same vector for every crop; check the weights and the output")
    speed = _CROPS / min(timeit.repeat(lambda: built.encode(batch), number=1, repeat=_ROUNDS))
    return [
        *_built_lines(built),
        ("numbers", f"from {vectors.min():.4g} to {vectors.max():.4g}, mean {vectors.mean():.4g}"),
        ("speed", f"{speed:.3g} crops per second in batches of {_CROPS}; built in {ready:.1f} s"),
    ]


def _cut(picture: npt.NDArray[np.uint8], path: Path | None, *, side: int) -> npt.NDArray[np.uint8]:
    """Cut crops along the diagonal of an image."""
    height, width = picture.shape[:2]
    side = min(side, height, width)
    if side < 8 or max(height, width) == side:
        raise InputError(f"{path}: {width}x{height} is too small for different crops of {side}; use a larger one")
    tops, lefts = (np.linspace(0, length - side, _CROPS).astype(int) for length in (height, width))
    return np.stack([picture[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)])
