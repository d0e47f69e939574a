"""Check an ONNX file with the package onnx before any runtime opens it.

A runtime may load libraries for custom operators, and values from any path that a tensor names. So files with custom
operators, or with values outside their folder, are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import BchistoError, DependencyError, InputError, MissingInputError, WeightsError, how_to_install
from ..core.formats import content_sha256, limits
from .loading import first_line

_DOMAINS = ("", "ai.onnx")
"""Domains of the operators that every runtime has."""


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
