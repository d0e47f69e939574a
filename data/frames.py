"""Data frames, arrays and pictures in place of files: they are written for readers of files.

Errors then name rows of a frame, and the position of an image.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import re
import tempfile
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
    few,
    items_of,
    message_of,
    output_error,
    reworded,
)
from ..core.formats import FOLD, Pixels
from ..core.jobs import atomic_output, ensure_folder, is_set_aside
from .dataset import FRAME_FOLDER, ImageRecord
from .images import save_image

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
    """Give sources in which each data frame is a file, in `folder` by its position, or in ``frames`` by its name.

    With them, the names of those files that a mapping names, or whose folder it names.

    A frame without folds is logged, and noted.

    After an error none of the files that are new is left, and it names the frame, and a row by its index.

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
    with contextlib.ExitStack() as undo:
        for path, source in _paths_of(sources, folder):
            if hasattr(source, "to_pandas"):
                source = source.to_pandas()
            if not hasattr(source, "to_csv"):
                file = converted(source, "sources", Path)
                tables = {file: ""}
                if isinstance(sources, Mapping):
                    tables = _tables_in(file, path.stem)
                    names |= tables
                given += tables
                continue
            if not any(FOLD.matching(map(str, source.columns))):
                note = f"{path.stem}: no column fold, so rows count as one test set"
                notes[note] = None
                _log.warning("%s", note)
            ensure_folder(path.parent)
            if not path.exists():
                undo.callback(path.unlink, missing_ok=True)
            with atomic_output(path) as temporary:
                source.to_csv(temporary, index=False)
            undo.enter_context(reworded(functools.partial(_of_frame, path, source.index)))
            given.append(path)
        if not given:
            raise InputError(Message("{sources}: give at least one table"))
        yield given, names
        undo.pop_all()


