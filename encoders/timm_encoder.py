"""Networks of timm, on PyTorch and outside Keras: an extra that is large."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, InputError, WeightsError, how_to_install, is_out_of_memory, printable
from .card import EncoderCard, card_by_licence, known_interpolation
from .folder import read_folder
from .loading import first_line
from .vectors import Asked, VectorEncoder, chosen_outputs, identity

Floats = npt.NDArray[np.float32]


def open_timm(asked: Asked) -> VectorEncoder:
    """Build a network of timm, with its published weights or those of a file.

    Parameters
    ----------
    asked : Asked
        The source is a name of ``timm.list_models``, such as ``vit_base_patch14_dinov2.lvd142m``. Weights are a
        ``.safetensors`` file or its folder; ``imagenet`` those that timm publishes, from its cache or the net. Without
        outputs it gives what timm's own head pools (``vector``); transformers have ``cls`` and ``mean`` too. The engine
        is ``torch``, for which ``keras``, the default of stage 1, stands too.

    Raises
    ------
    DependencyError
        timm is not installed.
    InputError
        timm has no such network; another engine.
    WeightsError
        The weights cannot be had: gated and not logged in, no network, pickled, of another network.
    """
    if asked.engine not in ("keras", "torch"):
        raise InputError(f"`engine` {asked.engine}: runs no network of timm; leave it out")
    architecture, file_sha256 = asked.choice.source, ""
    timm, torch = _imported(architecture)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays as it is
        torch.default_generator.manual_seed(asked.seed)
        model = _created(timm, architecture, pretrained=asked.weights == "imagenet")
    if asked.weights_kind == "file":
        folder = read_folder(Path(asked.weights), config=False)
        file_sha256 = folder.sha256()
        _load(model, folder.files, torch)
    model.train(False).requires_grad_(False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    card = _card(model.pretrained_cfg, architecture)
    run = _runner(model, torch, device, asked.precision)
    blank = np.zeros((1, card.size or 0, card.size or 0, 3), np.float32)
    try:
        tokens = run("tokens", blank)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise WeightsError(f"timm:{architecture}: cannot be run ({first_line(error)})") from error
    sizes = {"vector": run("vector", blank).shape[1]}
    before = int(getattr(model, "num_prefix_tokens", 0))
    if tokens.ndim == 3 and before:
        sizes |= {"cls": tokens.shape[2], "mean": tokens.shape[2]}
    chosen, parts = chosen_outputs(asked.choice.layers, default=("vector",), sizes=sizes, of=f"timm:{architecture}")

    def vectors(images: Floats) -> Floats:
        found = run("tokens", images) if {"cls", "mean"} & {*chosen} else images
        pick: dict[str, Callable[[], Floats]] = {
            "vector": lambda: run("vector", images),
            "cls": lambda: found[:, 0],
            "mean": lambda: found[:, before:].mean(axis=1),
        }
        return np.concatenate([pick[one]() for one in chosen], axis=1)

    state = _state_sha256(model)
    return VectorEncoder(
        name=asked.choice.label, layers=chosen, parts=parts, default_layers=chosen == ("vector",), card=card,
        runner="timm", backend="torch", engine="torch",
        weights_sha256=identity(card, weights=state, architecture=architecture),
        weights_file_sha256=file_sha256 or state, run=vectors, weights=asked.weights_kind,
        parameters=sum(value.numel() for value in model.parameters()),
    )  # fmt: skip


def _created(timm: Any, architecture: str, *, pretrained: bool) -> Any:
    """Build a network; weights that timm fetches are read without running code."""
    try:
        return timm.create_model(architecture, pretrained=pretrained, num_classes=0)
    except Exception as error:
        # huggingface_hub, requests and torch each raise types of their own
        if is_out_of_memory(error):
            raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        gated = status in (401, 403) or "gated" in f"{type(error).__name__} {error}".casefold()
        why = "they are gated: accept their terms and log in with `hf auth login`" if gated else first_line(error)
        raise WeightsError(
            f"timm:{architecture}: its weights cannot be had ({why}); or give `weights` a .safetensors file"
        ) from error


def _load(model: Any, files: tuple[Path, ...], torch: Any) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = {key: value for file in files for key, value in load_file(file).items()}
        own, heads = model.state_dict(), ("head.", "fc.", "classifier.")
        kept = {key: value for key, value in state.items() if key in own or not key.startswith(heads)}
        model.load_state_dict(kept, strict=True)
    except (RuntimeError, SafetensorError, OSError) as error:
        said = printable(" ".join(str(error).split()))[:200]  # the names of the tensors stand in the lines that follow
        raise WeightsError(f"{files[0]}: not the weights of this network ({said})") from error


def timm_card(architecture: str) -> EncoderCard:
    """Return what timm says of a network and its published weights; nothing is built or fetched.

    Raises
    ------
    DependencyError, InputError
        See `open_timm`.
    """
    timm, _ = _imported(architecture)
    found = timm.get_pretrained_cfg(architecture)
    if found is None:
        raise InputError(f"timm:{architecture}: timm {timm.__version__} says nothing of it")
    return _card(found.to_dict(), architecture)


def _imported(architecture: str) -> tuple[Any, Any]:
    """Return timm and torch, if timm has such a network."""
    if ":" in architecture or "/" in architecture:
        raise InputError(f"timm:{architecture}: give a name of timm.list_models(); of a local folder use hub:DIR")
    try:
        import timm
        import torch
    except ImportError as error:
        raise DependencyError(f"timm:{architecture}: {error.name} is missing; {how_to_install('torch')}") from error
    if not timm.is_model(architecture):
        raise InputError(f"timm:{architecture}: timm {timm.__version__} has no such network; see timm.list_models()")
    return timm, torch


def _card(found: Mapping[str, Any], architecture: str) -> EncoderCard:
    mean, std = (tuple(float(one) for one in found[key]) for key in ("mean", "std"))
    return card_by_licence(
        str(found.get("license") or ""), size=int(found["input_size"][-1]), mean=mean, std=std,
        interpolation=known_interpolation(str(found.get("interpolation", "bicubic")), f"timm:{architecture}"),
        source=str(found.get("hf_hub_id") or architecture),
    )  # fmt: skip


def _runner(model: Any, torch: Any, device: Any, precision: str) -> Callable[[str, Floats], Floats]:
    def run(what: str, images: Floats) -> Floats:
        given = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            found = model.forward_features(given) if what == "tokens" else model(given)
        return np.asarray(found.float().cpu().numpy(), np.float32)

    return run


def _state_sha256(model: Any) -> str:
    """Return the hash of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().float().numpy()
        digest.update(f"{name}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
