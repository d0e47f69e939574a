"""Encoders as ONNX files, run by onnxruntime or OpenVINO, with the file beside each that says how images are prepared.

A runtime may load libraries for custom operators, and values from any path that a tensor names: both are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import Content, Entries, InputError, MissingInputError, WeightsError
from ..core.formats import Floats32, limits
from .catalogue import EncoderCard, treated_card
from .engines import openvino_core
from .loading import import_library, read_json_object, refused, side_of, stated_mpp, unchanged
from .vectors import EncoderRequest, VectorEncoder, chosen_outputs, identity

_DOMAINS = ("", "ai.onnx")  # domains of the operators that every runtime has

_STEPS = ("Resize", "CenterCrop", "ToTensor", "Normalize")  # the JSON may name these, in this order


class OnnxFile(NamedTuple):
    """An ONNX file that a runtime may open.

    Attributes
    ----------
    files : tuple of Path
        The file, and those of its folder that contain its values.
    inputs : dict of str to tuple of int
        Shape of each input, 0 for an axis that varies. Those with values in the file are left out.
    outputs : tuple of str
    """

    files: tuple[Path, ...]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, and refuse content that no runtime should open.

    Raises
    ------
    MissingInputError
        There is no such file.
    InputError
        It has custom operators, or values outside its folder.
    WeightsError
        It is not an ONNX file, or is damaged.
    DependencyError
        The package onnx is not installed.
    """
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such file; give an ONNX file, with its JSON next to it"
        )
    if not 0 < path.stat().st_size <= limits.ONNX_BYTES:
        raise WeightsError(
            f"{path}: not a complete ONNX file (it is empty, or larger than one can be)"
        )
    onnx = import_library("onnx", path, extra="onnx")
    with refused(WeightsError, f"{path}: not a complete ONNX file, export or copy it again"):
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
        locations: set[str] = set()
        for part in _parts(model):
            if isinstance(part, onnx.NodeProto) and part.domain not in _DOMAINS:
                # a runtime would load it from a library
                raise InputError(
                    f"{path}: has the custom operator {part.domain[:40]}::{part.op_type[:40]}; export it with only the "
                    "operators of ONNX, and functions inlined"
                )
            if isinstance(part, onnx.TensorProto):
                locations.update(
                    entry.value for entry in part.external_data if entry.key == "location"
                )
        values = [_beside(path, location) for location in sorted(locations)]
        initialized = {tensor.name for tensor in model.graph.initializer}
        inputs = {
            value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in model.graph.input
            if value.name not in initialized
        }
        outputs = tuple(value.name for value in model.graph.output)
    return OnnxFile((path, *values), inputs, outputs)


def _parts(message: Any) -> Iterator[Any]:
    """Yield a message of protobuf and all messages in it: graphs in attributes of nodes, tensors, functions."""
    stack = [message]
    while stack:
        message = stack.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                stack += value if hasattr(value, "__len__") else [value]


def _beside(path: Path, location: str) -> Path:
    """Return the path of a file of external values; refuse one outside the folder of the ONNX file."""
    target = path.parent / location
    if (
        not location
        or Path(location).is_absolute()
        or not target.resolve().is_relative_to(path.parent.resolve())
    ):
        raise InputError(
            f"{path}: its values are in {location[:80]}, outside its folder; put them next to it"
        )
    if not target.is_file():
        raise WeightsError(
            f"{path}: {location[:80]} is missing, which holds its values; copy it too"
        )
    return target


