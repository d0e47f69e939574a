"""Folders of work: which of their units are done, read from their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.runs import read_listing

_PARTS = ".parts"


@dataclass(frozen=True)
class Unit:
    """A unit of a folder.

    Attributes
    ----------
    done, begun : bool
        Whether its file exists; whether a file in progress exists.
    changed : float or None
        When one of its files last changed, in seconds since 1970.
    epochs : int
        Number of saved epochs of the fold of a network.
    """

    done: bool
    begun: bool
    changed: float | None
    epochs: int = 0


@dataclass(frozen=True)
class Folder:
    """A feature file, or a cross-validation scheme with its classifier or network.

    Attributes
    ----------
    name : str
    complete : bool
        Whether its units are merged.
    unit : str
        Name of the units, in the plural.
    groups : tuple of tuple of Unit
        Units as shards share them; empty if all is merged.
    """

    name: str
    complete: bool
    unit: str = ""
    groups: tuple[tuple[Unit, ...], ...] = ()

    @property
    def units(self) -> list[Unit]:
        """All units."""
        return [unit for group in self.groups for unit in group]

    def of_shard(self, index: int, count: int) -> list[Unit]:
        """Return the units of a shard, which counts from 1."""
        return [unit for group in self.groups[index - 1 :: count] for unit in group]


def read_folders(run: Path, command: str) -> Iterator[Folder]:
    """Yield the folders of a command's work in a run, by name.

    Raises
    ------
    InputError
        A list of units is damaged.
    """
    if command == "reproduce":
        yield Folder(command, any(run.glob("reproduce/*/report.html")))
        for path in (run, *sorted(run.glob("*/run.json")), *sorted(run.glob("*/*/run.json"))):  # magnifications, seeds
            own = path if path is run else path.parent
            for step in ("featurize", "boost", "finetune"):
                for folder in read_folders(own, step):
                    yield replace(folder, name=(own.relative_to(run) / step / folder.name).as_posix())
        return
    root = run / ("features" if command == "featurize" else command)
    paths = sorted(root.iterdir()) if root.is_dir() else []
    if command != "featurize":
        for path in paths:
            if path.is_dir() and (path / "settings.json").is_file():
                yield _read(path, path.name, complete=(path / "predictions.csv").is_file())
        return
    stores = {path.stem for path in paths if path.suffix == ".h5"}
    parts = {path.name.removesuffix(_PARTS): path for path in paths if path.name.endswith(_PARTS) and path.is_dir()}
    for name in sorted(stores | parts.keys()):
        yield _read(parts[name], name, complete=name in stores) if name in parts else Folder(name, True)


def stores_of(run: Path) -> set[Path]:
    """Return the paths of the feature files that a run has or has begun, and of their folder, as absolute paths."""
    folder = run.absolute() / "features"
    return {folder, *(folder / f"{store.name}.h5" for store in read_folders(run, "featurize"))}


def count_groups(run: Path, command: str) -> int:
    """Return the number of pieces into which the work of a command can be divided: shards share each folder."""
    return max((len(folder.groups) for folder in read_folders(run, command)), default=0)


def _read(path: Path, name: str, *, complete: bool) -> Folder:
    listing = read_listing(path)
    if listing is None:
        return Folder(name, complete)
    files, changed = set(), dict[str, float]()
    for folder, _, names in os.walk(path):
        for file in os.scandir(folder) if names else ():
            if file.is_file():
                relative = os.path.relpath(file.path, path)
                files.add(relative)
                stem = _stem(relative)
                changed[stem] = max(changed.get(stem, 0.0), file.stat().st_mtime)
    groups = tuple(
        tuple(
            Unit(not file or file in files, bool(file) and file not in files and _stem(file) in changed,
                 changed.get(_stem(file)) if file else None, _epochs(path, file))
            for file in group
        )
        for group in listing.groups
    )  # fmt: skip
    return Folder(name, False, listing.unit, groups)


def _stem(file: str) -> str:
    """Return the common beginning of the names of a unit's files: result, state of a fold, file in progress."""
    folder, _, name = file.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _epochs(folder: Path, file: str) -> int:
    """Return the saved epochs of a fold of a network, which has a line for each in its log; 0 for other units."""
    if folder.parent.name != "finetune":
        return 0
    log = folder / "logs" / f"{Path(file).name.partition('-')[0]}.csv"
    return max(0, log.read_bytes().count(b"\n") - 1) if log.is_file() else 0
