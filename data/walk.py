"""List all files below a folder, report what cannot be read, and name pictures that are perhaps of other images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ..core import InputError, Message, counted, few, system_reason
from ..core.formats import SLIDE, SLIDE_SUFFIXES, limits
from .dataset import IMAGE_KINDS, IMAGE_SUFFIXES, UNREAD
from .findings import LEAVE_OUT, Finding, Level, has_errors

_Inode = tuple[int, int]
"""Device and inode of a folder, which are the same for all links to it."""

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
    return _Walk(root, findings, skip or {}, hidden).files(root, ())


@dataclass(frozen=True)
class _Walk:
    """A walk below a folder, which appends what it cannot use to `findings`, see `walk_files`; and names slides."""

    root: Path
    findings: list[Finding]
    skip: Mapping[str, str]
    hidden: bool
    visits: Counter[_Inode] = field(default_factory=Counter)
    slides: list[str] = field(default_factory=list)

    def files(self, folder: Path, above: tuple[_Inode, ...]) -> Iterator[Path]:
        """Yield the files of a folder and of those in it; `above` are the folders on the way to it."""
        try:
            status = folder.stat()
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            self.findings.append(_unreadable(self._name(folder), error))
            return
        inode = (status.st_dev, status.st_ino)
        self.visits[inode] += 1
        if inode in above:
            self._find("error", folder, "a circular link; remove it")
            return
        if self.visits[inode] > limits.FOLDER_VISITS:
            text = f"links lead to this folder more than {limits.FOLDER_VISITS} times; remove some"
            self._find("error", folder, text)
            return
        for entry in entries:
            path = folder / entry.name
            kind = self._kind(entry)
            if kind == "folder" and self._is_used(path):
                yield from self.files(path, (*above, inode))
            elif kind == "other":
                self._find("warning", path, "a pipe, socket or device and no file, left out")
            elif kind == "file" and self._is_visible(entry.name):
                if path.suffix.casefold() in SLIDE_SUFFIXES:
                    self._find("warning", path, f"{SLIDE}; left out")
                    self.slides.append(self._name(path))
                else:
                    yield path

    def _kind(self, entry: os.DirEntry[str]) -> Literal["folder", "file", "other", ""]:
        """Return what an entry is; empty to skip it: of a system, or unreadable and no image by its name."""
        if SYSTEM.fullmatch(entry.name):
            return ""
        try:
            # the listing of the folder contains the kind of each entry; only links need a look at their target
            if entry.is_dir():
                return "folder"
            if entry.is_file():
                return "file"
            os.stat(entry.path)  # noqa: PTH116 - a link that leads nowhere is neither, and raises no error before
        except OSError as error:
            path = Path(entry.path)
            if path.suffix.casefold() in IMAGE_SUFFIXES:
                return "file"  # an image that cannot be read, as any other
            if self._is_visible(entry.name):
                self.findings.append(_unreadable(self._name(path), error, link=entry.is_symlink()))
            return ""
        return "other"

    def _is_used(self, path: Path) -> bool:
        """Whether a folder is entered."""
        name = path.name.casefold()
        if name in self.skip:
            self._find("note", path, self.skip[name])
            return False
        if os.path.isfile(path / "run.json") and os.path.isdir(path / "records"):  # noqa: PTH112, PTH113 - without errors
            self._find("note", path, "a run folder of bchisto, left out")
            return False
        return not name.startswith(".")

    def _is_visible(self, name: str) -> bool:
        return self.hidden or not name.startswith(".")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else str(self.root)

    def _find(self, level: Level, path: Path, message: str) -> None:
        self.findings.append(Finding(level, self._name(path), message))


def _unreadable(name: str, error: OSError, *, link: bool = False) -> Finding:
    """Return a finding for a folder that cannot be listed, an unreadable file, or a broken link."""
    # a link without a suffix may have led to a folder of images
    level: Level = "error"
    if link and Path(name).suffix:
        level = "warning"
    what = "a link that leads nowhere" if link else "cannot be read"
    return Finding(
        level, name, f"{what} ({system_reason(error)}); correct it, or remove it from the images"
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
        There is no image, and there are whole slides, or all folders could be read; the message names the slides, or
        counts the other files.
    """
    files: dict[str, Path] = {}
    others: dict[str, list[str]] = {}
    walk = _Walk(root, findings, {}, hidden=False)
    for path in sorted(walk.files(root, ())):
        name = path.relative_to(root).as_posix()
        suffix = path.suffix.casefold()
        if suffix in IMAGE_SUFFIXES:
            files[name] = path
        else:
            others.setdefault(suffix, []).append(name)
    for suffix, names in others.items():
        level: Level = "note"
        text = "not a picture, left out"
        if UNREAD.fullmatch(suffix):
            level = "warning"
            text = f"{counted(len(names), suffix + ' picture')} not read; save as PNG or TIFF"
        findings.extend(Finding(level, name, text) for name in names)
    if not files and walk.slides:
        raise InputError(f"{root}: no image in this folder; {few(walk.slides)}: {SLIDE}")
    if files or has_errors(findings):
        return files
    text = f"{root}: no {IMAGE_KINDS} image in this folder"
    if others:
        counts = (f"{len(names)} {suffix or 'without suffix'}" for suffix, names in others.items())
        text += f", but {few(counts, most=5)}"
    if any(map(UNREAD.fullmatch, others)):
        text += "; save the pictures as PNG or TIFF"
    raise InputError(text)


