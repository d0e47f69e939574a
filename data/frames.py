"""Data frames, arrays and pictures in place of files: rows and pixels stay in memory.

Errors name rows of a frame, and the position of an image.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ..core import (
    ImageError,
    InputError,
    Many,
    Message,
    MissingInputError,
    PathInput,
    TextInput,
    converted,
    counted,
    few,
    items_of,
    message_of,
)
from ..core.formats import FOLD, FramePath, NamedPath, Pixels
from ..core.jobs import atomic_output, ensure_folder, is_set_aside
from .dataset import ImageRecord
from .images import given_record

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Frame(Protocol):
    """What of a data frame is used: pandas is loaded by whoever has one, and says nothing to type checkers."""

    columns: Any
    to_csv: Any


Image: TypeAlias = "PathInput | Pixels | Picture | Frame"
"""A file, an RGB array of uint8 with shape (height, width, 3), a picture of Pillow, or a data frame as a manifest."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def with_files(
    sources: Any, folder: Path, notes: dict[str, None]
) -> Iterator[tuple[list[Path], dict[Path, str]]]:
    """Yield the paths of sources, and the name of each table that a mapping names.

    A data frame gets a path in `folder`, by its position, or in ``frames`` by its name, and is written there at the
    end if nothing failed. One without folds is logged, and noted.

    Parameters
    ----------
    sources : path, pandas.DataFrame or what has a method ``to_pandas``, sequence of them, or mapping of names to them
    folder : Path
    notes : dict of str to None
        Gets notes on the frames.

    Raises
    ------
    InputError
        No source is given, one is something else, or a name has a slash.
    """
    given: list[Path] = []
    names: dict[Path, str] = {}
    frames = []
    for path, source in _paths_of(sources, folder):
        if not hasattr(source, "to_pandas") and not hasattr(source, "to_csv"):
            file = converted(source, "sources", Path)
            if not isinstance(sources, Mapping):
                given.append(file)
                continue
            # of a run folder all tables, each with a name of its own
            tables = [
                table
                for table in sorted(file.glob("**/predictions.csv"))
                if not is_set_aside(table)
            ] or [file]
            for table in tables:
                names[table] = path.stem
                if len(tables) > 1:
                    names[table] += f" {table.parent.name}"
            given += tables
            continue
        frame = FramePath.of(source, path)
        if not any(FOLD.matching(map(str, frame.frame.columns))):
            note = f"{frame}: no column fold, so rows count as one test set"
            notes[note] = None
            _log.warning("%s", note)
        frames.append(frame)
        given.append(frame)
    if not given:
        raise InputError(Message("{sources}: give at least one table"))
    yield given, names
    for frame in frames:
        ensure_folder(frame.parent)
        with atomic_output(frame) as temporary:
            frame.frame.to_csv(temporary, index=False)


