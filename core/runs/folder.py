"""The settings of a folder of work: a command with other settings is refused, unless it overwrites the folder.

Files in the folder carry keys, so two commands never mix their work. ``settings.json`` lists the settings for people:
a command with other settings stops before hours of work, and all outputs of a folder belong to the same settings.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import InputError, Message, OverwrittenError, SettingsConflictError
from ..formats import read_json
from ..jobs import ensure_folder, remove_leftovers, set_aside, write_json
from .compare import describe_differences

_log = logging.getLogger(__name__)

_FILE = "settings.json"
_SCHEMA = 1
_STORES = "stores"
"""The only setting to which later commands may add: name of a feature file to its settings."""


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """The settings with which the work in a folder is done.

    Attributes
    ----------
    folder : Path
    settings : mapping
        JSON-ready. Of ``stores``, only those on both sides are compared: further feature files extend a folder.
    work : sequence of str
        Glob patterns of finished work. In a folder without such files, other settings are not a conflict.
    made_with : mapping
        Package to version, of this process. Another minor version is not a conflict, but recorded, with a warning.
    loose : frozenset of str
        Settings that are recorded, but may differ from those of the existing work.
    otherwise : str
        The alternative to ``overwrite`` that a message suggests.
    """

    folder: Path
    settings: Mapping[str, Any]
    work: Sequence[str]
    made_with: Mapping[str, str] = field(default_factory=dict)
    loose: frozenset[str] = frozenset()
    otherwise: str = Message("another {out}")

    @property
    def begun(self) -> bool:
        """Whether the folder contains finished work."""
        return any(next(self.folder.glob(pattern), None) is not None for pattern in self.work)

    def check(self) -> None:
        """Refuse a folder with work of other settings; this writes nothing.

        Raises
        ------
        SettingsConflictError
            The message lists the differences.
        InputError
            ``settings.json`` is damaged, or of a newer version.
        """
        content = self._read() if self.begun else {}
        if content and (differences := self._differences(content["settings"])):
            raise other_settings(self.folder, differences, otherwise=self.otherwise)

    def begin(self, *, overwrite: bool = False) -> None:
        """Check the folder, or remove its contents if `overwrite` is set; then write the settings.

        Raises
        ------
        SettingsConflictError, InputError
            See `check`.
        OutputError
            Something cannot be removed or written.
        """
        if overwrite:
            set_aside(self.folder)
        else:
            self.check()
        remove_leftovers(self.folder)
        ensure_folder(Path(os.path.realpath(self.folder)))  # of a link, this creates the target that was set aside
        content = self._read() if self.begun else {}
        settings = _plain(self.settings)
        if _STORES in settings:
            stores = {**content.get("settings", {}).get(_STORES, {}), **settings[_STORES]}
            settings[_STORES] = dict(sorted(stores.items()))
        self._write(settings, content.get("made_with", []))

    def hold(self) -> None:
        """Check that the folder still has these settings; called before results are combined.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder with other settings in the meantime.
        """
        content = self._read()
        if not content or self._differences(content["settings"]):
            raise OverwrittenError(
                f"{self.folder}: another command has overwritten this folder meanwhile; this one stops, so that their "
                "results do not mix"
            )

    def begun_with(self, name: str) -> str | None:
        """Return a version or circumstance of the first work; "" if it was not recorded, None if there is no work."""
        content = self._read() if self.begun else {}
        return str((content.get("made_with") or [{}])[0].get(name, "")) if content else None

    def note_work(self, environments: Iterable[Mapping[str, str]], **circumstances: str) -> None:
        """Record the environment of the work: versions of this process, or of workers, and circumstances.

        A warning is logged if a package has another minor version than in the first work of the folder.
        """
        content = self._read()
        known: list[dict[str, str]] = content.get("made_with", [])
        for versions in environments:
            now = {**self.made_with, **circumstances, **versions}
            if not content or not now or now in known:
                continue
            first = {name: version for name, version in (known[0] if known else {}).items() if name in now}
            if any(_minor(version) != _minor(now[name]) for name, version in first.items()):
                _log.warning(
                    Message(
                        "{}: started with other package versions ({}); results may be mixed, and "
                        "{overwrite} computes all of it again",
                        self.folder,
                        describe_differences(first, {name: now[name] for name in first}),
                    )
                )
            known.append(now)
            self._write(content["settings"], known)

    def _differences(self, old: Mapping[str, Any]) -> str:
        """Describe how the settings of the folder differ from these; empty if they are the same."""
        new = _plain(self.settings)
        stores = [
            (name, old[_STORES][name], new[_STORES][name]) for name in old.get(_STORES, {}) if name in new[_STORES]
        ]
        whole = (
            "",
            *({name: side[name] for name in side if name not in {_STORES, *self.loose}} for side in (old, new)),
        )
        clashes = [(name, describe_differences(a, b)) for name, a, b in (whole, *stores)]
        return "; ".join(f"{name}: {clash}" if name else clash for name, clash in clashes if clash)

    def _read(self) -> dict[str, Any]:
        """Return the content of the settings file; empty if there is none."""
        path = self.folder / _FILE
        try:
            if not path.is_file():
                return {}
            content = read_json(path)
        except InputError:
            if not path.is_file():  # overwritten at this moment
                return {}
            raise
        if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
            raise InputError("{}: not a file of settings; use {overwrite} to begin this folder again", path)
        if content.get("schema_version", _SCHEMA) > _SCHEMA:
            raise InputError(f"{path}: written by a newer bchisto; update this one")
        return content

    def _write(self, settings: Mapping[str, Any], made_with: Sequence[Mapping[str, str]]) -> None:
        content = {"schema_version": _SCHEMA, "settings": settings, "made_with": list(made_with)}
        if self._read() != content:
            write_json(self.folder / _FILE, content)


def other_settings(path: Path, differences: str, *, otherwise: str = Message("another {out}")) -> SettingsConflictError:
    """Return the error for a file or folder that was made with other settings."""
    return SettingsConflictError(
        "{}: made with other settings: {}; use the same settings, {}, or {overwrite}", path, differences, otherwise
    )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping in the types of JSON, with tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
