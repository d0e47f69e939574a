"""What the rows of a table give: files, perhaps written for another machine or without suffix, and micrometres."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core import InputError, Message, few
from ...core.formats import decimal_of, is_missing, limits, plausible_mpp
from ..dataset import IMAGE_SUFFIXES
from ..findings import Finding


def locate(folder: Path, name: str) -> tuple[str, str]:
    r"""Return a path as it leads to a file, with ``/`` for ``\`` or the suffix that it lacks, or nothing and why."""
    posix = name.replace("\\", "/")
    suffixes = _pictures((folder / posix).parent).get((folder / posix).name, [])
    for text in dict.fromkeys((name, posix, *(posix + suffix for suffix in suffixes if len(suffixes) == 1))):
        try:
            if (folder / text).is_file():
                return text, ""
        except OSError as error:
            return "", f"{folder / name} cannot be read ({error.strerror or error})"
    choice = f", but {few(suffixes)} of this name; add the suffix" if suffixes else ""
    return "", f"there is no file {folder / name}{choice}"


@functools.lru_cache(maxsize=1024)
def _pictures(folder: Path) -> dict[str, list[str]]:
    """Return a dict from the stem of each picture in a folder to its suffixes."""
    stems: dict[str, list[str]] = {}
    try:
        for path in folder.iterdir():
            if path.suffix.casefold() in IMAGE_SUFFIXES:
                stems.setdefault(path.stem, []).append(path.suffix)
    except (OSError, ValueError):
        return {}
    return stems


def absent_files(table: Path, rows: Sequence[tuple[str, str, str]], column: str) -> list[Finding]:
    """Return findings on rows whose file is not there: those that exist without a beginning together, else each.

    Parameters
    ----------
    table : Path
    rows : sequence of (str, str, str)
        Where a row is, the path that it names, and why it leads to no file.
    column : str
        The column of paths, for the message.
    """
    begun: dict[str, list[str]] = {}
    others: list[tuple[str, str, str]] = []
    for where, name, why in rows:
        start = _beginning(table.parent, name, begun)
        if start is None:
            others.append((where, name, why))
        else:
            begun.setdefault(start, []).append(where)
    findings = [
        Finding(
            "error",
            few(places),
            f"{len(places):,} files are not there, but exist without the beginning {start}: remove it from the column "
            f"{column}",
        )
        for start, places in begun.items()
    ]
    if others:
        first = others[0][1]
        beside = _folder_with(table.parent, first)
        way = "{} is in {}: give {images:{}} with {labels:{}}"
        cure = "a table beside a folder of images is read by {images:FOLDER} with {labels}"
        remedy = Message(way, first, beside.name, beside, table) if beside else Message(cure)
        kind = Message("there are no such files, first {}", first, remedies=[remedy])
        shown = [remedy] if beside else []
        findings += [Finding("error", where, Message("{}", why, remedies=shown), kind=kind) for where, _, why in others]
    return findings


def _folder_with(folder: Path, name: str) -> Path | None:
    """Return the first folder in a folder that has a file with this path; None if there is none."""
    try:
        return next((path for path in sorted(folder.iterdir()) if locate(path, name)[0]), None)
    except OSError:
        return None


def unmatched(table: Path, rows: Sequence[str], images: Sequence[str], count: int) -> list[Finding]:
    """Return warnings of rows that name none of the images of a folder, and of images without a row.

    Parameters
    ----------
    table : Path
    rows, images : sequence of str
        Names without a counterpart.
    count : int
        Number of images in the folder.

    Raises
    ------
    InputError
        No row names an image.
    """
    if count and len(images) == count:
        raise InputError(
            f"{table}: none of its rows, such as {few(rows[:1])}, names one of the {count} images, such as "
            f"{images[0]}; name them by file, with or without suffix"
        )
    texts = {
        f"{len(images)} of {count} images have no row of their own in {table.name}, so no label": images,
        f"{len(rows)} rows of {table.name} name no image, or not only one; nothing is read from them": rows,
    }
    return [Finding("warning", few(names), text) for text, names in texts.items() if names]


def _beginning(folder: Path, name: str, known: Iterable[str]) -> str | None:
    """Return the shortest beginning without which a path leads to a file; None if there is none."""
    posix = name.replace("\\", "/")
    starts = (name[: place + 1] for place, sign in enumerate(posix) if sign == "/")
    for start in (*(start for start in known if name.startswith(start)), *starts):
        rest = posix[len(start) :]
        if not rest.startswith("/") and locate(folder, rest)[0]:
            return start
    return None


def spacing_of(cell: str) -> tuple[float | None, str]:
    """Return the micrometres per pixel that a cell gives, None if unknown, and what is wrong with it, or nothing."""
    try:
        mpp = None if is_missing(cell) else plausible_mpp(decimal_of(cell))
    except ValueError:
        mpp = None
    if mpp is not None or is_missing(cell):
        return mpp, ""
    bounds = f"{limits.LEAST_MPP:g} to {limits.MOST_MPP:g}"
    return None, f"mpp {cell[:40]}: give micrometres per pixel, {bounds} such as 0.42, or none"
