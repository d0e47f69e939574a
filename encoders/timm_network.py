"""Build networks of timm, from a name with a file of weights, or from a folder that timm wrote."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

from ..core import Content, Entries, InputError, WeightsError
from .catalogue import WEIGHTS_KINDS, EncoderCard, treated_card
from .loading import WeightsFolder, import_library, read_folder, refused, unchanged
from .torch_network import TorchNetwork, check_size, read_tensors, torch_encoder
from .vectors import EncoderRequest, VectorEncoder

_MLP_LAYERS = ("GluMlp", "SwiGLU", "SwiGLUPacked")
"""Feed-forward layers that a config may name. timm needs the class, so the name is looked up."""

_LOADING_ARGUMENTS = (
    "checkpoint",
    "device",
    "dtype",
    "feature",
    "num_classes",
    "out_indices",
    "pretrained",
)
"""Prefixes of arguments that control how timm builds or loads a network. A config must not contain them."""

_PREPROCESSING = (
    "mean",
    "std",
    "input_size",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "fixed_input_size",
    "classifier",
)
"""Entries of a folder's config that are passed on to timm."""


def open_timm(request: EncoderRequest) -> VectorEncoder:
    """Build a network of timm, with weights from a file.

    Parameters
    ----------
    request : EncoderRequest
        The source is a name of ``timm.list_models``, such as ``vit_base_patch14_dinov2.lvd142m``. Weights are a
        ``.safetensors`` file or its folder. The default output is ``vector``: the pooled features of timm's own head.

    Raises
    ------
    DependencyError
        timm is not installed.
    InputError
        timm has no such network, the network has no such output, or the engine cannot run it.
    WeightsError
        Weights are not given, are pickled, or belong to another network.
    """
    source = request.choice.name
    architecture = request.choice.source
    timm = _imported(source, architecture)
    if request.weights in WEIGHTS_KINDS:
        config = timm.get_pretrained_cfg(architecture)
        repository = "its repository"
        if config is not None and config.hf_hub_id:
            repository = config.hf_hub_id
        text = "{}: bchisto fetches no weights of timm; download {} into a folder DIR, and give {weights:{}=DIR}"
        raise WeightsError(text, source, repository, request.choice.label)
    folder = read_folder(Path(request.weights), config=False)
    with unchanged(folder.files) as sha256:
        network = timm_network(source, architecture, {}, read_tensors(folder.files))
    network = dataclasses.replace(network, decisive={"architecture": architecture})
    return torch_encoder(request, network, folder, sha256=sha256)


def timm_folder(folder: WeightsFolder, source: str) -> TorchNetwork:
    """Build the network of a folder that timm wrote.

    Raises
    ------
    DependencyError, InputError, WeightsError
        See `timm_network`.
    """
    config = folder.config
    with refused(InputError, f"{folder.path}: config.json is not a config of timm"):
        architecture = str(config["architecture"])
        published = {**(config.get("pretrained_cfg") or config)}
        arguments = {**(config.get("model_args") or {})}
        pool = config.get("global_pool", published.get("global_pool"))
        if pool is not None:
            arguments.setdefault("global_pool", pool)
    arguments.pop("num_classes", None)
    # the address of its weights is left out on purpose, so that timm fetches none
    entries = {
        name: value
        for name, value in published.items()
        if name in _PREPROCESSING and value is not None
    }
    entries["license"] = folder.licence(config.get("license"), published.get("license"))
    entries["hf_hub_id"] = str(published.get("hf_hub_id") or architecture)
    tensors = read_tensors(folder.files)
    network = timm_network(source, architecture, arguments, tensors, published=entries)
    decisive = {"architecture": architecture, "arguments": arguments}
    return dataclasses.replace(network, decisive=decisive)


def timm_network(
    source: str,
    architecture: str,
    arguments: Entries,
    tensors: Content,
    *,
    published: Entries | None = None,
) -> TorchNetwork:
    """Build a network of timm and load its weights with timm.

    timm resizes position embeddings if the weights were trained at another image size.

    Parameters
    ----------
    source : str
        For messages.
    architecture : str
    arguments : mapping
        Arguments of the architecture, as in a config.
    tensors : dict of str to torch.Tensor
    published : mapping, optional
        Preprocessing, licence and source from a folder's config, which replace those of timm.

    Raises
    ------
    InputError
        timm has no such network, or does not accept these arguments.
    WeightsError
        The weights belong to another network: some are missing, left over, or of another shape.
    """
    timm = _imported(source, architecture)
    options = _options(timm, source, arguments)
    known_config = timm.get_pretrained_cfg(architecture)
    config = {}
    if published:
        config = dict(published)
    elif known_config is not None:
        config = known_config.to_dict(remove_source=True)
    heads = config.get("classifier")
    if not heads and known_config is not None:
        heads = known_config.classifier

    def build(classes: int = 0, **weights: Any) -> Any:
        return timm.create_model(architecture, num_classes=classes, **weights, **options)

    with refused(InputError, f"{source}: timm cannot build it"):
        check_size(source, build, tensors)
    classes = _classes(heads, tensors)
    filled = {**config, "state_dict": tensors, "num_classes": classes}
    patch = _patch_shape(tensors)
    with refused(WeightsError, f"{source}: not the weights of this network"):
        model = build(classes, pretrained=True, pretrained_cfg=filled, pretrained_strict=True)
        if classes:  # only now: timm mistakes weights without a head for those of an older format
            model.reset_classifier(0)
    model.pretrained_cfg.pop("state_dict")
    network_patch = _patch_shape(model.state_dict())
    if network_patch != patch:  # timm would silently resize it
        raise WeightsError(
            f"{source}: not the weights of this network: patches of {patch} and not {network_patch}"
        )
    card = _card(timm, {**model.pretrained_cfg, **(published or {})}, source)
    return _with_outputs(model, card)


