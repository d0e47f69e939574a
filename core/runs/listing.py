"""The list of a folder's units, ``units.json``, which shows what is missing from file names only.

Keys depend on images, weights and settings. Code that only reports the progress does not have these, and reads this
list.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import InputError, OutputError
from ..formats import read_json
from ..jobs import write_json

_LISTED = "units.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Listing:
    """The units of a folder of work.

    Attributes
    ----------
    unit : str
        Name of the units, in the plural.
    groups : tuple of tuple of str
        Groups of units that belong to the same shard: for each unit its file, relative to the folder. The name is empty
        if the unit's file is not needed any more.
    """

    unit: str
    groups: tuple[tuple[str, ...], ...]


def write_listing(folder: Path, unit: str, groups: Sequence[Sequence[str]]) -> None:
    """Write the list, unless it exists with the same content, as with shards that begin at the same time."""
    content = {"schema_version": _SCHEMA, "unit": unit, "groups": [list(group) for group in groups]}
    with contextlib.suppress(InputError):
        if (folder / _LISTED).is_file() and read_json(folder / _LISTED) == content:
            return
    write_json(folder / _LISTED, content)


def read_listing(folder: Path) -> Listing | None:
    """Return the list of a folder whose results are not combined yet; None if there is no list.

    Raises
    ------
    InputError
        The file is damaged.
    """
    path = folder / _LISTED
    try:
        content: Any = read_json(path) if path.is_file() else None
    except InputError:
        if path.is_file():
            raise
        return None  # another process has just combined the results and removed the list
    if content is None:
        return None
    try:
        return Listing(str(content["unit"]), tuple(tuple(map(str, group)) for group in content["groups"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a list of units; run the command of this folder again") from error


def remove_listing(folder: Path) -> None:
    """Remove the list, once the results of all units are combined."""
    try:
        (folder / _LISTED).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / _LISTED}: cannot be removed ({error.strerror})") from error
