"""Encoders as ONNX files, run by onnxruntime, with the file beside each that says how images are prepared.

A runtime may load libraries for custom operators, and values from any path that a tensor names: both are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import (
    BchistoError,
    DependencyError,
    InputError,
    MissingInputError,
    WeightsError,
    how_to_install,
    is_out_of_memory,
)
from ..core.formats import content_sha256, limits
from .card import EncoderCard, card_by_treatment
from .engines import openvino_core
from .loading import first_line, read_json_object
from .vectors import EncoderRequest, VectorEncoder, chosen_outputs, identity

_DOMAINS = ("", "ai.onnx")  # of the operators that every runtime has


@dataclass(frozen=True)
class Port:
    """An input or output: its name, type (``float`` means float32) and shape, with None for an axis that varies."""

    name: str
    kind: str
    shape: tuple[int | None, ...]


@dataclass
class OnnxFile:
    """Inputs, outputs and external values of an ONNX file.

    Attributes
    ----------
    path : Path
    inputs, outputs : list of Port
        Inputs whose values are in the file are left out.
    external : dict of str to Path
        Other files of its folder that contain values.
    """

    path: Path
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    external: dict[str, Path] = field(default_factory=dict)

    def sha256(self) -> str:
        """Return the SHA-256 of the file; with external values, one over the checksums of all files."""
        hashes = [content_sha256(file) for file in (self.path, *dict(sorted(self.external.items())).values())]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


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
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise DependencyError(f"{path}: onnx is missing; {how_to_install('onnx')}") from error
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
        return _checked(path, model)
    except BchistoError:
        raise
    except (DecodeError, ValueError, RecursionError) as error:  # ValueError: a name that is not text
        damaged = f"{path}: not a complete ONNX file ({first_line(error)}); export or copy it again"
        raise WeightsError(damaged) from error


def _checked(path: Path, model: Any) -> OnnxFile:
    if model.functions:
        raise InputError(f"{path}: has functions of its own; export it with all of them inlined")
    if not model.graph.output:
        raise WeightsError(f"{path}: not a complete ONNX file (no network in it)")
    file = OnnxFile(path)
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.domain not in _DOMAINS:
                raise InputError(
                    f"{path}: has the custom operator {node.domain[:40]}::{node.op_type[:40]}; export it with the "
                    "only operators of ONNX"
                )
        for tensor in _tensors(graph):
            for entry in tensor.external_data:
                if entry.key == "location":
                    file.external[entry.value] = _beside(path, entry.value)
    valued = {tensor.name for tensor in model.graph.initializer}
    file.inputs = [_port(value) for value in model.graph.input if value.name not in valued]
    file.outputs = [_port(value) for value in model.graph.output]
    return file


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and all graphs in the attributes of its nodes."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the tensors of a graph and of the attributes of its nodes."""
    sparse = [*graph.sparse_initializer]
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _beside(path: Path, location: str) -> Path:
    """Return the path of a file of external values; refuse one outside the folder of the ONNX file."""
    target = path.parent / location
    if not location or Path(location).is_absolute() or not target.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path}: its values are in {location[:80]}, outside its folder; put them next to it")
    if not target.is_file():
        raise WeightsError(f"{path}: {location[:80]} is missing, which holds its values; copy it too")
    return target


def _port(value: Any) -> Port:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim)
    return Port(value.name, TensorProto.DataType.Name(tensor.elem_type).casefold(), shape)


_FLOAT32 = "float"

Floats = npt.NDArray[np.float32]