def _paths_of(sources: Any, folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield each source with the path of its copy, if it is a data frame; refuse what no file can be named."""
    if not isinstance(sources, Mapping):
        for number, source in enumerate(items_of(sources), start=1):
            yield folder / f"frame-{number}.csv", source
        return
    for name, source in sources.items():
        path = folder / "frames" / f"{name}.csv"
        if not name or path.parent != folder / "frames":
            raise InputError("{sources} {}: give this table a name without slash", name or "''")
        yield path, source


def image_path(images: Any) -> Any:
    """Return a data frame as the path of its rows; anything else as it is."""
    if hasattr(images, "to_csv"):
        return FramePath.of(images)
    return images


def image_paths(images: Many[PathInput | Frame]) -> tuple[Path, ...]:
    """Return paths, also of data frames, see `FramePath`."""
    files = list(map(image_path, items_of(images)))
    paths: tuple[Path, ...] = converted(files, "images", tuple[Path, ...])
    return paths


def image_records(
    images: Many[Image],
    of_paths: Callable[[list[Path]], Iterable[ImageRecord]],
    *,
    names: Many[TextInput] | None = None,
    skip_errors: bool = False,
) -> tuple[list[ImageRecord], dict[str, str]]:
    """Return the records of images; arrays and pictures are ``array0`` and so on, by their position.

    Parameters
    ----------
    images : path, ndarray, PIL.Image.Image or pandas.DataFrame, or sequence of them
        An array of shape (n, height, width, 3) is n images, a data frame a manifest.
    of_paths : callable
        Returns the records of paths.
    names : sequence of str, optional
        What to call the images, in records and errors, in place of ``array0`` and of paths. They are never used as
        paths.
    skip_errors : bool
        Leave out arrays and pictures that cannot be used, and paths that are not there.

    Returns
    -------
    list of ImageRecord
    dict of str to str
        The reason for each image that is left out, by its name or path. Each record has two entries, by its id and by
        its path, with an empty text, which the reason replaces if the image fails later. In the order of the images.

    Raises
    ------
    RefusedImageError
        An array or picture cannot be used.
    MissingInputError
        There is no such file.
    InputError
        There are no images, or one of them is neither a path, an array nor a picture; names are not texts, one for each
        image and all different.
    """
    sources = items_of(images)
    if isinstance(images, np.ndarray) and 1 < images.ndim < 4:
        sources = (images,)
    if not sources:
        raise InputError(Message("{images}: there is none; give files or arrays"))
    texts = _checked_names(names, len(sources))
    records: list[ImageRecord] = []
    reasons: dict[str, str] = {}
    for number, (image, name) in enumerate(zip(sources, texts, strict=True)):
        called = name or f"array{number}"
        try:
            if isinstance(image, np.ndarray) or hasattr(image, "getbands"):
                batch = [given_record(image, called)]
            else:
                path = _checked_path(image)
                called = name or str(path)
                batch = _records_of(path, called, of_paths)
        except (ImageError, MissingInputError) as error:
            if not skip_errors:
                raise
            reasons[called] = message_of(error)
            continue
        if hasattr(image, "to_csv") and len(batch) < len(image):
            text = "{images}: the {} rows of the data frame are of {}; give a row for each image"
            raise InputError(text, len(image), counted(len(batch), "image"))
        if name:
            batch = [_named_record(batch, image, name)]
        for record in batch:
            for key in (record.image_id, str(record.path)):
                # a file that is left out may have this id, and its reason stays
                reasons.setdefault(key, "")
        records += batch
    return records, reasons


def _checked_path(image: Any) -> Path:
    """Return a path, also of a data frame."""
    if isinstance(image, bytes):
        raise InputError(Message("{images}: bytes; give PIL.Image.open(io.BytesIO(...)) of them"))
    path: Path = converted(image_path(image), "images", Path)
    return path


def _records_of(
    path: Path, called: str, of_paths: Callable[[list[Path]], Iterable[ImageRecord]]
) -> list[ImageRecord]:
    """Return the records of a file, or of a folder or manifest in its order; refuse a path that is not there."""
    # also of a text that is too long for a name
    if not isinstance(path, FramePath) and not os.path.exists(path):  # noqa: PTH110
        raise MissingInputError("{}: no such image, folder or manifest; check {images}", called)
    return sorted(of_paths([path]), key=lambda record: record.line)


def _checked_names(names: Many[TextInput] | None, count: int) -> Sequence[str]:
    """Return the names of images, empty texts if none are given; refuse names that are not one for each image."""
    texts: tuple[str, ...] | None = converted(names, "names", tuple[str, ...] | None)
    if texts is None:
        return [""] * count
    distinct = {name for name in texts if name and name.isprintable()}
    if not len(distinct) == len(texts) == count:
        listed = few(map(repr, texts))
        text = "`names`: give a different printable text for each of {}, not {} ({})"
        raise InputError(text, counted(count, "image"), len(texts), listed)
    return texts


def _named_record(records: list[ImageRecord], image: Any, name: str) -> ImageRecord:
    """Return the record of an image by the name that the caller gives it."""
    if len(records) != 1:
        raise InputError(
            "{images}: {} holds {} images, and `names` name single ones; leave `names` out",
            image,
            len(records),
        )
    path = NamedPath.named(records[0].path, name)
    return replace(records[0], image_id=name, path=path, source="given")
