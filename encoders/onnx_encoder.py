"""Encoders as ONNX files, run by onnxruntime, with the file beside each that says how images are prepared.

A runtime may load libraries for custom operators, and values from any path that a tensor names: both are refused.
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DependencyError, InputError, MissingInputError, WeightsError, how_to_install
from ..core.formats import limits
from .card import EncoderCard, card_by_treatment
from .engines import openvino_core
from .loading import read_json_object, refused, side_of, stated_mpp, unchanged
from .vectors import EncoderRequest, VectorEncoder, chosen_outputs, identity

_DOMAINS = ("", "ai.onnx")  # of the operators that every runtime has

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that a runtime may open.

    Attributes
    ----------
    files : tuple of Path
        The file, and those of its folder that contain its values.
    inputs : tuple of (str, str, tuple of int)
        Name, type and shape of each input, 0 for an axis that varies. Those with values in the file are left out.
    outputs : tuple of str
    """

    files: tuple[Path, ...]
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
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
        raise MissingInputError(f"{path}: no such file; give an ONNX file, with its JSON next to it")
    if not 0 < path.stat().st_size <= limits.ONNX_BYTES:
        raise WeightsError(f"{path}: not a complete ONNX file (it is empty, or larger than one can be)")
    try:
        import onnx
    except ImportError as error:
        raise DependencyError(f"{path}: onnx is missing; {how_to_install('onnx')}") from error
    beside: dict[str, Path] = {}
    with refused(WeightsError, f"{path}: not a complete ONNX file, export or copy it again"):
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
        if model.functions:
            raise InputError(f"{path}: has functions of its own; export it with all of them inlined")
        for part in _parts(model):
            if isinstance(part, onnx.NodeProto) and part.domain not in _DOMAINS:
                raise InputError(
                    f"{path}: has the custom operator {part.domain[:40]}::{part.op_type[:40]}; export it with the only "
                    "operators of ONNX"
                )
            for entry in part.external_data if isinstance(part, onnx.TensorProto) else ():
                if entry.key == "location":
                    beside[entry.value] = _beside(path, entry.value)
        valued = {tensor.name for tensor in model.graph.initializer}
        inputs = tuple(_port(value) for value in model.graph.input if value.name not in valued)
        outputs = tuple(value.name for value in model.graph.output)
    if not outputs:
        raise WeightsError(f"{path}: not a complete ONNX file (no network in it)")
    return OnnxFile((path, *dict(sorted(beside.items())).values()), inputs, outputs)


def _port(value: Any) -> tuple[str, str, tuple[int, ...]]:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    return value.name, TensorProto.DataType.Name(tensor.elem_type), tuple(axis.dim_value for axis in tensor.shape.dim)


