"""Networks from a folder that transformers or timm wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import InputError, WeightsError, is_out_of_memory, printable
from .card import WEIGHTS_KINDS, EncoderCard, card_by_treatment
from .catalogue import NamedEncoder
from .fetch import altered_file, unfetched_name
from .loading import WeightsFolder, first_line, read_folder
from .timm_encoder import stating, timm_folder, timm_network
from .torch_network import TorchNetwork, check_numbers, check_size, import_library, read_tensors, torch_encoder
from .vectors import EncoderRequest, VectorEncoder

_MODELS = {
    "convnext": ("ConvNextModel", None), "convnextv2": ("ConvNextV2Model", None), "deit": ("DeiTModel", 2),
    "dinov2": ("Dinov2Model", 1), "dinov2_with_registers": ("Dinov2WithRegistersModel", 1), "swin": ("SwinModel", 0),
    "swinv2": ("Swinv2Model", 0), "vit": ("ViTModel", 1),
}  # fmt: skip
"""``model_type`` of a config: class of transformers, and number of tokens before registers and patches.

None instead of a number: the network returns feature maps.
"""

_UNUSED = re.compile(r"(\w*classifier|pooler|embeddings\.mask_token)(\.|$)")
"""Tensors that no output needs. A file may lack them or contain them."""

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for ways of resizing, which processors of transformers use."""

_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
"""Supported steps of a processor. bchisto converts every image to RGB before crops are cut."""

_WARPED = 384
"""Image size in pixels from which the processor of ConvNeXt does not crop."""


def open_hub(request: EncoderRequest, *, named: NamedEncoder | None = None) -> VectorEncoder:
    """Build the network of a folder.

    Parameters
    ----------
    request : EncoderRequest
        The source is a folder with ``config.json`` and ``.safetensors``.
    named : NamedEncoder, optional
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
    if named is not None and request.weights in WEIGHTS_KINDS:
        terms = f" ({named.card.terms()}{', gated' if named.card.gated else ''})"
        raise WeightsError("{}: its weights are not part of bchisto{}; {}", named.name, terms, named.download())
    source = f"hub:{request.choice.source}" if named is None else named.name
    path = Path(request.choice.source if named is None else request.weights)
    if (name := unfetched_name(path)) is not None:
        raise WeightsError(f"{name}: not fetched yet; run `bchisto encoder fetch {name}`")
    if (file := altered_file(path)) is not None:
        raise WeightsError(f"{file}: altered since it was fetched; run `bchisto encoder fetch` again")
    folder = read_folder(path, config=named is None)
    before = folder.sha256()
    default: tuple[str, ...] = ()
    if named is not None:
        network, decisive = _named(folder, named)
        default = named.outputs
    elif "architecture" in folder.config:
        network, decisive = timm_folder(folder, source)
    else:
        network, decisive = _of_transformers(folder, source)
    if folder.sha256() != before:
        raise WeightsError(f"{path}: changed while it was read; run the command again")
    if named is None:
        network = stating(network, folder)
    return torch_encoder(request, network, runner="hub", weights_sha256=before, default=default, **decisive)


def _named(folder: WeightsFolder, named: NamedEncoder) -> tuple[TorchNetwork, dict[str, Any]]:
    """Build an encoder of the catalogue, and check that its weights have the shapes of this network."""
    tensors = read_tensors(folder.files)
    if named.library == "timm":
        network = timm_network(named.name, named.architecture, named.arguments, tensors)
    else:
        config = {**named.arguments, "model_type": named.architecture}
        for name, value in named.arguments.items():
            if folder.config.get(name, value) != value:
                raise WeightsError(
                    f"{folder.path}: its config.json has {name} {str(folder.config[name])[:40]}, and {named.name} has "
                    f"{value}; these are the weights of another network"
                )
        positions = next((value for name, value in tensors.items() if name.endswith(".position_embeddings")), None)
        tokens = positions.shape[1] if positions is not None and positions.ndim == 3 else 1
        # transformers interpolates the position embeddings to the size of the images
        config["image_size"] = round((tokens - 1) ** 0.5) * config["patch_size"]
        network = _built(config, tensors, named.card, named.name, folder.path)
    network = dataclasses.replace(network, card=dataclasses.replace(named.card, outputs=network.card.outputs))
    return network, {"architecture": named.architecture, "arguments": dict(named.arguments)}


def _of_transformers(folder: WeightsFolder, source: str) -> tuple[TorchNetwork, dict[str, Any]]:
    """Build the network of a folder that transformers wrote, with the preprocessing of its processor."""
    kind = str(folder.config.get("model_type"))
    if kind not in _MODELS:
        raise InputError(
            f"{folder.path}: its config is of {printable(kind)[:40]}; hub reads {', '.join(_MODELS)} of "
            "transformers and any folder of timm; of others use timm:NAME, or export them to ONNX and use onnx:FILE"
        )
    check_numbers(folder.path, {key: value for key, value in folder.config.items() if "label" not in key})
    transformers, _ = import_library("transformers", source)
    with _quiet(transformers):
        card = _card(transformers, folder)
    network = _built(folder.config, read_tensors(folder.files), card, source, folder.path)
    return network, {"config": _network_config(transformers, folder.config)}


def _network_config(transformers: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config that define the network, without those on its origin or on loading."""
    chosen = getattr(transformers, _MODELS[config["model_type"]][0]).config_class
    common = inspect.signature(transformers.PreTrainedConfig).parameters
    names = [name for name in inspect.signature(chosen).parameters if name not in common and not name.startswith("_")]
    return {name: config[name] for name in ("model_type", *names) if name in config}


