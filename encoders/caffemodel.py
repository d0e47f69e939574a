"""Published Caffe models (``.caffemodel``) as arrays: their bytes are read by the wire format, and nothing is executed.

A file is a ``NetParameter`` of ``caffe.proto`` (BVLC Caffe 1.0): layers, each with its blobs. Only field numbers are
followed that lead to these; all else is passed over by its length.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import WeightsError

__all__ = ["read_caffemodel"]

_MOST_LAYERS = 10_000
_MOST_AXES = 8
"""Bounds on what a file may hold (ours): networks of Caffe have some hundred layers, and blobs four axes."""

_LAYERS = {100: (1, 7), 2: (4, 6)}
"""Field of a layer in the network, to the fields of its name and blobs: ``LayerParameter``, ``V1LayerParameter``."""

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""Wire types; groups (3 and 4) are in no field of ``caffe.proto``."""

Found = tuple[int, int, int, int]
"""Field number, wire type, and where its value begins and ends; of a number the value and nothing."""


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
    if not path.stat().st_size:
        raise WeightsError(f"{path}: empty")
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(path, data)
        try:
            return reader.arrays(values=values)
        finally:
            del reader


class _Reader:
    """A file and where in it one reads."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path, self._data = path, data

    def arrays(self, *, values: bool) -> dict[str, npt.NDArray[np.float32]]:
        found: dict[str, npt.NDArray[np.float32]] = {}
        layers = 0
        for field, wire, begin, end in self._fields(0, len(self._data)):
            if field not in _LAYERS or wire != _BYTES:
                continue
            layers += 1
            if layers > _MOST_LAYERS:
                raise self._damaged(f"more than {_MOST_LAYERS:,} layers")
            name, blobs = self._layer(begin, end, *_LAYERS[field])
            for place, (start, stop) in enumerate(blobs):
                key = f"{name}.{('weight', 'bias')[place] if place < 2 else place}"
                if not name or key in found:
                    raise self._damaged(f"two layers called {name}" if name else "a layer without a name")
                found[key] = self._blob(key, start, stop) if values else np.empty(0, np.float32)
        if not found:
            raise self._damaged("no layer with weights; not a Caffe model")
        return found

    def _layer(self, begin: int, end: int, named: int, held: int) -> tuple[str, list[tuple[int, int]]]:
        name, blobs = "", []
        for field, wire, start, stop in self._fields(begin, end):
            if field == named and wire == _BYTES:
                try:
                    name = self._data[start:stop].decode()
                except UnicodeDecodeError:
                    raise self._damaged("a layer whose name is no text") from None
            elif field == held and wire == _BYTES:
                blobs.append((start, stop))
        return name, blobs

    def _blob(self, key: str, begin: int, end: int) -> npt.NDArray[np.float32]:
        """Read a ``BlobProto``: its shape, or the four axes of the older form, and its single or double numbers."""
        older: dict[int, int] = {}
        shape: list[int] | None = None
        parts: list[npt.NDArray[np.float32]] = []
        for field, wire, start, stop in self._fields(begin, end):
            if field in (1, 2, 3, 4) and wire == _VARINT:
                older[field] = start
            elif field == 7 and wire == _BYTES:
                shape = [size for one in self._fields(start, stop) for size in self._dims(*one)]
            elif (field, wire) in ((5, _BYTES), (5, _FOUR), (8, _BYTES), (8, _EIGHT)):
                kind = "<f4" if field == 5 else "<f8"
                if (stop - start) % np.dtype(kind).itemsize:
                    raise self._damaged(f"{key} ends within a number")
                parts.append(np.frombuffer(self._data[start:stop], dtype=kind).astype(np.float32))
        if shape is None:
            shape = [older.get(field, 1) for field in (1, 2, 3, 4)]
            while len(shape) > 1 and shape[0] == 1:
                shape = shape[1:]
        values = np.concatenate(parts) if parts else np.empty(0, np.float32)
        if len(shape) > _MOST_AXES or math.prod(shape) != len(values):
            raise self._damaged(f"{key} has {len(values):,} numbers, and not those of the shape {tuple(shape)}")
        return values.reshape(shape)

    def _dims(self, field: int, wire: int, start: int, stop: int) -> Iterator[int]:
        """Yield the sizes of a ``BlobShape``, packed or one by one."""
        if field == 1 and wire == _VARINT:
            yield start
        elif field == 1 and wire == _BYTES:
            while start < stop:
                size, start = self._varint(start, stop)
                yield size

    def _fields(self, begin: int, end: int) -> Iterator[Found]:
        """Yield the fields of a message between two places of the file."""
        while begin < end:
            tag, begin = self._varint(begin, end)
            field, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, begin = self._varint(begin, end)
                yield field, wire, value, 0
                continue
            if wire == _BYTES:
                length, begin = self._varint(begin, end)
            elif wire in (_EIGHT, _FOUR):
                length = 8 if wire == _EIGHT else 4
            else:
                raise self._damaged("bytes that are no field; not a Caffe model")
            if not field or length > end - begin:
                raise self._damaged("cut off, or not a Caffe model")
            yield field, wire, begin, begin + length
            begin += length

    def _varint(self, begin: int, end: int) -> tuple[int, int]:
        """Return a number of up to 64 bits, seven to a byte, and where it ends."""
        value = 0
        for place in range(10):
            if begin + place >= end:
                break
            byte = self._data[begin + place]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value, begin + place + 1
        raise self._damaged("cut off, or not a Caffe model")

    def _damaged(self, why: str) -> WeightsError:
        return WeightsError(f"{self._path}: not a whole Caffe model ({why})")