def open_onnx(request: EncoderRequest) -> VectorEncoder:
    """Load an ONNX file and the JSON file next to it.

    A network of tokens has the outputs ``cls`` and ``mean``, one of feature maps has ``mean``, and one of vectors has
    ``vector``.

    Parameters
    ----------
    request : EncoderRequest
        The source is ``encoder.onnx``, with ``encoder.json`` or ``config.json`` in its folder, see `read_sidecar`. The
        engine is ``openvino`` or ``onnxruntime``; only OpenVINO computes in bfloat16.

    Raises
    ------
    InputError
        The JSON is missing or does not match the network, the file has custom operators or values outside its folder,
        or the engine cannot run it.
    WeightsError
        The file is damaged, or the runtime refuses it.
    DependencyError
        The runtime is not installed.
    """
    path = Path(request.choice.source)
    file = read_onnx(path)
    with unchanged(file.files) as sha256:
        sidecar = read_sidecar(path)
        output = sidecar.output or next(iter(file.outputs), "at all")
        if output not in file.outputs:
            raise InputError(
                f"{path}: has no output {output[:60]}; it has {', '.join(file.outputs[:8])}"
            )
        name, shape = next(iter(file.inputs.items()), ("", ()))
        if len(file.inputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise InputError(
                f"{path}: takes {str(file.inputs)[:80]}; an encoder takes only images, FLOAT of shape (n, 3, height, "
                "width) or (n, height, width, 3)"
            )
        if request.engine == "onnxruntime":
            network = _onnxruntime(path, name, output)
        else:
            network = _openvino(path, name, output, request.precision)
    run = functools.partial(_run, network, shape, path)
    side = sidecar.card.size or 0
    trial = run(np.zeros((1, side, side, 3), np.float32))
    pick = _picks(path, trial, sidecar.prefix)
    default = tuple(pick)[:1]
    layers = chosen_outputs(request.choice, default=default, offered=pick)
    parts = tuple(pick[layer](trial).shape[1] for layer in layers)

    def vectors(images: Floats32) -> Floats32:
        result = run(images)
        return np.concatenate([pick[layer](result) for layer in layers], axis=1)

    return VectorEncoder(
        name=request.choice.label,
        layers=layers,
        parts=parts,
        default_layers=layers == default,
        card=sidecar.card,
        runner="onnx",
        backend=request.engine,
        engine=request.engine,
        weights_file_sha256=sha256,
        run=vectors,
        weights_sha256=identity(sidecar.card, weights=sha256, output=output),
    )


def _run(
    network: Callable[[Floats32], Any], shape: tuple[int, ...], path: Path, images: Floats32
) -> Floats32:
    """Run a network on images, float32 (n, side, side, 3), in the order of axes and the batches of its input."""
    batch = images
    if shape[1] == 3:
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    batches = [batch]
    if shape[0] == 1:  # it accepts only one image at a time
        batches = [batch[start : start + 1] for start in range(len(batch))]
    _, height, width, _ = images.shape
    with refused(WeightsError, f"{path}: cannot be run on images of {height}x{width} pixels"):
        return np.concatenate([np.asarray(network(part)) for part in batches])


class Sidecar(NamedTuple):
    """The JSON of an ONNX file.

    Attributes
    ----------
    card : EncoderCard
        From ``transform`` (``Resize``, ``CenterCrop``, ``ToTensor``, ``Normalize``), ``patch_size_pixels``,
        ``spacing_um_px`` (of the patch before ``Resize``), ``license`` and ``source``.
    output : str
        The output that contains the features (``output``); empty for the first one.
    prefix : int
        Number of tokens before those of patches (``prefix_tokens``): the class token, if any, and registers.
    """

    card: EncoderCard
    output: str
    prefix: int


def read_sidecar(path: Path) -> Sidecar:
    """Read the JSON of an ONNX file: the format of WSInfer's models, and what else a `Sidecar` holds.

    Parameters
    ----------
    path : Path
        The ONNX file; its JSON has the same name, or is ``config.json``.

    Raises
    ------
    InputError
        There is no JSON file, or it does not define the preprocessing.
    """
    sidecar = _sidecar_of(path)
    content = read_json_object(sidecar)
    mpp = stated_mpp(content, sidecar)
    with refused(
        InputError, f"{sidecar}: does not define how images are prepared, see docs/encoders.md"
    ):
        steps = _transform_of(content, sidecar)
        patch = side_of(content.get("patch_size_pixels"))
        resize = side_of(steps["Resize"].get("size", patch))
        normalisation = steps["Normalize"] or {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        prefix = operator.index(content.get("prefix_tokens", 1))
        card = treated_card(
            sidecar,
            size=side_of(steps["CenterCrop"].get("size", resize)),
            resize=resize,
            mean=normalisation["mean"],
            std=normalisation["std"],
            interpolation=steps["Resize"].get("interpolation", "bilinear"),
            licence=str(content.get("license") or ""),
            source=str(content.get("source") or ""),
        )
        scale = float(patch or resize) / resize
        if not (0 < scale <= limits.NETWORK_SIDE and 0 <= prefix <= limits.NETWORK_SIDE):
            raise ValueError(
                "prefix_tokens is not a number of tokens, or patch_size_pixels not one of pixels"
            )
    card = dataclasses.replace(card, mpp=tuple(value * scale for value in mpp))
    return Sidecar(card, str(content.get("output") or ""), prefix)


def _transform_of(content: Entries, sidecar: Path) -> dict[str, Content]:
    """Return the arguments of each step that prepares an image; none for a step that is not listed."""
    names = [step["name"] for step in content["transform"]]
    if names != [name for name in _STEPS if name in names]:
        raise InputError(f"{sidecar}: the transform takes only {', '.join(_STEPS)}, in this order")
    steps: dict[str, Content] = {name: {} for name in _STEPS}
    return steps | {step["name"]: step.get("arguments") or {} for step in content["transform"]}


def _sidecar_of(path: Path) -> Path:
    """Return the path of the JSON beside an ONNX file."""
    for sidecar in (path.with_suffix(".json"), path.parent / "config.json"):
        if sidecar.is_file():
            return sidecar
    raise InputError(
        f"{path}: no {path.with_suffix('.json').name} or config.json next to it, which gives the image size and "
        "how pixels are normalised"
    )


def _picks(path: Path, trial: Floats32, prefix: int) -> dict[str, Callable[[Floats32], Floats32]]:
    """Return, by name of output, functions that turn what the network returns into vectors; the default is first."""
    if trial.ndim == 2:
        return {"vector": lambda output: output}
    if trial.ndim == 3 and trial.shape[1] > prefix:
        picks = {
            "cls": lambda output: output[:, 0],
            "mean": lambda output: output[:, prefix:].mean(axis=1),
        }
        if prefix == 0:  # there is no class token
            del picks["cls"]
        return picks
    if trial.ndim == 4:
        return {"mean": lambda output: output.mean(axis=(2, 3))}
    raise InputError(
        f"{path}: its output has the shape {trial.shape}; an encoder gives vectors (n, d), tokens (n, tokens, d) or "
        "maps (n, d, rows, columns)"
    )


def _onnxruntime(path: Path, name: str, output: str) -> Callable[[Floats32], Any]:
    # without this, loading it would write to the home folder and report usage over the network
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    onnxruntime = import_library("onnxruntime", path, extra="onnx")
    options = onnxruntime.SessionOptions()
    # processes, not threads, use the cores
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # the exception is enough
    # without enable_fallback=0 it tries again after a failure; old versions print the failure to stdout in any case
    with (
        refused(WeightsError, f"{path}: ONNX Runtime cannot load it"),
        contextlib.redirect_stdout(None),
    ):
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    return lambda images: session.run([output], {name: images})[0]


def _openvino(path: Path, name: str, output: str, precision: str) -> Callable[[Floats32], Any]:
    core, settings = openvino_core(precision)
    with refused(WeightsError, f"{path}: OpenVINO cannot load it"):
        compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        result = compiled.output(output)
    return lambda images: compiled({name: images})[result]
