"""List all files below a folder, and report everything that cannot be read."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ..core import InputError, few
from ..core.formats import SLIDE, SLIDE_SUFFIXES, limits
from .dataset import IMAGE_KINDS, IMAGE_SUFFIXES, UNREAD
from .findings import Finding

_Inode = tuple[int, int]
"""Device and inode of a folder, which are the same for all links to it."""

_MATTERS = IMAGE_SUFFIXES | {""}

SYSTEM = re.compile(
    r"\._.*|\.ds_store|\.ipynb_checkpoints|\.appledouble|__macosx|@eadir|[@#]recycle|lost\+found|icon\r|desktop\.ini|"
    r"(eh)?thumbs\.db.*|system volume information|\$recycle\.bin",
    re.IGNORECASE | re.DOTALL,
)
"""Files and folders that operating systems, archives and notebooks leave beside images."""


def walk_files(
    root: Path,
    findings: list[Finding],
    *,
    skip: Mapping[str, str] | None = None,
    hidden: bool = False,
) -> Iterator[Path]:
    """Yield every regular file below a folder that is not a whole slide, in the order of names.

    Links to files and folders are followed. Folders whose name begins with a dot, and what systems leave (``__MACOSX``,
    ``Thumbs.db``, ``._a.png``), are skipped.

    Parameters
    ----------
    root : Path
    findings : list of Finding
        Problems are appended. Errors are folders that cannot be listed, broken links to an image or a folder, circular
        links, and folders that are listed too often. Warnings are whole slides, pipes, sockets, devices, and other
        broken links.
    skip : mapping of str to str
        Names of folders, in lower case, that are neither listed nor opened, with the reason for the note.
    hidden : bool
        Also yield files whose name begins with a dot.
    """
    skip = skip or {}
    visits: Counter[_Inode] = Counter()

    def shown(path: Path) -> str:
        return path.relative_to(root).as_posix() if path != root else str(root)

    def walk(folder: Path, above: tuple[_Inode, ...]) -> Iterator[Path]:
        try:
            status = folder.stat()
            inode = (status.st_dev, status.st_ino)
            visits[inode] += inode not in above
            if inode in above or visits[inode] > limits.FOLDER_VISITS:
                often = (
                    f"links lead to this folder more than {limits.FOLDER_VISITS} times; remove some"
                )
                message = "a circular link; remove it" if inode in above else often
                findings.append(Finding("error", shown(folder), message))
                return
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            findings.append(_unreadable(shown(folder), error))
            return
        for entry in entries:
            name, path = entry.name, folder / entry.name
            if SYSTEM.fullmatch(name):
                continue
            visible = hidden or not name.startswith(".")
            try:
                # the listing of the folder contains the kind of each entry; only links need a look at their target
                mode = path.stat().st_mode if entry.is_symlink() else None
                is_folder = entry.is_dir() if mode is None else stat.S_ISDIR(mode)
                is_file = entry.is_file() if mode is None else stat.S_ISREG(mode)
            except OSError as error:
                if visible:
                    findings.append(_unreadable(shown(path), error, link=entry.is_symlink()))
                continue
            if is_folder:
                if name.casefold() in skip:
                    findings.append(Finding("note", shown(path), skip[name.casefold()]))
                elif os.path.isfile(path / "run.json") and os.path.isdir(path / "records"):  # noqa: PTH112, PTH113 - without errors
                    findings.append(
                        Finding("note", shown(path), "a run folder of bchisto, left out")
                    )
                elif not name.startswith("."):
                    yield from walk(path, (*above, inode))
            elif not is_file:
                findings.append(
                    Finding(
                        "warning", shown(path), "a pipe, socket or device and no file, left out"
                    )
                )
            elif visible and path.suffix.casefold() in SLIDE_SUFFIXES:
                findings.append(Finding("warning", shown(path), f"{SLIDE}; left out"))
            elif visible:
                yield path

    return walk(root, ())


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, and not one of a system; False if it cannot be read, which `walk_files` reports."""
    try:
        return path.is_dir() and not SYSTEM.fullmatch(path.name)
    except OSError:
        return False


def _unreadable(name: str, error: OSError, *, link: bool = False) -> Finding:
    """Return a finding for a folder that cannot be listed, an unreadable file, or a broken link."""
    # a link without a suffix may have led to a folder of images
    level: Literal["warning", "error"] = "error"
    if link and Path(name).suffix.casefold() not in _MATTERS:
        level = "warning"
    what = "a link that leads nowhere" if link else "cannot be read"
    return Finding(
        level, name, f"{what} ({error.strerror or error}); correct it, or remove it from the images"
    )


def list_images(root: Path, findings: list[Finding]) -> dict[str, Path]:
    """Return the images below a folder by their POSIX path in it, in the order of names.

    Parameters
    ----------
    root : Path
    findings : list of Finding
        Those of `walk_files` are appended, a warning for each picture of a kind that is not read, and a note for each
        other file.

    Raises
    ------
    InputError
        There is no image, although all folders could be read; the message counts what is there.
    """
    files: dict[str, Path] = {}
    others: dict[str, list[str]] = {}
    for path in sorted(walk_files(root, findings)):
        name, suffix = path.relative_to(root).as_posix(), path.suffix.casefold()
        if suffix in IMAGE_SUFFIXES:
            files[name] = path
        else:
            others.setdefault(suffix, []).append(name)
    for suffix, names in others.items():
        text = "not a picture, left out"
        if unread := UNREAD.fullmatch(suffix):
            text = f"{len(names)} {suffix} pictures are not read; save them as PNG or TIFF"
        findings.extend(Finding("warning" if unread else "note", name, text) for name in names)
    slides = [finding.file for finding in findings if finding.message.startswith(SLIDE)]
    if slides and not files:
        raise InputError(f"{root}: no image in this folder; {few(slides)}: {SLIDE}")
    if not files and all(finding.level != "error" for finding in findings):
        there = few(
            (f"{len(names)} {suffix or 'without suffix'}" for suffix, names in others.items()),
            most=5,
        )
        cure = "; save the pictures as PNG or TIFF" if any(map(UNREAD.fullmatch, others)) else ""
        raise InputError(
            f"{root}: no {IMAGE_KINDS} image in this folder"
            + (f", but {there}{cure}" if there else "")
        )
    return files
