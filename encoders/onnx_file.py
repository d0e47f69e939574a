"""What an ONNX file says of itself, read by its wire format before any runtime sees it.

A runtime loads libraries for operators of others, and files wherever a tensor says that its data lie. So a file is
refused that asks for either. Field numbers are those of ``onnx.proto`` (ONNX 1.23).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from ..data import content_sha256
from ..errors import InputError, MissingInputError, WeightsError
from .wire import BYTES, VARINT, WireReader

_DOMAINS = ("", "ai.onnx")
"""Operators that every runtime has."""

_GRAPH, _FUNCTION = 7, 25  # of a model
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15  # of a graph
_OP, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a node
_TENSORS, _GRAPHS, _SPARSES = (5, 10), (6, 11), (22, 23)  # of an attribute
_NAME, _EXTERNAL = 8, 13  # of a tensor


_DEEPEST, _MOST_NODES = 16, 1_000_000
"""Graphs within graphs, and nodes in all (ours)."""


@dataclass(frozen=True)
class Port:
    """An input or output: its name, type (1 is float32) and axes, None where one varies."""

    name: str
    kind: int
    shape: tuple[int | None, ...]


@dataclass
class OnnxFile:
    """What a file says of itself.

    Attributes
    ----------
    path : Path
    inputs, outputs : list of Port
        Inputs without those that have values in the file.
    external : dict of str to Path
        Other files of its folder that hold values.
    """

    path: Path
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    external: dict[str, Path] = field(default_factory=dict)

    def sha256(self) -> str:
        """Return the hash of the file, or over it and those that hold its values."""
        hashes = [content_sha256(file) for file in (self.path, *dict(sorted(self.external.items())).values())]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def read_onnx(path: Path) -> OnnxFile:
    """Look through a file, and refuse what a runtime must not see.

    Raises
    ------
    MissingInputError
        There is no such file.
    InputError
        It has operators of its own, or values outside its folder.
    WeightsError
        It is no ONNX file, or damaged.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; give an ONNX file, with its JSON beside it")
    return _Reader(path, "ONNX file").model()


class _Reader(WireReader):
    """An ONNX file and where in it one reads."""

    _nodes = 0

    def model(self) -> OnnxFile:
        found = OnnxFile(self._path)
        graphs = 0
        for number, begin, end in self.messages(0, len(self._data)):
            if number == _FUNCTION:
                raise InputError(f"{self._path}: has functions of its own; export it with all of them inlined")
            if number == _GRAPH:
                graphs += 1
                self._graph(begin, end, found, depth=0)
        if graphs != 1 or not found.outputs:
            raise self.damaged("no network in it")
        return found

    def _graph(self, begin: int, end: int, found: OnnxFile, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise self.damaged(f"more than {_DEEPEST} graphs within each other")
        valued: set[str] = set()
        inputs: list[Port] = []
        for number, start, stop in self.messages(begin, end):
            if number == _NODE:
                self._node(start, stop, found, depth)
            elif number == _INITIALIZER:
                valued.add(self._tensor(start, stop, found))
            elif number == _SPARSE:
                self._sparse(start, stop, found)
            elif number == _INPUT and not depth:
                inputs.append(self._port(start, stop))
            elif number == _OUTPUT and not depth:
                found.outputs.append(self._port(start, stop))
        if not depth:
            found.inputs = [port for port in inputs if port.name not in valued]

    def _node(self, begin: int, end: int, found: OnnxFile, depth: int) -> None:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise self.damaged(f"more than {_MOST_NODES:,} operators")
        domain = operator = ""
        for number, start, stop in self.messages(begin, end):
            if number == _OP:
                operator = self.text(start, stop)
            elif number == _DOMAIN:
                domain = self.text(start, stop)
            elif number == _ATTRIBUTE:
                self._attribute(start, stop, found, depth)
        if domain not in _DOMAINS:
            raise InputError(
                f"{self._path}: has the custom operator {domain[:40]}::{operator[:40]}; export it with the "
                "operators of ONNX alone"
            )

    def _attribute(self, begin: int, end: int, found: OnnxFile, depth: int) -> None:
        for number, start, stop in self.messages(begin, end):
            if number in _TENSORS:
                self._tensor(start, stop, found)
            elif number in _SPARSES:
                self._sparse(start, stop, found)
            elif number in _GRAPHS:
                self._graph(start, stop, found, depth=depth + 1)

    def _sparse(self, begin: int, end: int, found: OnnxFile) -> None:
        for number, start, stop in self.messages(begin, end):
            if number in (1, 2):
                self._tensor(start, stop, found)

    def _tensor(self, begin: int, end: int, found: OnnxFile) -> str:
        """Return the name of a tensor; note where its values lie, if not here."""
        name = ""
        for number, start, stop in self.messages(begin, end):
            if number == _NAME:
                name = self.text(start, stop)
            elif number == _EXTERNAL:
                pair = {key: self.text(*place) for key, _, *place in self.fields(start, stop)}
                if pair.get(1) == "location":
                    self._external(pair.get(2, ""), found)
        return name

    def _external(self, location: str, found: OnnxFile) -> None:
        folder = self._path.parent.resolve()
        place = self._path.parent / location
        if not location or Path(location).is_absolute() or not place.resolve().is_relative_to(folder):
            raise InputError(
                f"{self._path}: says that its values lie in {location[:80]}, outside its folder; put them beside it"
            )
        if not place.is_file():
            raise WeightsError(f"{self._path}: {location[:80]} is missing, which holds its values; copy it too")
        found.external[location] = place

    def _port(self, begin: int, end: int) -> Port:
        name, kind = "", 0
        shape: tuple[int | None, ...] = ()
        for number, start, stop in self.messages(begin, end):
            if number == 1:
                name = self.text(start, stop)
            elif number == 2:
                for of_type, _, first, last in self.fields(start, stop):
                    if of_type == 1:  # a tensor, and not a sequence or a map
                        kind, shape = self._tensor_type(first, last)
        return Port(name, kind, shape)

    def _tensor_type(self, begin: int, end: int) -> tuple[int, tuple[int | None, ...]]:
        kind = 0
        shape: list[int | None] = []
        for number, wire, start, stop in self.fields(begin, end):
            if number == 1 and wire == VARINT:
                kind = start
            elif number == 2 and wire == BYTES:
                for _, _, first, last in self.fields(start, stop):
                    sizes = [value for which, how, value, _ in self.fields(first, last) if (which, how) == (1, VARINT)]
                    shape.append(sizes[0] if sizes and sizes[0] > 0 else None)
        return kind, tuple(shape)
