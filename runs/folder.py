"""The settings of a folder of work: a command that wants others is refused, unless it overwrites.

What a folder holds is named by keys, so two commands never mix their work. The settings, written whole into
``settings.json``, say so to people before hours of work, and keep the outputs of a folder those of its settings.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import InputError, Message, OverwrittenError, SettingsConflictError
from ..formats import read_json
from ..jobs import ensure_folder, remove_leftovers, set_aside, write_json
from .compare import describe_differences

_log = logging.getLogger(__name__)

_FILE = "settings.json"
_SCHEMA = 1
_STORES = "stores"
"""The setting that may grow: name of a store to its settings."""


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """What the work in a folder is done under.

    Attributes
    ----------
    folder : Path
    settings : mapping
        JSON-ready. Of ``stores`` only those are compared that both sides name: further stores extend a folder.
    work : sequence of str
        Patterns of the files that are work done. In a folder without any, other settings are no conflict.
    made_with : mapping
        Package to version, of this process. Another minor version is no conflict; it is warned of and noted.
    loose : frozenset of str
        Settings that are noted and may differ from those of the work that is there.
    otherwise : str
        What a message proposes beside ``overwrite``.
    """

    folder: Path
    settings: Mapping[str, Any]
    work: Sequence[str]
    made_with: Mapping[str, str] = field(default_factory=dict)
    loose: frozenset[str] = frozenset()
    otherwise: str = Message("another {out}")

    @property
    def begun(self) -> bool:
        """Whether the folder holds work."""
        return any(next(self.folder.glob(pattern), None) is not None for pattern in self.work)

    def check(self) -> None:
        """Refuse a folder that holds work of other settings; writes nothing.

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
        """Check, or empty the folder if it is to be overwritten; then write the settings.

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
        ensure_folder(Path(os.path.realpath(self.folder)))  # of a link whose target was set aside, the target anew
        content = self._read() if self.begun else {}
        settings = _plain(self.settings)
        if _STORES in settings:
            stores = {**content.get("settings", {}).get(_STORES, {}), **settings[_STORES]}
            settings[_STORES] = dict(sorted(stores.items()))
        self._write(settings, content.get("made_with", []))

    def hold(self) -> None:
        """Check that the folder is still of these settings: called before results are put together.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder with other settings meanwhile.
        """
        content = self._read()
        if not content or self._differences(content["settings"]):
            raise OverwrittenError(
                f"{self.folder}: another command has overwritten this folder meanwhile; this one stops, so that their "
                "results do not mix"
            )

    def begun_with(self, name: str) -> str | None:
        """Return a version or circumstance of the first work, "" if it is not noted; None if there is no work."""
        content = self._read() if self.begun else {}
        return str((content.get("made_with") or [{}])[0].get(name, "")) if content else None

    def note_work(self, environments: Iterable[Mapping[str, str]], **circumstances: str) -> None:
        """Note what the work is done with: versions of this process, or those of workers, and circumstances.

        Another minor version of a package than that which began the folder is warned of.
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
        """Describe how the settings of the folder differ from these; empty if they do not."""
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
        """Read the file of settings; empty if there is none."""
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
    """Return a mapping as JSON has it: tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
