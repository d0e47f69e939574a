"""Messages of protobuf by their wire format: field numbers, places and numbers, and nothing is executed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import WeightsError

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""Wire types; groups (3 and 4) are in no field of the files that are read here."""

Field = tuple[int, int, int, int]
"""Field number, wire type, and where its value begins and ends; of a number the value and nothing."""


class WireReader:
    """A file and where in it one reads.

    Parameters
    ----------
    path : Path
    of : str
        What the file should be, for messages.

    Raises
    ------
    WeightsError
        It is empty.
    """

    def __init__(self, path: Path, of: str) -> None:
        if not path.stat().st_size:
            raise WeightsError(f"{path}: empty")
        self._path, self._of = path, of
        with path.open("rb") as handle:
            self._data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)

    def messages(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield those fields that hold bytes, a text or a message, each with where they begin and end."""
        return ((field, start, stop) for field, wire, start, stop in self.fields(begin, end) if wire == BYTES)

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """Yield the fields of a message between two places of the file."""
        while begin < end:
            tag, begin = self.varint(begin, end)
            field, wire = tag >> 3, tag & 7
            if wire == VARINT:
                value, begin = self.varint(begin, end)
                yield field, wire, value, 0
                continue
            if wire == BYTES:
                length, begin = self.varint(begin, end)
            elif wire in (EIGHT, FOUR):
                length = 8 if wire == EIGHT else 4
            else:
                raise self.damaged(f"bytes that are no field; no {self._of}")
            if not field or length > end - begin:
                raise self.damaged(f"cut off, or no {self._of}")
            yield field, wire, begin, begin + length
            begin += length

    def varint(self, begin: int, end: int) -> tuple[int, int]:
        """Return a number of up to 64 bits, seven to a byte, and where it ends."""
        value = 0
        for place in range(10):
            if begin + place >= end:
                break
            byte = self._data[begin + place]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value, begin + place + 1
        raise self.damaged(f"cut off, or no {self._of}")

    def text(self, begin: int, end: int) -> str:
        """Return a text.

        Raises
        ------
        WeightsError
            It is none.
        """
        try:
            return self._data[begin:end].decode()
        except UnicodeDecodeError:
            raise self.damaged("a layer whose name is no text") from None

    def damaged(self, reason: str) -> WeightsError:
        """Return the error of a file that does not hold together."""
        return WeightsError(f"{self._path}: not a whole {self._of} ({reason})")
