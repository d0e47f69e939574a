"""The file names below a folder, kept between runs by the modification stamps of its folders.

A tree of 277,524 files in 558 folders is listed once; later only the folders' stamps are read. The list lies in
the user's cache folder, never among the images.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...jobs import ensure_folder, write_json
from ..findings import Finding
from ..walk import Inode, closed, unreadable

_SCHEMA = 2
_SETTLED_NS = 2_000_000_000
"""A folder changed less than this before it was listed is listed again: file systems stamp in steps."""


def cache_folder() -> Path:
    """Return ``$BCHISTO_CACHE``, else ``bchisto`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("BCHISTO_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bchisto"


@dataclass
class FileIndex:
    """Names of files by folder.

    Attributes
    ----------
    root : Path
        Absolute.
    folders : dict of str to dict
        Path from the root to ``stamp`` (nanoseconds), ``folders`` and ``files``, both sorted.
    equal : dict of str to str
        Folder to another folder whose files of the same names were found to be equal.
    listed : int
        Folders that were listed now, since they are new or changed.
    findings : list of Finding
        Folders that cannot be listed, and links that lead nowhere or in a circle.
    """

    root: Path
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    equal: dict[str, str] = field(default_factory=dict)
    listed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path, *, on_files: Callable[[int], None] = lambda count: None) -> FileIndex:
        """List a tree, folder by folder, from the cache where the stamp is that of last time.

        Parameters
        ----------
        root : Path
        on_files : callable
            Called with the number of files found so far.
        """
        root = root.resolve()
        known = _load(root)
        index = cls(root)
        changed: set[str] = set()
        waiting = [""]
        above: dict[str, tuple[Inode, ...]] = {"": ()}
        visits: Counter[Inode] = Counter()
        count = 0
        while waiting:
            name = waiting.pop()
            try:
                status = (root / name).stat()
                here = (status.st_dev, status.st_ino)
                if (refused := closed(name, here, above[name], visits)) is not None:
                    index.findings.append(refused)
                    continue
                entry = known["folders"].get(name)
                if entry is None or entry["stamp"] != status.st_mtime_ns:
                    entry = _list(root, name, status.st_mtime_ns, index.findings)
                    index.listed += 1
                    changed.add(name)
            except OSError as error:
                index.findings.append(unreadable(name or str(root), error, folder=True))
                continue
            index.folders[name] = entry
            above |= {f"{name}/{folder}".lstrip("/"): (*above[name], here) for folder in entry["folders"]}
            waiting.extend(f"{name}/{folder}".lstrip("/") for folder in reversed(entry["folders"]))
            count += len(entry["files"])
            on_files(count)
        index.equal = {a: b for a, b in known["equal"].items() if {a, b} <= index.folders.keys() - changed}
        return index

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield (folder from the root, file name) in a fixed order."""
        return ((folder, name) for folder in sorted(self.folders) for name in self.folders[folder]["files"])

    def save(self) -> None:
        """Keep the index for next time; a cache folder that cannot be written is no error."""
        path = _place(self.root)
        with contextlib.suppress(OSError):
            ensure_folder(path.parent)
            write_json(path, {"schema": _SCHEMA, "root": str(self.root), "folders": self.folders, "equal": self.equal})


def _list(root: Path, name: str, stamp: int, findings: list[Finding]) -> dict[str, Any]:
    folders: list[str] = []
    files: list[str] = []
    linked = False
    with os.scandir(root / name) as entries:
        for entry in entries:
            try:
                linked |= entry.is_symlink()
                folder = stat.S_ISDIR(entry.stat().st_mode) if entry.is_symlink() else entry.is_dir()
                (folders if folder else files).append(entry.name)
            except OSError as error:
                findings.append(unreadable(f"{name}/{entry.name}".lstrip("/"), error, link=True))
    # what a link leads to changes without the folder's stamp, so a folder with links is listed again
    settled = time.time_ns() - stamp > _SETTLED_NS and not linked
    return {"stamp": stamp if settled else -1, "folders": sorted(folders), "files": sorted(files)}


def _place(root: Path) -> Path:
    return cache_folder() / "index" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"


def _load(root: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads(_place(root).read_text(encoding="utf-8"))
        whole = found["schema"] == _SCHEMA and found["root"] == str(root)
        if whole and all({"stamp", "folders", "files"} <= entry.keys() for entry in found["folders"].values()):
            return {"folders": dict(found["folders"]), "equal": dict(found["equal"])}
    return {"folders": {}, "equal": {}}
