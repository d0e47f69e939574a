"""Run PyTorch networks of timm and transformers, on PyTorch or OpenVINO."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Content, Entries, WeightsError
from ..core.formats import Floats32, limits
from ..core.jobs import hushed_start
from .catalogue import EncoderCard
from .engines import OpenvinoFunction, openvino_core
from .loading import WeightsFolder, import_library, refused, stated_mpp
from .vectors import EncoderRequest, Run, VectorEncoder, chosen_outputs, from_facts, identity


@dataclass(frozen=True)
class TorchNetwork:
    """A network with its weights.

    Attributes
    ----------
    module : torch.nn.Module
    card : EncoderCard
        Without its outputs.
    outputs : tuple of str
        Outputs that can be chosen.
    compute : callable
        ``compute(images, outputs)``: normalised images, a tensor of shape (n, 3, size, size), and names of outputs.
        Returns one tensor of shape (n, d) per output.
    decisive : mapping
        Settings, besides weights and preprocessing, that change the vectors; they enter the encoder's checksum.
    default : tuple of str
        Outputs that are used if none is chosen; empty for the first.
    """

    module: Any
    card: EncoderCard
    outputs: tuple[str, ...]
    compute: Callable[[Any, tuple[str, ...]], list[Any]]
    decisive: Entries = field(default_factory=dict)
    default: tuple[str, ...] = ()


def read_tensors(files: tuple[Path, ...]) -> Content:
    """Read all tensors of ``.safetensors`` files, in float32.

    Raises
    ------
    DependencyError
        PyTorch is not installed.
    WeightsError
        A file is damaged, or is not a safetensors file.
    """
    safetensors = import_library("safetensors.torch", str(files[0]))
    tensors: Content = {}
    for file in files:
        with refused(WeightsError, f"{file}: not a safetensors file, or damaged"):
            tensors |= safetensors.load_file(file)
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def check_size(source: object, build: Callable[[], Any], tensors: Entries) -> None:
    """Refuse a config whose network is far larger than its weights, before memory is allocated for it.

    Parameters
    ----------
    source : path or str
        For messages.
    build : callable
        Builds the network.
    tensors : mapping of str to torch.Tensor

    Raises
    ------
    WeightsError
    """
    import torch

    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build().parameters())
    weights = sum(value.numel() for value in tensors.values())
    if parameters > limits.PARAMETER_GROWTH * weights:
        raise WeightsError(
            f"{source}: not the weights of this network, which would have {parameters:,} parameters and not {weights:,}"
        )


def torch_encoder(
    request: EncoderRequest,
    network: TorchNetwork,
    folder: WeightsFolder,
    *,
    sha256: str,
) -> VectorEncoder:
    """Return an encoder that runs a network.

    Parameters
    ----------
    request : EncoderRequest
        Its engine is ``torch`` or ``openvino``.
    network : TorchNetwork
    folder : WeightsFolder
        Where it comes from; its config may state the micrometres per pixel.
    sha256 : str
        Checksum of the weights files.

    Raises
    ------
    InputError
        The network has no such output.
    WeightsError
        The network cannot run on images of the size that its card states.
    """
    source = request.choice.name
    mpp = stated_mpp(folder.config, folder.path) or network.card.mpp
    card = dataclasses.replace(network.card, outputs=network.outputs, mpp=mpp)
    default = network.default
    if not default:
        default = network.outputs[:1]
    layers = chosen_outputs(request.choice, default=default, offered=network.outputs)
    import torch

    network.module.train(False).requires_grad_(False)
    side = card.size or 0
    with (
        refused(WeightsError, f"{source}: cannot be run on {side}x{side} pixels"),
        torch.inference_mode(),
    ):
        trial = network.compute(torch.zeros(1, 3, side, side), layers)
        # each output is a vector for each image
        parts = [int(numbers) for _, numbers in (value.shape for value in trial)]
    facts = {
        "name": request.choice.label,
        "layers": layers,
        "parts": parts,
        "default_layers": layers == default,
        "card": dataclasses.asdict(card),
        "runner": request.choice.runner or "hub",
        "weights_sha256": identity(card, weights=sha256, **network.decisive),
        "weights_file_sha256": sha256,
        "parameters": sum(parameter.numel() for parameter in network.module.parameters()),
    }
    if request.engine == "openvino":
        run = openvino_run(request, facts, functools.partial(_converted, network, layers))
    else:
        run = _torch(network, layers, request)
    return from_facts(facts, run, engine=request.engine)


def openvino_run(request: EncoderRequest, facts: Entries, convert: Callable[[], Any]) -> Run:
    """Return the function that runs a network of PyTorch on OpenVINO, from its kept graph or a converted one."""
    core, settings = openvino_core(request.precision)
    function = OpenvinoFunction(
        core, settings, lambda: request.kept.graph("crops", facts=facts, convert=convert)
    )
    return lambda images: np.asarray(function(_channels_first(images)), np.float32)


def _torch(network: TorchNetwork, outputs: tuple[str, ...], request: EncoderRequest) -> Run:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.module.to(device)
    half = request.precision == "bfloat16"

    def run(images: Floats32) -> Floats32:
        batch = torch.from_numpy(_channels_first(images)).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            vectors = [value.float() for value in network.compute(batch, outputs)]
        return np.asarray(torch.cat(vectors, dim=1).cpu().numpy())

    return run


def _converted(network: TorchNetwork, outputs: tuple[str, ...]) -> Any:
    """Return a network as OpenVINO takes it."""
    import openvino
    import torch

    class Vectors(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        """The network and its chosen outputs as one module, which OpenVINO can convert."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network.module

        def forward(self, images: Any) -> Any:
            return torch.cat(network.compute(images, outputs), dim=1)

    side = network.card.size or 0
    with hushed_start(), warnings.catch_warnings(), torch.no_grad():
        # the warnings are about code that tracing does not follow; tests compare the results
        warnings.simplefilter("ignore")
        return openvino.convert_model(
            Vectors().train(False), example_input=torch.zeros(2, 3, side, side)
        )


def _channels_first(images: Floats32) -> Floats32:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