def _parts(message: Any) -> Iterator[Any]:
    """Yield a message of protobuf and all messages in it: graphs in attributes of nodes, tensors, functions."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += value if hasattr(value, "__len__") else [value]


def _beside(path: Path, location: str) -> Path:
    """Return the path of a file of external values; refuse one outside the folder of the ONNX file."""
    target = path.parent / location
    if not location or Path(location).is_absolute() or not target.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path}: its values are in {location[:80]}, outside its folder; put them next to it")
    if not target.is_file():
        raise WeightsError(f"{path}: {location[:80]} is missing, which holds its values; copy it too")
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
    engine = request.engine
    file = read_onnx(path)
    with unchanged(file.files) as sha256:
        card, wanted, prefix = read_sidecar(path)
        if wanted and wanted not in file.outputs:
            raise InputError(f"{path}: has no output {wanted[:60]}; it has {', '.join(file.outputs[:8])}")
        name, kind, shape = file.inputs[0] if len(file.inputs) == 1 else ("", "", ())
        if kind != "FLOAT" or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            given = "; ".join(f"{kind} of shape {shape}" for _, kind, shape in file.inputs)
            raise InputError(
                f"{path}: takes {given or 'nothing'}; an encoder takes only images, FLOAT of shape (n, 3, height, "
                "width) or (n, height, width, 3)"
            )
        output = wanted or file.outputs[0]
        start = _onnxruntime if engine == "onnxruntime" else _openvino
        network = start(path, name, output, request.precision)

    def run(images: Floats) -> Floats:
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if shape[1] == 3 else images
        single = shape[0] == 1  # it accepts only one image at a time
        with refused(WeightsError, f"{path}: cannot be run on images of {images.shape[1]}x{images.shape[2]} pixels"):
            parts = [network(batch[at : at + 1]) for at in range(len(batch))] if single else [network(batch)]
            return np.concatenate([np.asarray(part) for part in parts])

    side = card.size or 0
    trial = run(np.zeros((1, side, side, 3), np.float32))
    pick = _picks(path, trial, prefix)
    default = tuple(pick)[:1]
    chosen = chosen_outputs(request.choice.layers, default=default, known=pick, of=f"onnx:{path}")
    parts = tuple(pick[name](trial).shape[1] for name in chosen)

    def vectors(images: Floats) -> Floats:
        given = run(images)
        return np.concatenate([pick[name](given) for name in chosen], axis=1)

    return VectorEncoder(
        name=request.choice.label, layers=chosen, parts=parts, dim=sum(parts), default_layers=chosen == default,
        card=card, runner="onnx", backend=engine, engine=engine, weights_file_sha256=sha256, run=vectors,
        weights_sha256=identity(card, weights=sha256, output=output), taken={"output": output, "prefix_tokens": prefix},
    )  # fmt: skip


def read_sidecar(path: Path) -> tuple[EncoderCard, str, int]:
    """Read the JSON of an ONNX file: the format of WSInfer's models with some further fields.

    Parameters
    ----------
    path : Path
        The ONNX file; its JSON has the same name, or is ``config.json``.

    Returns
    -------
    EncoderCard
        From ``transform`` (``Resize``, ``CenterCrop``, ``ToTensor``, ``Normalize``), ``patch_size_pixels``,
        ``spacing_um_px`` (of the patch before ``Resize``), ``license``, ``non_commercial``, ``gated``,
        ``source`` and ``revision``.
    str
        The output that contains the features (``output``); empty for the first one.
    int
        Number of tokens before those of patches (``prefix_tokens``): the class token, if any, and registers.

    Raises
    ------
    InputError
        There is no JSON file, or it does not define the preprocessing.
    """
    beside = [path.with_suffix(".json"), path.parent / "config.json"]
    sidecar = next((file for file in beside if file.is_file()), None)
    if sidecar is None:
        raise InputError(
            f"{path}: no {beside[0].name} or config.json next to it, which gives the image size and how pixels are "
            "normalised"
        )
    content = read_json_object(sidecar)
    mpp = stated_mpp(content, sidecar)
    mean: Any = (0.0, 0.0, 0.0)
    std: Any = (1.0, 1.0, 1.0)
    with refused(InputError, f"{sidecar}: does not define how images are prepared, see docs/encoders.md"):
        size = patch = side_of(content.get("patch_size_pixels"))
        resize, interpolation = None, "bilinear"
        for step in content["transform"]:
            what, arguments = step["name"], step.get("arguments") or {}
            if what == "Resize":
                size = side_of(arguments.get("size", size))
                interpolation = arguments.get("interpolation", interpolation)
            elif what == "CenterCrop":
                size, resize = side_of(arguments["size"]), size
            elif what == "Normalize":
                mean, std = arguments["mean"], arguments["std"]
            elif what != "ToTensor":
                raise InputError(
                    f"{sidecar}: the transform {str(what)[:40]} is not known; it takes Resize, CenterCrop, ToTensor, "
                    "Normalize"
                )
        prefix = operator.index(content.get("prefix_tokens", 1))
        if not 0 <= prefix <= limits.NETWORK_SIDE or (patch or 1) <= 0:
            raise ValueError("prefix_tokens is not a number of tokens, or patch_size_pixels not one of pixels")
        if size is None:
            raise InputError(f"{sidecar}: gives no image size; add patch_size_pixels, or the size of Resize")
        resize = resize or size
        flags = {flag: bool(content[flag]) for flag in ("non_commercial", "gated") if flag in content}
        card = card_by_treatment(
            sidecar, str(content.get("license") or content.get("licence") or ""), size=size, resize=resize, mean=mean,
            std=std, interpolation=interpolation, mpp=tuple(value * float(patch or resize) / resize for value in mpp),
            source=str(content.get("source") or ""), revision=str(content.get("revision") or ""), **flags,
        )  # fmt: skip
    return card, str(content.get("output", "")), prefix


def _picks(path: Path, trial: Floats, prefix: int) -> dict[str, Callable[[Floats], Floats]]:
    """Return, by name of output, functions that turn what the network returns into vectors; the default is first."""
    if trial.ndim == 2:
        return {"vector": lambda output: output}
    if trial.ndim == 3 and trial.shape[1] > prefix:
        mean = {"mean": lambda output: output[:, prefix:].mean(axis=1)}
        return {"cls": lambda output: output[:, 0], **mean} if prefix else mean
    if trial.ndim == 4:
        return {"mean": lambda output: output.mean(axis=(2, 3))}
    raise InputError(
        f"{path}: its output has the shape {trial.shape}; an encoder gives vectors (n, d), tokens (n, tokens, d) or "
        "maps (n, d, rows, columns)"
    )


def _onnxruntime(path: Path, name: str, output: str, precision: str) -> Callable[[Floats], Any]:
    # without this, loading it would write to the home folder and report usage over the network
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(f"{path}: ONNX Runtime is missing; {how_to_install('onnx')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # processes, not threads, use the cores
    options.log_severity_level = 4  # the exception is enough
    # without enable_fallback=0 it tries again after a failure; old versions print the failure to stdout in any case
    with refused(WeightsError, f"{path}: ONNX Runtime cannot load it"), contextlib.redirect_stdout(None):
        providers = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
        session = onnxruntime.InferenceSession(str(path), options, **providers)
    return lambda images: session.run([output], {name: images})[0]


def _openvino(path: Path, name: str, output: str, precision: str) -> Callable[[Floats], Any]:
    core, settings = openvino_core(precision)
    with refused(WeightsError, f"{path}: OpenVINO cannot load it"):
        ready = core.compile_model(core.read_model(str(path)), "CPU", settings)
        result = ready.output(output)
    return lambda images: ready({name: images})[result]
