"""Published Caffe models (``.caffemodel``) as arrays: their bytes are read by the wire format, and nothing is executed.

A file is a ``NetParameter`` of ``caffe.proto`` (BVLC Caffe 1.0): layers, each with its blobs. Only field numbers are
followed that lead to these; all else is passed over by its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .wire import BYTES, EIGHT, FOUR, VARINT, WireReader

_MOST_LAYERS = 10_000
_MOST_AXES = 8
"""Bounds on what a file may hold (ours): networks of Caffe have some hundred layers, and blobs four axes."""

_LAYERS = {100: (1, 7), 2: (4, 6)}
"""Field of a layer in the network, to the fields of its name and blobs: ``LayerParameter``, ``V1LayerParameter``."""


def read_caffemodel(path: Path, *, values: bool = True) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a Caffe model: ``<layer>.weight``, ``<layer>.bias``, and ``<layer>.2`` and so on.

    Parameters
    ----------
    path : Path
    values : bool
        Off for the names alone, each with an empty array.

    Returns
    -------
    dict of str to ndarray of float32
        Shapes are those of Caffe; of files of the older form, whose blobs all have four axes, without leading ones.

    Raises
    ------
    WeightsError
        Not a Caffe model, or one that is cut off, inconsistent, or has more than a network can.
    """
    return _Reader(path, "Caffe model").arrays(values=values)


class _Reader(WireReader):
    """A Caffe model and where in it one reads."""

    def arrays(self, *, values: bool) -> dict[str, npt.NDArray[np.float32]]:
        found: dict[str, npt.NDArray[np.float32]] = {}
        layers = 0
        for field, begin, end in self.messages(0, len(self._data)):
            if field not in _LAYERS:
                continue
            layers += 1
            if layers > _MOST_LAYERS:
                raise self.damaged(f"more than {_MOST_LAYERS:,} layers")
            name, blobs = self._layer(begin, end, *_LAYERS[field])
            for place, (start, stop) in enumerate(blobs):
                key = f"{name}.{('weight', 'bias')[place] if place < 2 else place}"
                if not name or key in found:
                    raise self.damaged(f"two layers called {name}" if name else "a layer without a name")
                found[key] = self._blob(key, start, stop) if values else np.empty(0, np.float32)
        if not found:
            raise self.damaged("no layer with weights; not a Caffe model")
        return found

    def _layer(self, begin: int, end: int, named: int, held: int) -> tuple[str, list[tuple[int, int]]]:
        name, blobs = "", []
        for field, start, stop in self.messages(begin, end):
            if field == named:
                name = self.text(start, stop)
            elif field == held:
                blobs.append((start, stop))
        return name, blobs

    def _blob(self, key: str, begin: int, end: int) -> npt.NDArray[np.float32]:
        """Read a ``BlobProto``: its shape, or the four axes of the older form, and its single or double numbers."""
        older: dict[int, int] = {}
        shape: list[int] | None = None
        parts: list[npt.NDArray[np.float32]] = []
        for field, wire, start, stop in self.fields(begin, end):
            if field in (1, 2, 3, 4) and wire == VARINT:
                older[field] = start
            elif field == 7 and wire == BYTES:
                shape = [size for one in self.fields(start, stop) for size in self._dims(*one)]
            elif (field, wire) in ((5, BYTES), (5, FOUR), (8, BYTES), (8, EIGHT)):
                kind = "<f4" if field == 5 else "<f8"
                if (stop - start) % np.dtype(kind).itemsize:
                    raise self.damaged(f"{key} ends within a number")
                parts.append(np.frombuffer(self._data[start:stop], dtype=kind).astype(np.float32))
        if shape is None:
            shape = [older.get(field, 1) for field in (1, 2, 3, 4)]
            while len(shape) > 1 and shape[0] == 1:
                shape = shape[1:]
        values = np.concatenate(parts) if parts else np.empty(0, np.float32)
        if len(shape) > _MOST_AXES or math.prod(shape) != len(values):
            raise self.damaged(f"{key} has {len(values):,} numbers, and not those of the shape {tuple(shape)}")
        return values.reshape(shape)

    def _dims(self, field: int, wire: int, start: int, stop: int) -> Iterator[int]:
        """Yield the sizes of a ``BlobShape``, packed or one by one."""
        if field == 1 and wire == VARINT:
            yield start
        elif field == 1 and wire == BYTES:
            while start < stop:
                size, start = self.varint(start, stop)
                yield size
