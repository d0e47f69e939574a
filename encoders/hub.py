"""Networks of a folder, on Keras: ViT and DINOv2 of transformers, ViT of timm, Swin, and presets of keras-hub."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DependencyError, InputError, WeightsError, how_to_install
from ..jobs import DAMAGE, prepare_backend
from . import network
from .card import EncoderCard, card_by_licence, known_interpolation
from .catalogue import NamedEncoder
from .engines import compile_vectors
from .folder import WeightsFolder, read_folder, read_json_object
from .loading import first_line
from .transformer import build_transformer, plan_transformer, read_transformer
from .vectors import Asked, VectorEncoder, chosen_outputs, identity

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Numbers of Pillow, by which processors of transformers say how they resize."""

_MODELS = {"vit": "vit", "dinov2": "dinov2", "dinov2_with_registers": "dinov2"}
_KERAS_HUB = ("swin",)

_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16}
"""Heads of timm's ViT by size, where the config does not name them (Dosovitskiy et al. 2021, table 1)."""

_OTHER_TIMM = ("clip", "siglip", "rope", "rel", "eva", "sam", "qkn", "parallel", "gap", "dinov3", "pe_")
"""In names of timm: transformers that differ in more than their sizes from those that are built here."""

_MOST_SIZE = 2048
"""Bound on the side of what a network takes, pixels (ours)."""


@dataclass(frozen=True)
class _Built:
    """A network with its weights: the names of its outputs, all of one length, and what decides its vectors."""

    model: Any
    outputs: tuple[str, ...]
    default: tuple[str, ...]
    card: EncoderCard
    identity: dict[str, Any]


def open_hub(asked: Asked, *, named: NamedEncoder | None = None) -> VectorEncoder:
    """Build the network of a folder.

    Parameters
    ----------
    asked : Asked
        The source is a folder with ``config.json`` and ``.safetensors``. Without outputs it gives ``cls``, or the mean
        where there is no class token. The engine is ``keras`` or ``openvino``.
    named : NamedEncoder, optional
        What is known of it, which then need not be in the folder; the weights are the folder or file that the user
        fetched.

    Raises
    ------
    InputError
        No config, another kind of network, no such output.
    WeightsError
        Weights that are pickled, missing, damaged or of another network; of a named encoder none, and the line says
        how to get them.
    DependencyError
        keras-hub is needed and not installed.
    """
    if named is not None and asked.weights_kind != "file":
        terms = f" ({named.card.terms()}{', gated' if named.card.gated else ''})"
        raise WeightsError(f"{named.name}: its weights are not part of bchisto{terms}; {named.how()}")
    engine = asked.engine
    if engine not in ("keras", "openvino"):
        raise InputError(f"`engine` {engine}: runs no folder of weights; leave it out, or use openvino")
    path = Path(asked.choice.source if named is None else asked.weights)
    folder = read_folder(path, config=named is None)
    before = folder.sha256()
    backend = prepare_backend()
    with network.precision_policy("float32" if engine == "openvino" else asked.precision):
        built = _build(folder, asked.choice.layers, named)
    if folder.sha256() != before:
        raise WeightsError(f"{path}: changed while it was read; run the command again")
    built.model.trainable = False
    run = compile_vectors(built.model, size=built.card.size, engine=engine, precision=asked.precision)
    parts = (int(built.model.outputs[0].shape[-1]),) * len(built.outputs)
    default = built.default if named is None else named.outputs
    return VectorEncoder(
        name=asked.choice.label, layers=built.outputs, parts=parts, default_layers=built.outputs == default,
        card=built.card, runner="hub", backend="openvino" if engine == "openvino" else backend, engine=engine,
        weights_sha256=identity(built.card, weights=before, **built.identity), weights_file_sha256=before, run=run,
        parameters=int(built.model.count_params()),
    )  # fmt: skip


