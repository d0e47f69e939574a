"""What a folder of work lists of its units, so that anybody can tell from files alone what is missing.

Keys follow from images, weights and settings; whoever only looks has none of them at hand, and reads this list.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import InputError, OutputError
from ..formats import read_json
from ..jobs import write_json

_FILE = "units.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Listing:
    """The units of a folder of work.

    Attributes
    ----------
    unit : str
        What they are called, in the plural.
    groups : tuple of tuple of str
        What is dealt to shards as a whole: of each unit the file that it leaves, relative to the folder; empty where
        what it is of use for is there already.
    """

    unit: str
    groups: tuple[tuple[str, ...], ...]


def write_listing(folder: Path, unit: str, groups: Sequence[Sequence[str]]) -> None:
    """Write the list, unless it is there as it should be: shards that begin at once write the same."""
    content = {"schema_version": _SCHEMA, "unit": unit, "groups": [list(group) for group in groups]}
    with contextlib.suppress(InputError):
        if (folder / _FILE).is_file() and read_json(folder / _FILE) == content:
            return
    write_json(folder / _FILE, content)


def read_listing(folder: Path) -> Listing | None:
    """Return the list of a folder whose work is not put together yet; None if there is none.

    Raises
    ------
    InputError
        The file is damaged.
    """
    path = folder / _FILE
    try:
        content: Any = read_json(path) if path.is_file() else None
    except InputError:
        if path.is_file():
            raise
        return None  # put together at this moment
    if content is None:
        return None
    try:
        return Listing(str(content["unit"]), tuple(tuple(map(str, group)) for group in content["groups"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a list of units; run the command of this folder again") from error


def remove_listing(folder: Path) -> None:
    """Remove the list, when all its units are put together."""
    try:
        (folder / _FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / _FILE}: cannot be removed ({error.strerror})") from error
