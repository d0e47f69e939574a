"""The claim of a folder: work in it is done under one set of settings, which every part carries.

``settings.json`` says what decides the content of a folder. A command that wants other settings is refused with the
differences, unless it overwrites; further stores extend the folder. The hash of the settings goes into every part and
is checked on reading, so that two commands at once, or one killed while it overwrites, never mix their work.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, OverwrittenError, SettingsConflictError
from ..jobs import ensure_folder, read_json, remove_leftovers, set_aside, write_json
from ..messages import Message
from .compare import describe_differences, differences

_log = logging.getLogger(__name__)

_FILE = "settings.json"
_OWN = "claim"
"""The section of the file that is about the file; absent where bchisto 0.1 wrote it."""

_SCHEMA = 2
_FIRST = {"bchisto": "0.1"}
"""What made a folder that does not say so."""


@dataclass(frozen=True)
class Mark:
    """What a part carries and is checked against; cheap to send to workers.

    Attributes
    ----------
    folder : Path
        The claimed folder.
    store : str
        The store that the part is made of; empty where there are none.
    sha256 : str
        Hash of the settings, and of those of the store.
    unmarked : bool
        Whether parts without a hash count: bchisto 0.1 began the folder.
    """

    folder: Path
    store: str
    sha256: str
    unmarked: bool

    def accepts(self, found: str | None) -> bool:
        """Whether a part that carries this hash was made under these settings."""
        return self.unmarked if found is None else found == self.sha256

    def hold(self) -> None:
        """Check that the folder is still held to these settings: called before a part or a result is written.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder with other settings meanwhile.
        """
        found = _read(self.folder / _FILE)
        if found is None or found.mark(self.folder, self.store).sha256 != self.sha256:
            raise OverwrittenError(
                f"{self.folder}: another command has overwritten this folder meanwhile; this one stops, so that their "
                "results do not mix"
            )


@dataclass
class _Content:
    """What stands in ``settings.json``."""

    settings: dict[str, Any]
    stores: dict[str, Any] | None
    own: dict[str, Any] = field(default_factory=dict)

    def mark(self, folder: Path, store: str) -> Mark:
        # hashed as the file has them, so that 1 and 1.0 from two commands are one
        about = [self.settings, (self.stores or {}).get(store)] if store else [self.settings]
        text = json.dumps(about, sort_keys=True, ensure_ascii=False)
        return Mark(folder, store, hashlib.sha256(text.encode()).hexdigest(), bool(self.own.get("unmarked")))

    def json(self) -> dict[str, Any]:
        if self.stores is None:
            return {**self.settings, _OWN: self.own}
        return {"settings": self.settings, "stores": self.stores, _OWN: self.own}


@dataclass(eq=False)
class Claim:
    """Work that wants a folder for itself. `check` refuses or agrees and writes nothing; `take` makes it so.

    Parameters
    ----------
    folder : Path
    settings : mapping
        What decides the content of every part, JSON-ready.
    work : sequence of str
        Patterns of the files that are work done. In a folder without any, other settings are no conflict: nothing was
        made under them.
    stores : mapping, optional
        What decides the content of the parts of one store, by its name. Further stores extend a folder.
    overwrite : bool
        Remove what is there.
    absent : mapping, optional
        Settings that came after the first release, with what their absence means.
    made_with : mapping, optional
        Package to version. Another minor version is no conflict; it is warned of and kept in the file.
    otherwise : str
        What a message proposes beside ``overwrite``.
    """

    folder: Path
    _: KW_ONLY
    settings: Mapping[str, Any]
    work: Sequence[str]
    stores: Mapping[str, Mapping[str, Any]] | None = None
    overwrite: bool = False
    absent: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = Message("another {out}")

    def __post_init__(self) -> None:
        self._file = self.folder / _FILE
        self._wanted = _Content(_plain(self.settings), None if self.stores is None else _plain(self.stores))
        self.absent = _plain(self.absent)

    def check(self) -> None:
        """Refuse a folder that holds work of other settings.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        InputError
            The file of settings is damaged, or of a newer version.
        """
        clashes = []
        for name, *sides in self._sides():
            if clash := describe_differences(*sides):
                clashes.append(f"{name}: {clash}" if name else clash)
        if clashes:
            raise other_settings(self.folder, "; ".join(clashes), otherwise=self.otherwise)

    def take(self) -> None:
        """Overwrite if asked to, then hold the folder to these settings and those of stores that are there already.

        Raises
        ------
        SettingsConflictError, InputError
            See `check`.
        OutputError
            Something cannot be removed or written.
        """
        self.check()
        if self.overwrite:
            set_aside(self.folder)
            self.overwrite = False
        remove_leftovers(self.folder)
        ensure_folder(Path(os.path.realpath(self.folder)))  # of a link whose target was set aside, the target anew
        content = self._wanted
        if (found := self._found()) is not None:
            if (stores := content.stores) is not None:
                stores = dict(sorted({**stores, **(found.stores or {})}.items()))
            content = _Content(found.settings, stores, found.own)
        self._write(content)

    @property
    def begun(self) -> bool:
        """Whether the folder holds work."""
        return any(next(self.folder.glob(pattern), None) is not None for pattern in self.work)

    def recorded(self, name: str) -> Any:
        """Return a setting of the work in the folder; None where there is none that stays, or no such setting.

        Raises
        ------
        InputError
            The file of settings is damaged, or of a newer version.
        """
        found = self._found()
        return None if found is None else found.settings.get(name)

    def begun_with(self, name: str) -> str | None:
        """Return a version or circumstance of the first work, "" where it is not noted; None where there is no work.

        Raises
        ------
        InputError
            The file of settings is damaged, or of a newer version.
        """
        if (found := self._found()) is None:
            return None
        noted = found.own.get("made_with") or [{}]
        return str(noted[0].get(name, ""))

    def mark(self, store: str = "") -> Mark:
        """Return what the parts of a store carry; after `take`."""
        found = _read(self._file)
        if found is None:
            raise OverwrittenError(f"{self._file}: removed meanwhile; run the same command again")
        return found.mark(self.folder, store)

    def note_work(self, environments: Iterable[Mapping[str, str]], **circumstances: str) -> None:
        """Keep what the work is done with, see `note_versions`: by this process, or by others of other versions."""
        for versions in environments:
            self.note_versions(**{**circumstances, **versions})

    def note_versions(self, **circumstances: str) -> None:
        """Keep which versions, and what else shows in results, work on the folder; called when there is work to do.

        Another minor version of a package than that which began the folder is warned of.
        """
        found, made_with = _read(self._file), {**self.made_with, **circumstances}
        if found is None or not made_with:
            return
        known = found.own.setdefault("made_with", [])
        if made_with in known:
            return
        if known:
            now = {name: version for name, version in made_with.items() if name in known[0]}
            begun = {name: known[0][name] for name in now}
            if any(_minor(begun[name]) != _minor(now[name]) for name in now):
                _log.warning(
                    Message(
                        "{}: begun in another environment ({}); where that gives other results, both are in this "
                        "folder, and {overwrite} makes all of it anew",
                        self.folder,
                        describe_differences(begun, now),
                    )
                )
        known.append(made_with)
        self._write(found)

    def differing(self) -> frozenset[str]:
        """Return the settings, also those of stores, that work in the folder was done under otherwise.

        Raises
        ------
        InputError
            The file of settings is damaged, or of a newer version.
        """
        return frozenset(name for _, old, new in self._sides() for name in differences(old, new))

    def _found(self) -> _Content | None:
        """Return what the work in the folder was done under; None where there is none, or none that is to stay."""
        found = None if self.overwrite else _read(self._file)
        return found if self.begun else None

    def _sides(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield the settings of the work and those wanted, without a name, and those of each store that is in both.

        A setting that one of two sides lacks has the value that its absence means.
        """
        if (found := self._found()) is None:
            return
        old = {"": found.settings, **(found.stores or {})}
        new = {"": self._wanted.settings, **(self._wanted.stores or {})}
        for name in sorted(old.keys() & new.keys()):
            known = old[name].keys() | new[name].keys()
            absent = {key: value for key, value in self.absent.items() if key in known}
            yield name, {**absent, **old[name]}, {**absent, **new[name]}

    def _write(self, content: _Content) -> None:
        content.own = {"schema_version": _SCHEMA, **content.own}
        try:
            same = self._file.is_file() and read_json(self._file) == content.json()
        except InputError:  # removed at this moment
            same = False
        if not same:
            write_json(self._file, content.json())


def other_settings(
    place: Path, differences: str, *, otherwise: str = Message("another {out}")
) -> SettingsConflictError:
    """Return the error for a place that was made with other settings."""
    return SettingsConflictError(
        "{}: made with other settings: {}; use the same settings, {}, or {overwrite}", place, differences, otherwise
    )


def _read(path: Path) -> _Content | None:
    """Read a file of settings of this version or of 0.1; None where there is none."""
    try:
        if not path.is_file():
            return None
        found = read_json(path)
    except InputError:
        if not path.is_file():  # overwritten at this moment
            return None
        raise
    own = found.pop(_OWN, {"unmarked": True, "made_with": [_FIRST]}) if isinstance(found, dict) else None
    if not isinstance(own, dict):
        raise InputError("{}: not a file of settings; use {overwrite} to begin this folder anew", path)
    if own.get("schema_version", _SCHEMA) > _SCHEMA:
        raise InputError(f"{path}: written by a newer bchisto; update this one")
    if isinstance(found.get("stores"), dict) and isinstance(found.get("settings"), dict):
        return _Content(found["settings"], found["stores"], own)
    return _Content(found, None, own)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as JSON has it: tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