def _classes(heads: Any, tensors: Entries) -> int:
    """Return the number of classes of the head in the weights; 0 without one."""
    names = [heads] if isinstance(heads, str) else heads or ()
    for name in names:
        if f"{name}.weight" in tensors:
            return int(tensors[f"{name}.weight"].shape[0])
    return 0


def _patch_shape(tensors: Entries) -> tuple[int, ...]:
    return tuple(getattr(tensors.get("patch_embed.proj.weight"), "shape", ()))


def _options(timm: Any, source: str, arguments: Entries) -> Content:
    """Return the arguments of an architecture in the form that timm accepts."""
    options = dict(arguments)
    for name in options:
        if name in inspect.signature(timm.create_model).parameters or name.startswith(
            _LOADING_ARGUMENTS
        ):
            raise InputError(
                f"{source}: model_args.{name[:60]} of config.json is not read; leave it out"
            )
    layer = options.get("mlp_layer")
    if layer is not None:
        if layer not in _MLP_LAYERS:
            raise InputError(
                f"{source}: mlp_layer {str(layer)[:40]} is not known; choose of {', '.join(_MLP_LAYERS)}"
            )
        options["mlp_layer"] = getattr(timm.layers, layer)
    return options


def _with_outputs(model: Any, card: EncoderCard) -> TorchNetwork:
    """Return a network of timm with the outputs that it offers."""
    outputs = _outputs(model)
    prefix = getattr(model, "num_prefix_tokens", None)

    def compute(images: Any, names: tuple[str, ...]) -> list[Any]:
        vectors = {}
        if "vector" in names:
            vectors["vector"] = model(images)
        if "cls" in names or "mean" in names:
            tokens = model.forward_features(images)
            vectors["cls"] = tokens[:, 0]
            vectors["mean"] = tokens[:, prefix:].mean(1)
        blocks = [int(name.removeprefix("block")) for name in names if name.startswith("block")]
        if blocks:
            indices = [block - 1 for block in blocks]
            maps = model.forward_intermediates(
                images, indices=indices, output_fmt="NLC", intermediates_only=True
            )
            # timm returns them in the order of the network
            for block, patches in zip(sorted(blocks), maps, strict=True):
                vectors[f"block{block}"] = patches.mean(1)
        return [vectors[name] for name in names]

    return TorchNetwork(model, card, outputs, compute)


def _outputs(model: Any) -> tuple[str, ...]:
    """Return the names of the outputs of a network of timm; only transformers have tokens and blocks."""
    outputs = []
    if getattr(model, "global_pool", None) != "":
        outputs.append("vector")
    if getattr(model, "num_prefix_tokens", None) is not None:
        if getattr(model, "cls_token", None) is not None:
            outputs.append("cls")
        outputs.append("mean")
        outputs += [f"block{number}" for number in range(1, len(model.blocks) + 1)]
    return tuple(outputs)


def timm_card(source: str, architecture: str) -> EncoderCard:
    """Return the card of a network from timm's own data, without building the network.

    Raises
    ------
    DependencyError, InputError
        See `open_timm`.
    """
    timm = _imported(source, architecture)
    config = timm.get_pretrained_cfg(architecture)
    return _card(timm, config.to_dict() if config else {}, source)


def _imported(source: str, architecture: str) -> Any:
    """Import timm, and check that it has this network."""
    timm = import_library("timm", source)
    if not timm.is_model(architecture):
        raise InputError(
            f"{source}: timm {timm.__version__} has no {architecture[:60]}; see timm.list_models()"
        )
    return timm


def _card(timm: Any, config: Entries, source: str) -> EncoderCard:
    """Return the card of a config, with preprocessing as timm reads it."""
    with refused(InputError, f"{source}: its config does not define how pixels are treated"):
        preprocessing = timm.data.resolve_data_config(pretrained_cfg=dict(config))
        channels, height, width = preprocessing["input_size"]
        if channels != 3 or height != width:
            raise InputError(
                f"{source}: takes {channels} channels of {height}x{width}; not supported"
            )
        return treated_card(
            source,
            size=height,
            resize=math.floor(height / float(preprocessing["crop_pct"])),
            mean=preprocessing["mean"],
            std=preprocessing["std"],
            interpolation=preprocessing["interpolation"],
            licence=str(config.get("license") or ""),
            source=str(config.get("hf_hub_id") or config.get("architecture") or ""),
        )
