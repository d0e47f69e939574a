"""Networks from a folder that transformers or timm wrote."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Content, Entries, InputError, WeightsError
from .catalogue import WEIGHTS_KINDS, EncoderCard, NamedEncoder, treated_card
from .loading import WeightsFolder, import_library, read_folder, refused, side_of, unchanged
from .timm_network import timm_folder, timm_network
from .torch_network import TorchNetwork, check_size, read_tensors, torch_encoder
from .vectors import EncoderRequest, VectorEncoder, prepared

_MODELS = {
    "convnext": ("ConvNextModel", None),
    "convnextv2": ("ConvNextV2Model", None),
    "deit": ("DeiTModel", 2),
    "dinov2": ("Dinov2Model", 1),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", 1),
    "swin": ("SwinModel", 0),
    "swinv2": ("Swinv2Model", 0),
    "vit": ("ViTModel", 1),
}
"""``model_type`` of a config: class of transformers, and number of tokens before registers and patches.

None instead of a number: the network returns feature maps.
"""

_UNUSED = re.compile(r"(\w*classifier|pooler|embeddings\.mask_token)(\.|$)")
"""Tensors that no output needs. A file may lack them, contain them, or have another shape of them."""

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for ways of resizing, which processors of transformers use."""

_WARPED = 384
"""Image size in pixels from which the processor of ConvNeXt does not crop."""


def open_hub(request: EncoderRequest, *, published: NamedEncoder | None) -> VectorEncoder:
    """Build the network of a folder.

    Parameters
    ----------
    request : EncoderRequest
        The source is a folder with ``config.json`` and ``.safetensors``.
    published : NamedEncoder, optional
        An encoder of the catalogue. Then the folder needs no config, and `request.weights` is the folder or file of
        the weights.

    Raises
    ------
    InputError
        There is no config or no such output, or this kind of network is not supported.
    WeightsError
        Weights are pickled, missing, damaged or of another network. If an encoder of the catalogue has no weights yet,
        the message explains how to get them.
    DependencyError
        The library is not installed.
    """
    if published is None:
        folder = read_folder(Path(request.choice.source))
    elif request.weights in WEIGHTS_KINDS:
        terms = published.card.terms()
        raise WeightsError(
            "{}: its weights are not part of bchisto ({}); {}",
            published.name,
            terms,
            published.download(),
        )
    else:
        folder = read_folder(Path(request.weights), config=False)
    with unchanged(folder.files) as sha256:
        if published is not None:
            network = _of_catalogue(folder, published)
        elif "architecture" in folder.config:
            network = timm_folder(folder, request.choice.name)
        else:
            network = _of_transformers(folder, request.choice.name)
    return torch_encoder(request, network, folder, sha256=sha256)


def _of_catalogue(folder: WeightsFolder, published: NamedEncoder) -> TorchNetwork:
    """Build an encoder of the catalogue, and check that its weights have the shapes of this network."""
    tensors = read_tensors(folder.files)
    if published.library == "timm":
        network = timm_network(published.name, published.architecture, published.arguments, tensors)
    else:
        config = {**published.arguments, "model_type": published.architecture}
        # transformers interpolates the position embeddings to the size of the images
        config["image_size"] = round((_tokens(tensors) - 1) ** 0.5) * config["patch_size"]
        network = _built(config, tensors, published.card, published.name, folder.path)
    decisive = {"architecture": published.architecture, "arguments": dict(published.arguments)}
    return dataclasses.replace(
        network, card=published.card, default=published.outputs, decisive=decisive
    )


def _tokens(tensors: Entries) -> int:
    """Return the number of tokens, with the class token, for which weights have positions; 1 if they have none."""
    for name, positions in tensors.items():
        if name.endswith(".position_embeddings"):
            return int(positions.shape[1]) if positions.ndim == 3 else 1
    return 1


def _of_transformers(folder: WeightsFolder, source: str) -> TorchNetwork:
    """Build the network of a folder that transformers wrote, with the preprocessing of its processor."""
    kind = str(folder.config.get("model_type"))
    if kind not in _MODELS:
        raise InputError(
            f"{folder.path}: its config is of {kind[:40]}; hub reads {', '.join(_MODELS)} of "
            "transformers and any folder of timm; of others use timm:NAME, or export them to ONNX and use onnx:FILE"
        )
    transformers = _transformers(source)
    card = _card(transformers, folder)
    network = _built(folder.config, read_tensors(folder.files), card, source, folder.path)
    decisive = {"config": {"model_type": kind, **_network_config(transformers, folder.config)}}
    return dataclasses.replace(network, decisive=decisive)


def _network_config(transformers: Any, config: Entries) -> Content:
    """Return the entries of a config that define the network, without those on its origin or on loading."""
    config_class = getattr(transformers, _MODELS[config["model_type"]][0]).config_class
    common = inspect.signature(transformers.PreTrainedConfig).parameters
    names = [
        name
        for name in inspect.signature(config_class).parameters
        if name not in common and not name.startswith("_")
    ]
    return {name: config[name] for name in names if name in config}