def open_onnx(request: EncoderRequest) -> VectorEncoder:
    """Load an ONNX file and the JSON file next to it.

    A network of tokens has the outputs ``cls`` and ``mean``, one of feature maps has ``mean``, and one of vectors has
    ``vector``.

    Parameters
    ----------
    request : EncoderRequest
        The source is ``encoder.onnx``, with ``encoder.json`` or ``config.json`` in its folder, see `read_sidecar`. The
        engine is ``openvino`` or ``onnxruntime``; ``keras``, the default of feature extraction, means ``onnxruntime``
        here. Only OpenVINO computes in bfloat16.

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
    engine = "onnxruntime" if request.engine == "keras" else request.engine
    if engine not in ("onnxruntime", "openvino"):
        raise InputError("{engine} {}: runs no ONNX file; leave it out, or use onnxruntime or openvino", engine)
    if request.precision != "float32" and engine != "openvino":
        raise InputError(
            "{precision} {}: ONNX Runtime runs {} as it is; use {engine:openvino}", request.precision, path
        )
    file = read_onnx(path)
    before = file.sha256()
    card, wanted, prefix = read_sidecar(path)
    port, result = _ports(file, card, wanted)
    if engine == "onnxruntime":
        run = _onnxruntime(path, port, result)
    else:
        run = _openvino(path, port, result, request.precision)
    trial = _called(path, run, np.zeros((1, card.size or 0, card.size or 0, 3), np.float32), port)
    pick = _picks(path, trial, prefix)
    sizes, default = {name: take(trial).shape[1] for name, take in pick.items()}, tuple(pick)[:1]
    chosen, parts = chosen_outputs(request.choice.layers, default=default, sizes=sizes, of=f"onnx:{path}")
    if file.sha256() != before:
        raise WeightsError(f"{path}: changed while it was read; run the command again")

    def vectors(images: Floats) -> Floats:
        outputs = _called(path, run, images, port)
        return np.concatenate([pick[name](outputs) for name in chosen], axis=1)

    return VectorEncoder(
        name=request.choice.label, layers=chosen, parts=parts, dim=sum(parts), default_layers=chosen == default,
        card=card, runner="onnx", backend=engine, engine=engine, weights_file_sha256=before, run=vectors,
        weights_sha256=identity(card, weights=before, output=result),
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
    steps = content.get("transform")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise InputError(f"{sidecar}: its transform is not a list of Resize, ToTensor and Normalize")
    patch, interpolation = content.get("patch_size_pixels"), "bilinear"
    size, resize = patch, None
    mean: Any = (0.0, 0.0, 0.0)
    std: Any = (1.0, 1.0, 1.0)
    for step in steps:
        what, arguments = step.get("name"), step.get("arguments") or {}
        if what == "Resize" and isinstance(arguments, dict):
            size, interpolation = arguments.get("size", size), arguments.get("interpolation", interpolation)
        elif what == "CenterCrop" and isinstance(arguments, dict):
            size, resize = arguments.get("size"), size
        elif what == "Normalize" and isinstance(arguments, dict):
            mean, std = arguments.get("mean"), arguments.get("std")
        elif what != "ToTensor":
            raise InputError(
                f"{sidecar}: the transform {str(what)[:40]} is not known; it takes Resize, CenterCrop, ToTensor, "
                "Normalize"
            )
    size = _side(sidecar, size)
    resize = size if resize is None else _side(sidecar, resize)
    prefix = content.get("prefix_tokens", 1)
    if not isinstance(prefix, int) or isinstance(prefix, bool) or not 0 <= prefix <= limits.NETWORK_SIDE:
        raise InputError(f"{sidecar}: prefix_tokens is not a number of tokens")
    mpp = content.get("spacing_um_px")
    try:
        spacing = 1.0 if mpp is None else float(mpp)
        seen = float(resize if patch is None else patch[0] if isinstance(patch, list) and patch else patch)
    except (TypeError, ValueError):
        spacing = seen = math.nan
    if not 0 < spacing < math.inf or not 0 < seen < math.inf:
        raise InputError(f"{sidecar}: spacing_um_px and patch_size_pixels are not lengths; give numbers above 0")
    flags = {flag: content[flag] for flag in ("non_commercial", "gated") if flag in content}
    if odd := [flag for flag, value in flags.items() if not isinstance(value, bool)]:
        raise InputError(f"{sidecar}: {odd[0]} is neither true nor false")
    return card_by_treatment(
        sidecar, str(content.get("license") or content.get("licence") or ""), size=size, resize=resize, mean=mean,
        std=std, interpolation=interpolation, mpp=() if mpp is None else (spacing * seen / resize,),
        source=str(content.get("source") or ""), revision=str(content.get("revision") or ""), **flags,
    ), str(content.get("output", "")), prefix  # fmt: skip


def _side(sidecar: Path, size: Any) -> int:
    if isinstance(size, list):
        size = size[0] if size and all(side == size[0] for side in size) else None
    if not isinstance(size, int):
        raise InputError(f"{sidecar}: gives no image size; add patch_size_pixels, or the size of Resize")
    return size


def _ports(file: OnnxFile, card: EncoderCard, wanted: str) -> tuple[Port, str]:
    """Return the input and the name of the output; refuse a file that is not an encoder of images."""
    path, size = file.path, card.size
    if len(file.inputs) != 1:
        raise InputError(f"{path}: takes {len(file.inputs)} inputs; an encoder takes only images")
    port = file.inputs[0]
    first, last = port.shape[1:2] == (3,), port.shape[3:4] == (3,)
    if port.kind != _FLOAT32 or len(port.shape) != 4 or not (first or last):
        keep = "; convert to float16 with keep_io_types=True" if port.kind == "float16" else ""
        raise InputError(
            f"{path}: its input {port.name} is {_shape_text(port)}; an encoder takes float32 images of shape (n, 3, "
            f"height, width) or (n, height, width, 3){keep}"
        )
    sides = port.shape[2:] if first else port.shape[1:3]
    if any(side not in (None, size) for side in sides):
        raise InputError(f"{path}: takes images of {sides[0]}x{sides[1]}, and its JSON has {size}; correct the JSON")
    if port.shape[0] not in (None, 1):
        raise InputError(f"{path}: takes {port.shape[0]} images in one batch; export it for any number of them")
    names = [output.name for output in file.outputs]
    if wanted and wanted not in names:
        raise InputError(f"{path}: has no output {wanted[:60]}; it has {', '.join(names[:8])}")
    return port, wanted or names[0]


def _shape_text(port: Port) -> str:
    kind = "float32" if port.kind == _FLOAT32 else port.kind
    return f"{kind} of shape ({', '.join('any' if side is None else str(side) for side in port.shape)})"


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


def _called(path: Path, run: Callable[[Floats], Any], images: Floats, port: Port) -> Floats:
    """Call a network, with one image at a time if it accepts only one."""
    batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if port.shape[1] == 3 else images
    with _refused(f"{path}: the runtime cannot run it"):
        if port.shape[0] == 1:
            return np.concatenate([np.asarray(run(batch[at : at + 1])) for at in range(len(batch))])
        return np.asarray(run(batch))


@contextlib.contextmanager
def _refused(text: str) -> Iterator[None]:
    """Turn any exception of a runtime into a `WeightsError`, except a lack of memory."""
    try:
        yield
    except Exception as error:
        # each runtime raises exceptions of its own, which cannot be named without importing them
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{text} ({first_line(error)})") from error


def _onnxruntime(path: Path, port: Port, output: str) -> Callable[[Floats], Any]:
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
    with _refused(f"{path}: ONNX Runtime cannot load it"), contextlib.redirect_stdout(None):
        providers = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
        session = onnxruntime.InferenceSession(str(path), options, **providers)
    return lambda images: session.run([output], {port.name: images})[0]


def _openvino(path: Path, port: Port, output: str, precision: str) -> Callable[[Floats], Any]:
    core, settings = openvino_core(precision)
    with _refused(f"{path}: OpenVINO cannot load it"):
        ready = core.compile_model(core.read_model(str(path)), "CPU", settings)
        result = ready.output(output)
    return lambda images: ready({port.name: images})[result]
