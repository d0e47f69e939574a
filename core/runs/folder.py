"""A folder of work: its settings, the list of its units, and how settings and images differ from earlier ones.

The keys of units depend on images, weights and settings. Code that only reports the progress does not have these, and
reads the list of units, ``units.json``.

Files in the folder carry keys, so two commands never mix their work. ``settings.json`` lists the settings for people:
a command with other settings stops before hours of work, and all outputs of a folder belong to the same settings.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import (
    Content,
    Entries,
    InputError,
    Message,
    OverwrittenError,
    SettingsConflictError,
    counted,
    few,
)
from ..formats import read_json
from ..jobs import ensure_folder, remove_leftovers, set_aside, write_json

Values = Entries
"""Settings and the like, by name."""

Versions = Mapping[str, str]
"""Package or circumstance to its version."""

LabelAndGroup = tuple[str, str]
"""Label and group of an image; empty if unknown."""

_NAMED = 20
"""Largest number of removed images that one line names."""


@dataclass(frozen=True)
class ImageChange:
    """The differences between an old and a new set of images.

    Attributes
    ----------
    added, removed : tuple of str
        Ids of images that are only in the new set, or only in the old set.
    relabelled, regrouped : tuple of str
        Ids of images in both sets whose label, or group, has changed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    regrouped: tuple[str, ...] = ()

    @classmethod
    def between(
        cls, old: Mapping[str, LabelAndGroup], new: Mapping[str, LabelAndGroup]
    ) -> ImageChange:
        """Compare two sets of images, each given as image id to label and group.

        Examples
        --------
        >>> str(ImageChange.between({"a": ("x", ""), "b": ("x", "")}, {"b": ("y", ""), "c": ("x", "")}))
        '1 image added (c), 1 image removed (a), 1 label changed (b)'
        """
        both = [image for image in new if image in old]
        return cls(
            tuple(image for image in new if image not in old),
            tuple(image for image in old if image not in new),
            tuple(image for image in both if old[image][0] != new[image][0]),
            tuple(image for image in both if old[image][1] != new[image][1]),
        )

    def __str__(self) -> str:
        parts = []
        for images, noun, what in (
            (self.added, "image", "added"),
            (self.removed, "image", "removed"),
            (self.relabelled, "label", "changed"),
            (self.regrouped, "group", "changed"),
        ):
            if images:
                # removed images are named, since they cannot be looked up any more
                names = few(images, most=_NAMED if what == "removed" else 1)
                parts.append(f"{counted(len(images), noun)} {what} ({names})")
        return ", ".join(parts)

    def json(self) -> Content:
        """Return all non-empty fields as lists, JSON-ready."""
        return {name: list(images) for name, images in vars(self).items() if images}


_HASH = "_sha256"


def differences(old: Values, new: Values) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, each with the old and the new value (``None`` if missing).

    Examples
    --------
    >>> differences({"crops": 20, "pool": 3}, {"crops": 10, "pool": 3})
    {'crops': (20, 10)}
    """
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def describe_differences(
    old: Values,
    new: Values,
    *,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the differences as one line; a checksum is not printed, but described as "other images", for example.

    Parameters
    ----------
    old, new : mapping
    texts : mapping
        Key to the text that replaces the old and new value, if they differ.

    Examples
    --------
    >>> describe_differences({"batch_size": 4, "images_sha256": "5e43"}, {"batch_size": 3, "images_sha256": "3989"})
    'batch size 4 -> 3, other images'
    """
    parts = []
    for key, (old_value, new_value) in differences(old, new).items():
        name = key.removesuffix(_HASH).replace("_", " ")
        text = f"{name} {_short(old_value)} -> {_short(new_value)}"
        if key.endswith(_HASH):
            text = f"other {name}"
        parts.append(texts.get(key) or text)
    return ", ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    text = str(value)
    if len(text) > 60:
        return f"{text[:12]}..."
    return text


_LISTED = "units.json"
_SCHEMA = 1


def write_listing(folder: Path, unit: str, groups: Sequence[Sequence[str]]) -> None:
    """Write the list of a folder's units, unless it is there already, as with shards that begin at the same time."""
    content = {"schema_version": _SCHEMA, "unit": unit, "groups": [list(group) for group in groups]}
    with contextlib.suppress(InputError):
        if _read_whole(folder / _LISTED) == content:
            return
    write_json(folder / _LISTED, content)


def _read_whole(path: Path) -> Any:
    """Return the content of a JSON file; None if there is none, as when another process has just removed it."""
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except InputError:
        if path.is_file():
            raise
        return None


def read_listing(folder: Path) -> tuple[str, tuple[tuple[str, ...], ...]] | None:
    """Return the list of a folder's units, whose results are not combined yet; None if there is no list.

    Returns
    -------
    unit : str
        Name of the units, in the plural.
    groups : tuple of tuple of str
        Groups of units that belong to the same shard: for each unit its file, relative to the folder. The name is empty
        if the unit's file is not needed any more.

    Raises
    ------
    InputError
        The file is damaged.
    """
    content = _read_whole(folder / _LISTED)
    if content is None:
        return None
    try:
        return str(content["unit"]), tuple(tuple(map(str, group)) for group in content["groups"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / _LISTED}: not a list of units; run the command of this folder again"
        ) from error