def _paths_of(sources: Any, folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield each source with the path of its file, if it is a data frame; refuse what no file can be named."""
    if not isinstance(sources, Mapping):
        for number, source in enumerate(items_of(sources), start=1):
            yield folder / f"frame-{number}.csv", source
        return
    for name, source in sources.items():
        path = folder / "frames" / f"{name}.csv"
        if path.parent.name != "frames":
            raise InputError("{sources} {}: give this table a name without slash", name)
        yield path, source


def _tables_in(source: Path, name: str) -> dict[Path, str]:
    """Return the tables of a run folder that has a name, each with a name of its own; else the source."""
    files = [path for path in sorted(source.glob("**/predictions.csv")) if not is_set_aside(path)]
    if len(files) < 2:
        return dict.fromkeys(files or [source], name)
    return {path: f"{name} {path.parent.name}" for path in files}


def _of_frame(path: Path, index: Any, text: str) -> str:
    """Return a message about a file as one about the data frame in it: lines become rows by their index."""

    def row(line: re.Match[str]) -> str:
        return f"row {index[int(line[1]) - 2]}"

    if path.read_bytes().count(b"\n") == len(index) + 1:  # no cell has several lines
        text = re.sub(rf"(?<={re.escape(str(path))}):(?=\d)", ", in line ", text)
        text = re.sub(r"(?<=\bin )line (\d+)", row, text)
    return text.replace(str(path), path.stem)


def frame_file(images: Any) -> Any:
    """Return a data frame as a manifest that is removed when the program ends; anything else as it is."""
    if not hasattr(images, "to_csv"):
        return images
    folder = temporary_folder(FRAME_FOLDER)
    atexit.register(folder.cleanup)
    return _manifest_in(Path(folder.name), images)


def image_paths(images: Many[PathInput | Frame]) -> tuple[Path, ...]:
    """Return paths, also those of data frames, see `frame_file`."""
    files = list(map(frame_file, items_of(images)))
    paths: tuple[Path, ...] = converted(files, "images", tuple[Path, ...])
    return paths


def _manifest_in(folder: Path, frame: Frame) -> Path:
    """Write a data frame as a manifest to a folder."""
    path = folder / "data frame.csv"
    with atomic_output(path) as temporary:
        frame.to_csv(temporary, index=False)
    return path


def temporary_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed after its block.

    Raises
    ------
    OutputError
        None can be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise output_error(error, "no temporary folder can be made (TMPDIR)") from error


def _present(path: Path) -> Path:
    """Return a path that is there; others are refused."""
    if not os.path.exists(path):  # noqa: PTH110 - of any text, also one that is too long for a name
        raise MissingInputError("{}: no such image, folder or manifest; check {images}", path)
    return path


@contextlib.contextmanager
def image_files(
    images: Many[Image],
    of_paths: Callable[[list[Path]], Iterable[ImageRecord]],
    failures: dict[str, str] | None = None,
    names: Many[TextInput] | None = None,
) -> Iterator[list[ImageRecord]]:
    """Give the records of images, of which arrays and pictures are files in this block: ``array0``, by its position.

    Parameters
    ----------
    images : path, ndarray, PIL.Image.Image or pandas.DataFrame, or sequence of them
        An array of shape (n, height, width, 3) is n images, a data frame a manifest.
    of_paths : callable
        Returns the records of paths.
    failures : dict of str to str, optional
        Gets the arrays and pictures that cannot be used, and paths that are not there, with the reason, and has places
        for what fails in this block; afterwards it is in the order of the images. Neither these
        reasons nor errors name the folder of the files.
    names : sequence of str, optional
        What to call the images, in records, errors and `failures`, in place of ``array0`` and of paths. They are never
        used as paths.

    Raises
    ------
    RefusedImageError
        An array or picture cannot be used, and there is no `failures`.
    MissingInputError
        There is no such file.
    InputError
        There are no images, or something is none; names are not texts, one for each image and all different.
    """
    sources = items_of(images)
    if isinstance(images, np.ndarray) and 1 < images.ndim < 4:
        sources = (images,)
    if not sources:
        raise InputError(Message("{images}: there is none; give files or arrays"))
    texts = _checked_names(names, len(sources))
    records: list[ImageRecord] = []
    with temporary_folder("bchisto-") as folder:
        prefix = f"{folder}{os.sep}"
        path_of: dict[str, str] = {}

        def renamed(text: str, name: str = "") -> str:
            return _with_names(text, path_of, name).replace(prefix, "")

        with reworded(renamed):
            for number, (image, name) in enumerate(zip(sources, texts, strict=True)):
                path = Path(folder, f"array{number}")
                is_file = not (isinstance(image, np.ndarray) or hasattr(image, "getbands"))
                if is_file:
                    path = _path_of(image, Path(folder, f"{FRAME_FOLDER}{number}"))
                if name:
                    path_of[name] = str(path)
                try:
                    if is_file:
                        batch = _in_rows(of_paths([_present(path)]), image)
                    else:
                        batch = [save_image(image, path)]
                except (ImageError, MissingInputError) as error:
                    if failures is None:
                        raise
                    failures[renamed(str(path), name)] = message_of(error)
                    continue
                if name:
                    batch = [_named_record(batch, path, name)]
                    path_of[name] = str(batch[0].path)
                records += batch
                if failures is not None:
                    _keep_places(batch, failures)
            yield records
        if failures:
            reasons = {name: renamed(text, name) for name, text in failures.items() if text}
            failures.clear()
            failures |= reasons


def _in_rows(records: Iterable[ImageRecord], source: Any) -> list[ImageRecord]:
    """Return the records of a folder or manifest, in its order; refuse a data frame with several rows of an image."""
    ordered = sorted(records, key=lambda record: record.line)
    if hasattr(source, "to_csv") and len(ordered) < len(source):
        text = "{images}: the {} rows of the data frame are of {} images; give a row for each image"
        raise InputError(text, len(source), len(ordered))
    return ordered


def _keep_places(records: Iterable[ImageRecord], failures: dict[str, str]) -> None:
    """Keep the place of what may fail later, by its id, or by its path if other files have this id."""
    for record in records:
        failures.setdefault(record.image_id, "")
        failures.setdefault(str(record.path), "")


def _path_of(image: Any, folder: Path) -> Path:
    """Return a path, that of a data frame in a folder, which is made."""
    if hasattr(image, "to_csv"):
        ensure_folder(folder)
        return _manifest_in(folder, image)
    if isinstance(image, bytes):
        raise InputError(Message("{images}: bytes; give PIL.Image.open(io.BytesIO(...)) of them"))
    return converted(image, "images", Path)


def _checked_names(names: Many[TextInput] | None, count: int) -> Sequence[str]:
    """Return names as texts, empty ones if there are none; refuse those that are not one for each image."""
    texts: tuple[str, ...] | None = converted(names, "names", tuple[str, ...] | None)
    if texts is None:
        return [""] * count
    distinct = {name for name in texts if name and name.isprintable()}
    if not len(distinct) == len(texts) == count:
        listed = few(map(repr, texts))
        text = "`names`: give a different printable text for each of {} images, not {} ({})"
        raise InputError(text, count, len(texts), listed)
    return texts


def _named_record(records: list[ImageRecord], path: Path, name: str) -> ImageRecord:
    """Return the record of a file by the name that the caller gives it."""
    if len(records) != 1:
        raise InputError(
            "{images}: {} holds {} images, and `names` name single ones", path, len(records)
        )
    return replace(records[0], image_id=name, source="given")


def _with_names(text: str, path_of: Mapping[str, str], name: str) -> str:
    """Return a message in which files go by names in place of paths: one with several by `name`, or by the first."""
    if not path_of:
        return text
    name_of = {path_of[first]: first for first in reversed([*path_of])}
    if name in path_of:
        name_of[path_of[name]] = name
    paths = "|".join(map(re.escape, name_of))
    return re.sub(rf"(?<![\w./-])({paths})(?![\w./-])", lambda path: name_of[path[0]], text)