def _build(folder: WeightsFolder, outputs: tuple[str, ...], named: NamedEncoder | None) -> _Built:
    config = folder.config
    if named is not None:
        chosen = outputs or named.outputs
        return _transformer(folder, chosen, named.card, names=named.names, heads=named.heads, epsilon=1e-6)
    kind = str(config.get("model_type", ""))
    if "registered_name" in config or kind in _KERAS_HUB:
        return _keras_hub(folder, outputs)
    if "architecture" in config:
        return _timm(folder, outputs)
    if kind not in _MODELS:
        raise InputError(
            f"{folder.path}: its config is of {kind or 'no network that is known'}; hub reads vit, dinov2, "
            "dinov2_with_registers, swin, ViT of timm and presets of keras-hub; export others to ONNX and use onnx:FILE"
        )
    if config.get("hidden_act", "gelu") != "gelu":
        raise InputError(f"{folder.path}: its activation is {config['hidden_act']}; hub builds transformers with gelu")
    size = _size(folder, folder.processor.get("crop_size") or folder.processor.get("size") or config.get("image_size"))
    heads = _whole(folder, config, "num_attention_heads")
    epsilon = float(config.get("layer_norm_eps", 1e-6))
    card = _hugging_card(folder, size)
    return _transformer(folder, outputs, card, names=_MODELS[kind], heads=heads, epsilon=epsilon)


def _transformer(
    folder: WeightsFolder, outputs: tuple[str, ...], card: EncoderCard, *, names: str, heads: int, epsilon: float
) -> _Built:
    with folder.tensors() as tensors:
        if names == "dinov2" and tensors.find_prefix("encoder.layer.0.mlp.weights_in.weight"):
            names = "dinov2-gated"  # with two feed-forward parts
        plan = plan_transformer(tensors, names=names, size=card.size or 0, heads=heads, epsilon=epsilon)
        card = dataclasses.replace(card, size=plan.size, divisor=plan.patch, outputs=plan.outputs)
        chosen = outputs or ("cls",)
        model = build_transformer(plan, chosen)
        read_transformer(model, plan, tensors, names=names)
    return _Built(model, chosen, ("cls",), card, {"plan": dataclasses.asdict(plan), "names": names})


def _timm(folder: WeightsFolder, outputs: tuple[str, ...]) -> _Built:
    """Read a folder that timm wrote."""
    config = folder.config
    name = str(config["architecture"])
    arguments = config.get("model_args") or {}
    published = config.get("pretrained_cfg") or config
    if not isinstance(arguments, dict) or not isinstance(published, dict):
        raise InputError(f"{folder.path}: config.json is no config of timm")
    if not name.startswith("vit_") or any(part in name for part in _OTHER_TIMM):
        raise InputError(f"{folder.path}: {name} of timm is not built on Keras; use timm:{name}, or export it to ONNX")
    known = next((heads for size, heads in _HEADS.items() if f"_{size}_" in name), None)
    if "num_heads" not in arguments and known is None:
        raise InputError(f"{folder.path}: config.json does not say how many heads {name} has; add model_args.num_heads")
    heads = _whole(folder, arguments, "num_heads") if "num_heads" in arguments else int(known or 1)
    size = _size(folder, arguments.get("img_size") or (published.get("input_size") or [0])[-1])
    card = card_by_licence(
        folder.licence(config.get("license"), published.get("license")), size=size,
        mean=_three(folder, published.get("mean"), "mean"), std=_three(folder, published.get("std"), "std"),
        interpolation=known_interpolation(published.get("interpolation", "bicubic"), folder.path),
        source=str(published.get("hf_hub_id") or name),
    )  # fmt: skip
    return _transformer(folder, outputs, card, names="timm", heads=heads, epsilon=1e-6)


def _hugging_card(folder: WeightsFolder, size: int) -> EncoderCard:
    found = folder.processor
    if not found:
        raise InputError(
            f"{folder.path}: no preprocessor_config.json here; it says how pixels are normalised, so fetch it too"
        )
    plain = found.get("do_normalize") is False
    rescaled = found.get("rescale_factor")
    if found.get("do_rescale") is False or (rescaled is not None and not math.isclose(float(rescaled), 1 / 255)):
        raise InputError(
            f"{folder.path}: preprocessor_config.json does not rescale pixels to 0..1; this is not read here"
        )
    return card_by_licence(
        folder.licence(folder.config.get("license")),
        size=size,
        mean=(0.0, 0.0, 0.0) if plain else _three(folder, found.get("image_mean"), "image_mean"),
        std=(1.0, 1.0, 1.0) if plain else _three(folder, found.get("image_std"), "image_std"),
        interpolation=known_interpolation(
            _RESAMPLING.get(found.get("resample", 3), found.get("resample")), folder.path
        ),
        source=str(folder.config.get("_name_or_path") or ""),
    )