def remove_listing(folder: Path) -> None:
    """Remove the list, once the results of all units are combined."""
    (folder / _LISTED).unlink(missing_ok=True)


_log = logging.getLogger(__name__)

_FILE = "settings.json"
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
    settings: Values
    work: Sequence[str]
    made_with: Versions = field(default_factory=dict)
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
        content = self._read_begun()
        if content:
            changes = self._differences(content["settings"])
            if changes:
                raise other_settings(self.folder, changes, otherwise=self.otherwise)

    def begin(self) -> None:
        """Check the folder, then write the settings.

        Raises
        ------
        SettingsConflictError, InputError
            See `check`.
        OutputError
            Something cannot be removed or written.
        """
        self.check()
        remove_leftovers(self.folder)
        # of a link, this creates the target, which may have been set aside
        ensure_folder(Path(os.path.realpath(self.folder)))
        content = self._read_begun()
        settings = json.loads(json.dumps(self.settings))  # with tuples as lists
        if _STORES in settings:
            stores = {**content.get("settings", {}).get(_STORES, {}), **settings[_STORES]}
            settings[_STORES] = dict(sorted(stores.items()))
        new_content = {
            "schema_version": _SCHEMA,
            "settings": settings,
            "made_with": content.get("made_with", []),
        }
        if self._read() != new_content:
            write_json(self.folder / _FILE, new_content)

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
        content = self._read_begun()
        if not content:
            return None
        first: Versions = next(iter(content.get("made_with", [])), {})
        return str(first.get(name, ""))

    def note_work(self, environments: Iterable[Versions], **circumstances: str) -> None:
        """Record the environment of the work: versions of this process, or of workers, and circumstances.

        A warning is logged if a package has another minor version than in the first work of the folder.
        """
        content = self._read()
        if not content:
            return
        recorded = content.get("made_with", [])
        for versions in environments:
            environment = {**self.made_with, **circumstances, **versions}
            if not environment or environment in recorded:
                continue
            # versions of the first work, which another minor version may not repeat
            first = {
                name: version
                for name, version in next(iter(recorded), {}).items()
                if name in environment
            }
            if any(_minor(version) != _minor(environment[name]) for name, version in first.items()):
                text = "{}: started with other package versions ({}), so results may be mixed"
                remedies = [
                    Message("another {out} keeps them apart"),
                    Message("{overwrite} computes all of it again"),
                ]
                changes = describe_differences(first, {name: environment[name] for name in first})
                _log.warning(Message(text, self.folder, changes, remedies=remedies))
            recorded.append(environment)
            write_json(
                self.folder / _FILE, {**content, "schema_version": _SCHEMA, "made_with": recorded}
            )

    def _differences(self, old: Values) -> str:
        """Describe how these settings differ from the old ones of the folder; empty if they are the same."""
        new = json.loads(json.dumps(self.settings))
        left_out = {_STORES, *self.loose}
        old_settings, new_settings = (
            {name: value for name, value in settings.items() if name not in left_out}
            for settings in (old, new)
        )
        clashes = [describe_differences(old_settings, new_settings)]
        new_stores = new.get(_STORES, {})
        for name, store in old.get(_STORES, {}).items():
            clash = describe_differences(store, new_stores.get(name, store))
            if clash:
                clashes.append(f"{name}: {clash}")
        return "; ".join(filter(None, clashes))

    def _read_begun(self) -> Content:
        """Return the content of the settings file; empty if there is no finished work."""
        if not self.begun:
            return {}
        return self._read()

    def _read(self) -> Content:
        """Return the content of the settings file; empty if there is none."""
        path = self.folder / _FILE
        content = _read_whole(path)
        if content is None:
            return {}
        if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
            remedies = [Message("use another {out}"), Message("{overwrite} to begin it again")]
            raise InputError("{}: not a file of settings", path, remedies=remedies)
        if content.get("schema_version", _SCHEMA) > _SCHEMA:
            raise InputError(f"{path}: written by a newer bchisto; update this one")
        return content


def other_settings(
    path: Path, differences: str, *, otherwise: str = Message("another {out}")
) -> SettingsConflictError:
    """Return the error for a file or folder that was made with other settings."""
    return SettingsConflictError(
        "{}: made with other settings: {}",
        path,
        differences,
        remedies=["use the same settings", otherwise, Message("{overwrite}")],
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


class InFolder(ABC):
    """What a `Computation` does with a folder of work that has settings: it goes on only with the same ones."""

    @property
    @abstractmethod
    def folder_settings(self) -> FolderSettings:
        """The folder, with the settings that determine its content."""

    def check(self) -> None:
        """Refuse a folder with work of other settings."""
        self.folder_settings.check()

    def discard(self) -> None:
        """Set aside the folder."""
        set_aside(self.folder_settings.folder)

    def begin(self) -> None:
        """Write the settings of the folder."""
        self.folder_settings.begin()