_KIND = re.compile(
    r"(?:m[aá]s(?:k(?:e[dnr]?|s)?|que|cher|c?ara)\w*|seg(?:m(?:ent\w*)?)?|gt|ground[\W_]?truths?|an+ot\w*|anno|"
    r"overla[yi]\w*|[uü]berlag\w*|superpo\w*|contours?|kontur\w*|contorn\w*|outlines?|umriss\w*|label(?:s|map)?|"
    r"bbox\w*|heat[\W_]?maps?|thumb(?:s|nails?)?|previews?|vorschau\w*|miniatur\w*|vignettes?|маск\w*|掩[膜码])",
    re.IGNORECASE,
)
_MORE = (
    r"pred(?:ictions?)?|prob(?:[\W_]?map)?s?|(?:grad)?[\W_]?cam|attention|saliency|binary|edges|boundar\w*|borders?|"
    r"instances?|nuclei|polygons?|marked|markup|markier\w*|eingezeichnet|umrandet|small|low[\W_]?res|icon|macro|overview|"
    r"legend|truth|ref(?:erence)?|manual|roi|color|tissue|png|aper[cç]u|разметка|标注|标签|マスク|アノテーション|마스크"
)
_ADDED = re.compile(
    rf"^{_KIND.pattern}[\W_]+|(?<=.)(?:[\s_.([-]+(?:{_MORE})[\W\d_]*|[\s_.([-]*{_KIND.pattern}[\W\d_]*)+$",
    _KIND.flags,
)
"""What is added to the name of an image for its mask, annotation, overlay, heat map or thumbnail."""

_SHOT = re.compile(
    r"screen[\W_]?shot|bildschirmfoto|capture d|captura de|schermata|skärmavbild|schermafbeelding|zrzut ekranu|"
    r"снимок экрана|截屏|截图|スクリーンショット|스크린샷",
    re.IGNORECASE,
)


def other_pictures(images: Sequence[str]) -> list[Finding]:
    """Warn of pictures that are named as others of an image, such as its mask, and of screenshots among other names.

    Examples
    --------
    >>> other_pictures(["a/1.png", "a/1_mask.png"])[0].file
    'a/1_mask.png'
    """
    originals = set()
    added = {}
    for image in images:
        path = PurePosixPath(unicodedata.normalize("NFC", image).casefold())
        plain = _ADDED.sub("", path.stem)
        if plain != path.stem or any(map(_KIND.fullmatch, path.parts[:-1])):
            added[image] = plain
        else:
            originals.add(plain)
    others = [image for image, original in added.items() if original in originals]
    shots = [image for image in images if _SHOT.search(PurePosixPath(image).name)]
    if 2 * len(shots) < len(images):
        others += shots
    if not others:
        return []
    text = "named as masks, annotations or thumbnails of other images, or as screenshots"
    return [Finding("warning", few(others), Message(text, remedies=LEAVE_OUT))]