def _built(
    config: Mapping[str, Any], tensors: dict[str, Any], card: EncoderCard, source: str, path: Path
) -> TorchNetwork:
    """Build a network of transformers and load its weights; refuse missing, unused or wrongly shaped tensors."""
    transformers, torch = import_library("transformers", source)
    class_name, before = _MODELS[config["model_type"]]
    chosen = getattr(transformers, class_name)
    with _quiet(transformers):
        try:
            known = {key: value for key, value in _network_config(transformers, config).items() if key != "model_type"}
            settings = chosen.config_class(**known)
            check_size(path, lambda: chosen(settings), tensors, torch)
            model, report = chosen.from_pretrained(
                None, config=settings, state_dict=tensors, output_loading_info=True, dtype=torch.float32,
                attn_implementation="sdpa" if chosen._supports_sdpa else "eager", ignore_mismatched_sizes=True,
            )  # fmt: skip
        except Exception as error:
            # each class of transformers raises exceptions of its own for a bad config
            if isinstance(error, WeightsError) or is_out_of_memory(error):
                raise
            raise InputError(f"{path}: transformers cannot build it ({first_line(error)})") from error
    faults = {
        "lacks": [name for name in report["missing_keys"] if not _UNUSED.match(name)],
        "has no use for": [name for name in report["unexpected_keys"] if not _UNUSED.match(name)],
        "has another shape of": [name for name, *_ in report["mismatched_keys"]],
    }
    if reasons := [f"{what} {_summary(names)}" for what, names in faults.items() if names]:
        raise WeightsError(f"{path}: not the weights of this network, which {'; '.join(reasons)}")
    if before is None:
        return TorchNetwork(model, dataclasses.replace(card, outputs=("vector", "mean")), ("vector",), _maps(model))
    registers = int(getattr(settings, "num_register_tokens", 0))
    blocks = tuple(f"block{number}" for number in range(1, int(getattr(settings, "num_hidden_layers", 0)) + 1))
    outputs = ("cls", "mean", *blocks) if before else ("mean",)
    compute = _tokens(model, before + registers)
    return TorchNetwork(model, dataclasses.replace(card, outputs=outputs), outputs[:1], compute)


def _summary(names: list[str]) -> str:
    first, *others = sorted(names)
    return printable(first)[:80] + (f" and {len(others)} more" if others else "")


def _tokens(model: Any, before: int) -> Any:
    """Return a function that computes outputs of a network of tokens; `before` counts the tokens before the patches."""

    def compute(images: Any, chosen: tuple[str, ...]) -> list[Any]:
        given = model(images, output_hidden_states=any(name.startswith("block") for name in chosen))
        last, behind = given.last_hidden_state, given.hidden_states
        take = {"cls": lambda: last[:, 0], "mean": lambda: last[:, before:].mean(1)}
        return [take[name]() if name in take else behind[int(name[5:])][:, before:].mean(1) for name in chosen]

    return compute


def _maps(model: Any) -> Any:
    """Return a function that computes outputs of a network of feature maps."""

    def compute(images: Any, chosen: tuple[str, ...]) -> list[Any]:
        given = model(images)
        outputs = {"vector": given.pooler_output.flatten(1), "mean": given.last_hidden_state.mean((2, 3))}
        return [outputs[name] for name in chosen]

    return compute


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence transformers: bchisto refuses what transformers only warns about."""
    logging = transformers.utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _card(transformers: Any, folder: WeightsFolder) -> EncoderCard:
    """Return the card of a folder, with preprocessing as the processor of transformers reads it."""
    path = folder.path
    if not folder.processor:
        raise InputError(
            f"{path}: no preprocessor_config.json in it; it defines how pixels are normalised, so fetch it too"
        )
    if folder.processor.get("auto_map"):
        raise InputError(f"{path}: its processor asks for code that comes with the model, and bchisto never runs it")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False, backend="pil"
        )
        steps = processor.to_dict()
    except Exception as error:
        # each processor raises exceptions of its own
        raise InputError(f"{path}: transformers cannot read preprocessor_config.json ({first_line(error)})") from error
    other = [name for name, value in steps.items() if name.startswith("do_") and value and name not in _STEPS]
    if other or not steps.get("do_resize") or not steps.get("do_rescale"):
        step = printable(other[0])[:40] if other else "no do_resize or do_rescale"
        raise InputError(f"{path}: preprocessor_config.json asks for {step}; such preprocessing is not supported")
    if not math.isclose(float(steps.get("rescale_factor") or 0), 1 / 255):
        raise InputError(f"{path}: preprocessor_config.json does not rescale pixels to 0..1; this is not supported")
    size = resize = _side(path, steps.get("size"))
    if "crop_pct" in steps and size < _WARPED:  # of ConvNeXt
        resize = int(size / float(steps["crop_pct"]))
    elif steps.get("do_center_crop"):
        size = _side(path, steps.get("crop_size"))
    plain = not steps.get("do_normalize")
    return card_by_treatment(
        path, folder.licence(folder.config.get("license")), size=size, resize=resize,
        mean=(0.0, 0.0, 0.0) if plain else steps.get("image_mean"),
        std=(1.0, 1.0, 1.0) if plain else steps.get("image_std"),
        interpolation=_RESAMPLING.get(steps.get("resample", 3), steps.get("resample")),
        source=str(folder.config.get("_name_or_path") or ""), margin=(resize - size) // 2,
    )  # fmt: skip


def _side(path: Path, size: Any) -> int:
    """Return the side of a square from any form in which processors write a size."""
    sides = [size.get(name) for name in ("shortest_edge", "height", "width")] if isinstance(size, Mapping) else []
    known = {side for side in sides if side is not None}
    side = known.pop() if len(known) == 1 else None
    if not isinstance(side, int):
        raise InputError(f"{path}: its processor does not name one side of a square image that the network takes")
    return side