def _keras_hub(folder: WeightsFolder, outputs: tuple[str, ...]) -> _Built:
    """Build a backbone by keras-hub: vectors are means over its places."""
    if "registered_name" in folder.config:  # what keras-hub goes by, whatever else the config says of itself
        _refuse_foreign(folder.path, folder.config)
        card = _preset_card(folder)
    else:
        card = _hugging_card(folder, _size(folder, folder.config.get("image_size")))
    try:
        import keras_hub
    except ImportError as error:
        raise DependencyError(
            f"{folder.path}: is built by keras-hub, which is missing; {how_to_install('hub')}"
        ) from error
    try:
        backbone = keras_hub.models.Backbone.from_preset(str(folder.path))
        output = backbone.output
    except DAMAGE as error:
        raise WeightsError(f"{folder.path}: keras-hub cannot build it ({first_line(error)})") from error
    if isinstance(output, (dict, list, tuple)) or len(backbone.inputs) != 1 or len(output.shape) not in (3, 4):
        raise InputError(f"{folder.path}: its {type(backbone).__name__} does not turn images into places; use another")
    chosen, _ = chosen_outputs(outputs, default=("mean",), sizes={"mean": output.shape[-1]}, of=f"hub:{folder.path}")
    if len(chosen) > 1:  # the network has this output once
        raise InputError(f"`encoders` hub:{folder.path}: mean is named twice; name each output once")
    fixed = backbone.inputs[0].shape[1]
    card = dataclasses.replace(card, size=fixed or card.size, outputs=("mean",))
    config = {key: value for key, value in folder.config.items() if not key.startswith(("_", "transformers_version"))}
    return _Built(backbone, chosen, ("mean",), card, {"config": config})


def _refuse_foreign(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a preset that names classes of other modules than Keras and keras-hub: their import could run code."""
    waiting: list[Any] = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            module = one.get("module")
            if module is not None and str(module).split(".")[0] not in ("keras", "keras_hub"):
                raise InputError(f"{path}: its config asks for code of {str(module)[:60]}, and bchisto never runs it")
            if one.get("class_name") in ("Lambda", "function", "__lambda__"):
                raise InputError(f"{path}: its config holds a function, and bchisto never runs it")
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    if not str(config["registered_name"]).startswith("keras_hub>"):
        raise InputError(f"{path}: its config is of no backbone of keras-hub")


def _preset_card(folder: WeightsFolder) -> EncoderCard:
    path = folder.path / "image_converter.json"
    if not path.is_file():
        raise InputError(f"{folder.path}: no image_converter.json in this preset; it says how pixels are normalised")
    found = read_json_object(path).get("config")
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no image converter of keras-hub")
    scale = np.broadcast_to(np.asarray(found.get("scale") or 1.0, float), 3)
    offset = np.broadcast_to(np.asarray(found.get("offset") or 0.0, float), 3)
    std = 1 / (255 * scale)
    mean = -offset * std
    image = found.get("image_size") or folder.config.get("config", {}).get("image_shape")
    return card_by_licence(
        folder.licence(), size=_size(folder, image), mean=_three(folder, mean.tolist(), "offset"),
        std=_three(folder, std.tolist(), "scale"),
        interpolation=known_interpolation(found.get("interpolation", "bilinear"), folder.path),
    )  # fmt: skip


def _size(folder: WeightsFolder, found: Any) -> int:
    """Read the side of what a network takes from the forms in which configs say it."""
    if isinstance(found, dict):
        found = found.get("height") or found.get("shortest_edge")
    if isinstance(found, list):
        found = found[0] if found else None
    if not isinstance(found, int) or isinstance(found, bool) or not 8 <= found <= _MOST_SIZE:
        raise InputError(f"{folder.path}: its config does not say what size of image the network takes")
    return found


def _whole(folder: WeightsFolder, found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1024:
        raise InputError(f"{folder.path}: {name} of config.json is no number that a network could have")
    return value


def _three(folder: WeightsFolder, found: Any, name: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in found)
    except (TypeError, ValueError):
        raise InputError(f"{folder.path}: {name} is not three numbers; the config of its pictures is damaged") from None
    if not all(map(math.isfinite, (red, green, blue))) or (
        ("std" in name or name == "scale") and min(red, green, blue) <= 0
    ):
        raise InputError(f"{folder.path}: {name} is not three numbers that pixels can be normalised by")
    return red, green, blue