def _built(
    config: Entries, tensors: Content, card: EncoderCard, source: str, path: Path
) -> TorchNetwork:
    """Build a network of transformers and load its weights; refuse missing, unused or wrongly shaped tensors."""
    transformers = _transformers(source)
    import torch

    class_name, prefix = _MODELS[config["model_type"]]
    network_class = getattr(transformers, class_name)
    with refused(InputError, f"{path}: transformers cannot build it"):
        settings = network_class.config_class(**_network_config(transformers, config))
        check_size(path, lambda: network_class(settings), tensors)
        model, report = network_class.from_pretrained(
            None,
            config=settings,
            state_dict=tensors,
            output_loading_info=True,
            dtype=torch.float32,
            attn_implementation="sdpa" if network_class._supports_sdpa else "eager",
            ignore_mismatched_sizes=True,
        )
    _refuse_other_tensors(report, path)
    return _with_outputs(model, settings, card, prefix)


def _refuse_other_tensors(report: Entries, path: Path) -> None:
    """Refuse weights that lack tensors which an output needs, have others, or have them in another shape."""
    tensors_by_kind = {
        "missing": report["missing_keys"],
        "unexpected": report["unexpected_keys"],
        "mismatched": [name for name, *_ in report["mismatched_keys"]],
    }
    for kind, tensors in tensors_by_kind.items():
        names = sorted(name for name in tensors if not _UNUSED.match(name))
        if names:
            raise WeightsError(
                f"{path}: not the weights of this network ({len(names)} {kind} tensors: {names[0][:80]})"
            )


def _with_outputs(model: Any, settings: Any, card: EncoderCard, prefix: int | None) -> TorchNetwork:
    """Return a network of transformers with the outputs that it offers; see `_MODELS` for `prefix`."""
    if prefix is None:
        return _with_maps(model, card)
    layers = int(getattr(settings, "num_hidden_layers", 0))
    blocks = [f"block{number}" for number in range(1, layers + 1)]
    outputs: tuple[str, ...] = ("mean",)
    if prefix > 0:
        outputs = ("cls", "mean", *blocks)
    first_patch = prefix + int(getattr(settings, "num_register_tokens", 0))

    def vector_of(result: Any, output: str) -> Any:
        if output == "cls":
            return result.last_hidden_state[:, 0]
        tokens = result.last_hidden_state
        if output.startswith("block"):
            tokens = result.hidden_states[int(output.removeprefix("block"))]
        return tokens[:, first_patch:].mean(1)

    def compute(images: Any, names: tuple[str, ...]) -> list[Any]:
        result = model(images, output_hidden_states=any(name.startswith("block") for name in names))
        return [vector_of(result, output) for output in names]

    return TorchNetwork(model, card, outputs, compute)


def _with_maps(model: Any, card: EncoderCard) -> TorchNetwork:
    """Return a network of transformers that returns feature maps, with its two ways of averaging them."""
    outputs = ("vector", "mean")

    def compute(images: Any, names: tuple[str, ...]) -> list[Any]:
        result = model(images, output_hidden_states=False)
        vectors = {
            "vector": result.pooler_output.flatten(1),
            "mean": result.last_hidden_state.mean((2, 3)),
        }
        return [vectors[output] for output in names]

    return TorchNetwork(model, card, outputs, compute)


def _transformers(source: str) -> Any:
    """Import transformers, and silence it: bchisto refuses what it only warns about."""
    library = import_library("transformers", source)
    library.utils.logging.set_verbosity(logging.CRITICAL)
    library.utils.logging.disable_progress_bar()
    return library


def _card(transformers: Any, folder: WeightsFolder) -> EncoderCard:
    """Return the card of a folder; refuse a processor whose result the preprocessing of a card does not reproduce."""
    path = folder.path
    from PIL import Image

    with refused(
        InputError, f"{path}: no preprocessor_config.json that defines how pixels are treated"
    ):
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False, backend="pil"
        )
        steps = processor.to_dict()
        size = resize = side_of(steps["size"])
        if "crop_pct" in steps and size < _WARPED:  # only ConvNeXt has it
            resize = int(size / float(steps["crop_pct"]))
        elif steps.get("do_center_crop"):
            size = side_of(steps["crop_size"])
        normalisation = {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
        if steps.get("do_normalize"):
            normalisation = steps
        card = treated_card(
            path,
            size=size,
            resize=resize,
            margin=(resize - size) // 2,
            mean=normalisation["image_mean"],
            std=normalisation["image_std"],
            interpolation=_RESAMPLING.get(steps.get("resample", 3), steps.get("resample")),
            licence=folder.licence(folder.config.get("license")),
            source=str(folder.config.get("_name_or_path") or ""),
        )
        # processors have more options than a card, so both must make the same of a picture of noise
        noise = np.random.default_rng(0)
        picture = noise.integers(0, 256, (size + 40, size + 40, 3), dtype=np.uint8)
        processed = processor(Image.fromarray(picture), return_tensors="np")
        expected = np.asarray(processed["pixel_values"])
        pixels = prepared(picture[np.newaxis], card).transpose(0, 3, 1, 2)
    if pixels.shape != expected.shape or not np.allclose(pixels, expected, atol=1e-5):
        raise InputError(
            f"{path}: preprocessor_config.json makes other pictures than resizing, cutting and normalising do; this "
            "is not supported"
        )
    return card
