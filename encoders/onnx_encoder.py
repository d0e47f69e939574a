"""Encoders as ONNX files, run by onnxruntime, with the file beside each that says how images are prepared.

A runtime may load libraries for custom operators, and values from any path that a tensor names: both are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import InputError, MissingInputError, WeightsError
from ..core.formats import limits
from .card import EncoderCard, treated_card
from .engines import openvino_core
from .loading import import_library, read_json_object, refused, side_of, stated_mpp, unchanged
from .vectors import EncoderRequest, VectorEncoder, chosen_outputs, identity

_DOMAINS = ("", "ai.onnx")  # of the operators that every runtime has

_STEPS = ("Resize", "CenterCrop", "ToTensor", "Normalize")  # that the JSON may name, in this order

Floats = npt.NDArray[np.float32]


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
    beside: dict[str, Path] = {}
    with refused(WeightsError, f"{path}: not a complete ONNX file, export or copy it again"):
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
        for part in _parts(model):
            if isinstance(part, onnx.NodeProto) and part.domain not in _DOMAINS:
                raise InputError(
                    f"{path}: has the custom operator {part.domain[:40]}::{part.op_type[:40]}; export it with the only "
                    "operators of ONNX, and functions inlined"
                )
            for entry in part.external_data if isinstance(part, onnx.TensorProto) else ():
                if entry.key == "location":
                    beside[entry.value] = _beside(path, entry.value)
        valued = {tensor.name for tensor in model.graph.initializer}
        inputs = {
            value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in model.graph.input
            if value.name not in valued
        }
        outputs = tuple(value.name for value in model.graph.output)
    return OnnxFile((path, *dict(sorted(beside.items())).values()), inputs, outputs)


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
    engine = request.engine
    file = read_onnx(path)
    with unchanged(file.files) as sha256:
        card, wanted, prefix = read_sidecar(path)
        output = wanted or next(iter(file.outputs), "at all")
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
        start = _onnxruntime if engine == "onnxruntime" else _openvino
        network = start(path, name, output, request.precision)

    def run(images: Floats) -> Floats:
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if shape[1] == 3 else images
        single = shape[0] == 1  # it accepts only one image at a time
        with refused(
            WeightsError,
            f"{path}: cannot be run on images of {images.shape[1]}x{images.shape[2]} pixels",
        ):
            parts = (
                [network(batch[at : at + 1]) for at in range(len(batch))]
                if single
                else [network(batch)]
            )
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
        name=request.choice.label,
        layers=chosen,
        parts=parts,
        dim=sum(parts),
        default_layers=chosen == default,
        card=card,
        runner="onnx",
        backend=engine,
        engine=engine,
        weights_file_sha256=sha256,
        run=vectors,
        weights_sha256=identity(card, weights=sha256, output=output),
    )


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
        ``spacing_um_px`` (of the patch before ``Resize``), ``license`` and ``source``.
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
    with refused(
        InputError, f"{sidecar}: does not define how images are prepared, see docs/encoders.md"
    ):
        steps = {step["name"]: step.get("arguments") or {} for step in content["transform"]}
        if [step["name"] for step in content["transform"]] != [
            name for name in _STEPS if name in steps
        ]:
            raise InputError(
                f"{sidecar}: the transform takes only {', '.join(_STEPS)}, in this order"
            )
        patch, resizing = side_of(content.get("patch_size_pixels")), steps.get("Resize", {})
        resize = side_of(resizing.get("size", patch))
        normalising = steps.get("Normalize") or {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        prefix = operator.index(content.get("prefix_tokens", 1))
        card = treated_card(
            sidecar,
            size=side_of(steps.get("CenterCrop", {}).get("size", resize)),
            resize=resize,
            mean=normalising["mean"],
            std=normalising["std"],
            interpolation=resizing.get("interpolation", "bilinear"),
            licence=str(content.get("license") or ""),
            source=str(content.get("source") or ""),
        )
        scale = float(patch or resize) / resize
        if scale <= 0 or not 0 <= prefix <= limits.NETWORK_SIDE:
            raise ValueError(
                "prefix_tokens is not a number of tokens, or patch_size_pixels not one of pixels"
            )
    return (
        dataclasses.replace(card, mpp=tuple(value * scale for value in mpp)),
        str(content.get("output", "")),
        prefix,
    )


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
    onnxruntime = import_library("onnxruntime", path, extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = (
        1  # processes, not threads, use the cores
    )
    options.log_severity_level = 4  # the exception is enough
    # without enable_fallback=0 it tries again after a failure; old versions print the failure to stdout in any case
    with (
        refused(WeightsError, f"{path}: ONNX Runtime cannot load it"),
        contextlib.redirect_stdout(None),
    ):
        providers = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
        session = onnxruntime.InferenceSession(str(path), options, **providers)
    return lambda images: session.run([output], {name: images})[0]


def _openvino(path: Path, name: str, output: str, precision: str) -> Callable[[Floats], Any]:
    core, settings = openvino_core(precision)
    with refused(WeightsError, f"{path}: OpenVINO cannot load it"):
        ready = core.compile_model(core.read_model(str(path)), "CPU", settings)
        result = ready.output(output)
    return lambda images: ready({name: images})[result]
