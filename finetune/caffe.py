"""Read the weights of a published Caffe model (``.caffemodel``), a message of Protocol Buffers; nothing is executed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE, WeightsError, printable

_FORMS = {2: (4, 6), 100: (1, 7)}
"""Field of a network with its layers, in the older and the newer form, to the fields of a layer: name and arrays."""

_SIDES = (1, 2, 3, 4)
"""Fields of an array of the older form: its four sides, 1 by default; leading ones are no axes."""

_NUMBERS = {5: "<f4", 8: "<f8"}
"""Fields of an array with its numbers, to their type."""

_SHAPE = 7


def read_caffe(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a Caffe model: ``<layer>.weight``, ``.bias``, and ``.2`` and so on.

    Raises
    ------
    WeightsError
        The file cannot be read, is damaged, or has no layer with weights.

    References
    ----------
    ``caffe.proto`` of BVLC Caffe 1.0; Protocol Buffers, "Encoding".
    """
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    try:
        for number, layer in _fields(memoryview(path.read_bytes())):
            if number not in _FORMS:
                continue
            name_field, array_field = _FORMS[number]
            fields = list(_fields(layer))
            name = next((bytes(value).decode() for field, value in fields if field == name_field), "")
            for position, blob in enumerate(value for field, value in fields if field == array_field):
                key = f"{name}.{('weight', 'bias')[position] if position < 2 else position}"
                if not name or key in arrays:
                    raise ValueError(f"two layers called {printable(name[:100])}, or one without a name")
                arrays[key] = _array(blob)
    except DAMAGE as error:
        raise WeightsError(f"{path}: not a Caffe model, or damaged ({error})") from error
    if not arrays:
        raise WeightsError(f"{path}: not a Caffe model, or one without weights")
    return arrays


def _array(blob: memoryview) -> npt.NDArray[np.float32]:
    sides, shape = dict.fromkeys(_SIDES, 1), None
    parts = [np.empty(0, np.float32)]
    for number, value in _fields(blob):
        if number in _NUMBERS:
            parts.append(np.frombuffer(value, _NUMBERS[number]).astype(np.float32))
        elif number == _SHAPE:
            shape = [side for _, packed in _fields(value) for side in _integers(packed)]
        elif number in sides:
            sides[number] = int(value)
    if shape is None:
        shape = list(sides.values())
        while len(shape) > 1 and shape[0] == 1:
            del shape[0]
    values = np.concatenate(parts)
    if math.prod(shape) != len(values):
        raise ValueError(f"{len(values):,} numbers do not fill the shape {tuple(shape)}")
    return values.reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field of a message; an integer is an `int` although it is not typed so."""
    start = 0
    while start < len(message):
        key, start = _integer(message, start)
        kind = key & 7
        if kind == 0:
            value, start = _integer(message, start)
            yield key >> 3, value  # type: ignore[misc]
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"no field is of the kind {kind}")
        size, start = _integer(message, start) if kind == 2 else (8 if kind == 1 else 4, start)
        if start + size > len(message):
            raise ValueError("it ends too early")
        yield key >> 3, message[start : start + size]
        start += size


def _integers(packed: memoryview | int) -> Iterator[int]:
    """Yield the integers of a repeated field: one, or several in one piece."""
    if isinstance(packed, int):
        yield packed
        return
    start = 0
    while start < len(packed):
        value, start = _integer(packed, start)
        yield value


def _integer(message: memoryview, start: int) -> tuple[int, int]:
    """Return an integer of a message, seven bits a byte from the lowest on, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = message[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
    raise ValueError("an integer of more than ten bytes")
