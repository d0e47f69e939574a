"""Open any encoder, try it on an image, and read from its files on which images it was trained.

For a user's network, a feature file records only the checksum. Its location comes from the user, or from the record of
the run that wrote the feature file.
"""

from __future__ import annotations

import functools
import hashlib
import time
import timeit
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..core import (
    DAMAGE,
    BchistoError,
    BundleError,
    Entries,
    InputError,
    Message,
    WeightsError,
    converted,
    extension_names,
    load_extension,
)
from ..core.formats import content_sha256
from .catalogue import CATALOGUE, EncoderCard, NamedEncoder
from .encoder import Encoder
from .fetch import encoders_folder, fetched_folder, refuse_altered
from .hub import open_hub
from .kept import KeptNetwork, kept_key
from .loading import joint_sha256, read_folder, read_json_object, side_of, stated_mpp
from .onnx_encoder import open_onnx, read_onnx, read_sidecar
from .registry import (
    EMBEDDED,
    PUBLISHED,
    VECTOR_GROUP,
    WITH_WEIGHTS,
    EncoderChoice,
    get_spec,
    list_encoders,
    weights_of,
)
from .timm_network import open_timm, timm_card
from .torch_network import openvino_run
from .vectors import EncoderRequest, VectorEncoder, VectorSpec, from_facts, open_package_encoder

CropEncoder = Encoder | VectorEncoder
"""Every encoder, as feature extraction, `predict` and `explain` use it."""

_ENGINES = {
    "keras": ("keras", "openvino"),
    "onnx": ("onnxruntime", "openvino"),
    "hub": ("torch", "openvino"),
    "timm": ("torch", "openvino"),
    "package": ("keras",),
}
"""Engines that run each kind of encoder. ``keras``, the default of feature extraction, means the first."""


def stated_card(choice: EncoderChoice, weights: str) -> EncoderCard | None:
    """Return the card of an encoder without feature maps, without building it; None if nothing is known.

    For a folder the card contains only the size and the micrometres per pixel. If files cannot be read the result is
    None, and `open_encoder` reports the reason.

    Parameters
    ----------
    choice : EncoderChoice
    weights : str
        Weights as `weights_of` returns them.
    """
    if choice.name in CATALOGUE:
        return CATALOGUE[choice.name].card
    if not choice.runner:
        spec = _offered(choice)
        return None if spec is None else spec.card
    path = _path_of(choice, weights)
    try:
        if choice.runner == "onnx":
            return read_sidecar(path).card
        config = read_json_object(path / "config.json")
        return EncoderCard(size=_stated_size(path, config), mpp=stated_mpp(config, path))
    except DAMAGE:
        return None


def _path_of(choice: EncoderChoice, weights: str) -> Path:
    """Return the folder or file of an encoder's weights."""
    if choice.brings_weights:
        return Path(choice.source)
    return Path(weights)


def _stated_size(folder: Path, config: Entries) -> int | None:
    """Return the side in pixels of the images of a folder's network, from a config of timm or from its processor."""
    size = (config.get("pretrained_cfg") or config).get("input_size", [None])[-1]
    processor_file = folder / "preprocessor_config.json"
    if size is None and processor_file.is_file():
        processor = read_json_object(processor_file)
        size = processor.get("size")
        if processor.get("do_center_crop"):
            size = processor.get("crop_size")
        size = side_of(size)
    return size if isinstance(size, int) else None


def gives_maps(choice: EncoderChoice) -> bool:
    """Return whether an encoder has feature maps, which dense mode needs, without building it."""
    return not choice.runner and choice.name not in (*CATALOGUE, *extension_names(VECTOR_GROUP))


def open_encoder(
    choice: EncoderChoice,
    *,
    weights: str = "imagenet",
    precision: str = "float32",
    engine: str = "keras",
    seed: int = 0,
) -> CropEncoder:
    """Build an encoder.

    Parameters
    ----------
    choice : EncoderChoice
        Or its text.
    weights : str
        As in `Encoder`. For an encoder of the catalogue, the folder or file of its weights. Ignored for ``hub:`` and
        ``onnx:``, which contain their weights.
    precision : {"float32", "bfloat16"}
    engine : str
        One of `ENGINES`.
    seed : int
        Seed of random weights.

    Returns
    -------
    CropEncoder

    Raises
    ------
    InputError
        There is no such encoder, layer or output, or the engine cannot run the network.
    WeightsError
        The weights are not available, or belong to another network.
    DependencyError
        A package is missing; the message names it.
    """
    choice = converted(choice, "choice", EncoderChoice)
    offered = _offered(choice)
    kind = choice.runner or "keras"
    if choice.name in CATALOGUE:
        kind = "hub"
    elif offered is not None:
        kind = "package"
    engines = _ENGINES[kind]
    if engine == "keras":
        engine = engines[0]
    elif engine not in engines:
        text = "{engine} {}: does not run {}; leave it out, or use {}"
        raise InputError(text, engine, choice.name, engines[-1])
    if precision != "float32" and (engine == "onnxruntime" or offered is not None):
        raise InputError(
            "{precision} {}: {} is computed as it is; leave it out", precision, choice.name
        )
    if kind == "keras":
        return Encoder(
            choice.name,
            layers=choice.layers,
            weights=weights,
            precision=precision,
            engine=engine,
            seed=seed,
        )
    request = EncoderRequest(choice, weights, precision, engine)
    if offered is not None:
        return open_package_encoder(offered, request)
    if kind == "onnx":
        return open_onnx(request)
    return _open_pytorch(request, CATALOGUE.get(choice.name))


