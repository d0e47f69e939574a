"""Every file below a folder; nothing that cannot be read is passed over in silence."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from ..core import InputError, few
from ..formats import SLIDE, is_slide, limits
from .dataset import IMAGE_SUFFIXES
from .findings import Finding

_Inode = tuple[int, int]
"""Device and number of a folder, whatever links lead to it."""

_MATTERS = IMAGE_SUFFIXES | {""}

_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})
"""Folders that an operating system keeps on a disk, mostly unreadable."""


def walk_files(
    root: Path, findings: list[Finding], *, skip: Mapping[str, str] | None = None, hidden: bool = False
) -> Iterator[Path]:
    """Yield every regular file below a folder that is not a whole slide, by folders in the order of their names.

    Links to files and folders are followed. Folders whose name begins with a dot are passed over.

    Parameters
    ----------
    root : Path
    findings : list of Finding
        Gets an error for each folder that cannot be listed, each link whose target is not there, and each that leads in
        a circle or to a folder that was listed too often; a warning for a whole slide, a pipe, a socket or a device,
        and for a link that names no image or folder.
    skip : mapping of str to str
        Names of folders, in lower case, that are neither listed nor opened, and the note that says why.
    hidden : bool
        Yield files whose name begins with a dot, too.
    """
    skip = skip or {}
    visits: Counter[_Inode] = Counter()

    def shown(path: Path) -> str:
        return path.relative_to(root).as_posix() if path != root else str(root)

    def walk(folder: Path, above: tuple[_Inode, ...]) -> Iterator[Path]:
        try:
            status = folder.stat()
            here = (status.st_dev, status.st_ino)
            if (refused := _closed(shown(folder), here, above, visits)) is not None:
                findings.append(refused)
                return
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            findings.append(_unreadable(shown(folder), error, folder=True))
            return
        for entry in entries:
            name, path = entry.name, folder / entry.name
            seen = hidden or not name.startswith(".")
            try:
                # the kind of an entry is known from its folder, but for links, whose target is asked
                mode = path.stat().st_mode if entry.is_symlink() else None
                is_folder = entry.is_dir() if mode is None else stat.S_ISDIR(mode)
                is_file = entry.is_file() if mode is None else stat.S_ISREG(mode)
            except OSError as error:
                if seen:
                    findings.append(_unreadable(shown(path), error, link=entry.is_symlink()))
                continue
            if is_folder:
                if name.casefold() in skip:
                    findings.append(Finding("note", shown(path), skip[name.casefold()]))
                elif _is_run(path):
                    findings.append(Finding("note", shown(path), "a run folder of bchisto, left out"))
                elif not (name.startswith(".") or name in _SYSTEM):
                    yield from walk(path, (*above, here))
            elif not is_file:
                findings.append(Finding("warning", shown(path), "a pipe, socket or device and no file, left out"))
            elif seen and is_slide(path):
                findings.append(Finding("warning", shown(path), f"{SLIDE}; left out"))
            elif seen:
                yield path

    return walk(root, ())


def _is_run(folder: Path) -> bool:
    """Whether a folder is what commands write into: its pictures are no images of the dataset."""
    try:
        return (folder / "run.json").is_file() and (folder / "records").is_dir()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; not so where it cannot be asked, which `walk_files` names."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _closed(name: str, here: _Inode, above: Collection[_Inode], visits: Counter[_Inode]) -> Finding | None:
    """Return the error about a folder that is not entered: by a link in a circle, or by many links that fan out."""
    if here in above:
        return Finding("error", name, "a circular link; remove it")
    visits[here] += 1
    if visits[here] > limits.FOLDER_VISITS:
        return Finding("error", name, f"links lead to this folder more than {limits.FOLDER_VISITS} times; remove some")
    return None


def _unreadable(name: str, error: OSError, *, link: bool = False, folder: bool = False) -> Finding:
    """Return the finding about a folder that cannot be listed, or a file or link that leads nowhere."""
    why = error.strerror or str(error)
    if link:
        # without a suffix it may have been a folder of images
        level: Literal["warning", "error"] = "error" if Path(name).suffix.casefold() in _MATTERS else "warning"
        gone = isinstance(error, FileNotFoundError)
        what = "a link to something that is not there" if gone else f"a link that leads nowhere ({why})"
        return Finding(level, name, f"{what}; correct or remove it")
    what = "this folder cannot be listed" if folder else "cannot be read"
    return Finding("error", name, f"{what} ({why}); correct it, or remove it from the images")


def refuse_only_slides(root: Path, findings: list[Finding]) -> None:
    """Refuse a folder without an image in which whole slides were met.

    Raises
    ------
    InputError
        Names them.
    """
    slides = [finding.file for finding in findings if finding.message.startswith(SLIDE)]
    if slides:
        raise InputError(f"{root}: no image in this folder; {few(slides)}: {SLIDE}")