def _offered(choice: EncoderChoice) -> VectorSpec | None:
    """Return the encoder of vectors that another package offers under this name; None for a name of the catalogue."""
    if choice.runner or choice.name in CATALOGUE:
        return None
    return load_extension(VECTOR_GROUP, choice.name, VectorSpec, what="encoder")


def _open_pytorch(request: EncoderRequest, published: NamedEncoder | None) -> VectorEncoder:
    """Build a network of PyTorch; if OpenVINO runs it and this machine keeps it, only read it."""
    choice = request.choice
    path = _path_of(choice, request.weights)
    if published is not None and request.weights == "imagenet":
        # its weights were not found; if they were fetched, a file is missing
        refuse_altered(encoders_folder() / choice.name)
    else:
        refuse_altered(path)
    if request.engine == "openvino":
        content = _content_of(path)
        if content:
            key = kept_key(
                ("torch", "timm", "transformers"),
                name=choice.label,
                network="hub" if choice.runner == "hub" else choice.name,
                layers=choice.layers,
                content=content,
            )
            request = replace(request, kept=KeptNetwork(key))
        facts = request.kept.facts()
        if facts is not None:
            run = openvino_run(request, facts, _refuse_removed)
            return from_facts(facts, run, engine=request.engine)
    if choice.runner == "timm":
        return open_timm(request)
    return open_hub(request, published=published)


def _refuse_removed() -> NoReturn:
    raise WeightsError("a kept network was removed meanwhile; run the command again")


def cached_encoder(choice: EncoderChoice, *, weights: str, **settings: Any) -> CropEncoder:
    """Return an encoder; a process builds it only once for the same content of its weights. See `open_encoder`."""
    content = ""
    if choice.brings_weights or weights not in (*PUBLISHED, "random"):
        content = _content_of(_path_of(choice, weights))
    return _built(content, choice, weights=weights, **settings)


@functools.lru_cache(maxsize=16)
def _built(content: str, choice: EncoderChoice, **settings: Any) -> CropEncoder:
    """Build an encoder; `content` is only part of the key of the cache, so that changed weights are read again."""
    return open_encoder(choice, **settings)


def source_sha256(path: Path) -> str:
    """Return the checksum of a weights file, a folder or an ONNX file, as recorded in feature files.

    Raises
    ------
    BchistoError
        The weights cannot be read.
    """
    if path.is_dir():
        return joint_sha256(read_folder(path, config=False).files)
    if path.suffix == ".onnx":
        return joint_sha256(read_onnx(path).files)
    return joint_sha256([path])


def _content_of(path: Path) -> str:
    """Return a checksum of a folder or file, of the JSON files next to it, and of the model card, with the licence.

    It is empty if they cannot be read.
    """
    texts = [path.with_suffix(".json"), path.parent / "config.json"]
    if path.is_dir():
        texts = [*sorted(path.glob("*.json")), path / "README.md"]
    try:
        hashes = [source_sha256(path)]
        hashes += [text.name + content_sha256(text) for text in texts if text.is_file()]
    except (BchistoError, OSError):
        return ""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def header_choice(header: Entries, source: str) -> EncoderChoice:
    """Return the encoder that a feature file names.

    Parameters
    ----------
    header : mapping
        Header of the feature file.
    source : str
        Folder or file where a ``hub:`` or ``onnx:`` network is now.

    Raises
    ------
    BundleError
        The header names a location. Locations must come from the user.
    """
    runner = header.get("runner", "keras")
    name = str(header["encoder"])
    if runner == "timm":
        name = f"timm:{str(header.get('network', '')).removeprefix('timm:')}"
    if name == "timm:" or (":" in name) != (runner == "timm"):
        raise BundleError(
            f"{name[:60]}: is not the name of an encoder that a model file could name; it was altered"
        )
    if runner in WITH_WEIGHTS and name not in CATALOGUE:
        name = f"{runner}:{source}"
    return EncoderChoice(name, tuple(header["layers"]))


def recorded_source(text: str, folder: Path) -> tuple[str, Path] | None:
    """Return the label and path of an encoder from the options of a run; None if it is not a folder or file.

    Parameters
    ----------
    text : str
        As in ``--encoder``.
    folder : Path
        Working folder of the run, for relative paths.
    """
    try:
        choice = EncoderChoice.parse(text)
    except BchistoError:
        return None
    if not choice.brings_weights:
        return None
    return choice.label, folder / choice.source


_SIDE = 224
"""Side in pixels of the crops for a network that accepts any size."""

_CROPS = 4
"""Crops of a batch."""

_ROUNDS = 3
"""Timed rounds, of which the fastest counts."""


def list_all_encoders() -> list[tuple[str, str]]:
    """Return the names of all encoders, each with a short description."""
    origins = dict.fromkeys(list_encoders(), "fetched by Keras")
    origins |= dict.fromkeys(EMBEDDED, "in the package")
    rows = [(name, f"feature maps, ImageNet weights {origin}") for name, origin in origins.items()]
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
        if weights_of((), choice.name) == "embedded":
            weights = "ImageNet, in the package, Apache-2.0; or {weights}, a file of Keras"
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
    start = time.perf_counter()
    built = open_encoder(choice, weights=source, engine=engine, precision=precision)
    delay = time.perf_counter() - start
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
        ("speed", f"{speed:.3g} crops per second in batches of {_CROPS}; built in {delay:.1f} s"),
    ]
