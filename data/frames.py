"""Data frames, arrays and pictures in place of files: they are written for readers of files.

Errors then name rows of a frame, and the position of an image.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import ImageError, InputError, converted, items_of, message_of, reworded
from ..core.formats import FOLD
from ..core.jobs import atomic_output, ensure_folder
from .dataset import ImageRecord
from .images import save_image

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def with_files(sources: Any, folder: Path) -> Iterator[list[Any]]:
    """Give sources in which each data frame is a file, in `folder` by its position, or in ``frames`` by its name.

    A frame without folds is logged.

    After an error none of the files that are new is left, and it names the frame, and a row by its index.

    Parameters
    ----------
    sources : path or pandas.DataFrame, sequence of them, or mapping of names to pandas.DataFrame
    folder : Path

    Raises
    ------
    InputError
        No file can be named as a frame, or a mapping holds something else.
    """
    given = []
    with contextlib.ExitStack() as undo:
        for path, source in _paths_of(sources, folder):
            if not hasattr(source, "to_csv"):
                given.append(source)
                continue
            if not any(FOLD.matching(map(str, source.columns))):
                _log.warning("%s: no column fold, so rows count as one test set", path.stem)
            ensure_folder(path.parent)
            if not path.exists():
                undo.callback(path.unlink, missing_ok=True)
            with atomic_output(path) as temporary:
                source.to_csv(temporary, index=False)
            undo.enter_context(reworded(functools.partial(_of_frame, path, source.index)))
            given.append(path)
        yield given
        undo.pop_all()


def _paths_of(sources: Any, folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield each source with the path of its file, if it is a data frame; refuse what no file can be named."""
    if not isinstance(sources, Mapping):
        for number, source in enumerate(items_of(sources), start=1):
            yield folder / f"frame-{number}.csv", source
        return
    for name, frame in sources.items():
        path = folder / "frames" / f"{name}.csv"
        if path.parent.name != "frames" or not hasattr(frame, "to_csv"):
            text = "{sources} {}: give a data frame by a name without slash, and files in a list"
            raise InputError(text, name)
        yield path, frame


def _of_frame(path: Path, index: Any, text: str) -> str:
    """Return a message about a file as one about the data frame in it: lines become rows by their index."""

    def row(line: re.Match[str]) -> str:
        return f"row {index[int(line[1]) - 2]}"

    if path.read_bytes().count(b"\n") == len(index) + 1:  # no cell has several lines
        text = re.sub(rf"(?<={re.escape(str(path))}):(?=\d)", ", in line ", text)
        text = re.sub(r"(?<=\bin )line (\d+)", row, text)
    return text.replace(str(path), path.stem)


@contextlib.contextmanager
def image_files(
    images: Any, failures: dict[str, str] | None = None
) -> Iterator[tuple[list[Path | ImageRecord], Callable[[str], str]]]:
    """Give images in which each array or picture is a file: ``array0`` and so on by its position, for this block.

    Parameters
    ----------
    images : path, ndarray or PIL.Image.Image, or sequence of them
        An array of shape (n, height, width, 3) is n images.
    failures : dict of str to str, optional
        Gets the arrays and pictures that cannot be used, with the reason.

    Yields
    ------
    list of Path or ImageRecord, callable
        Paths as they are given, and records of arrays and pictures. The function takes the temporary folder out of a
        message, as errors are without it.

    Raises
    ------
    RefusedImageError
        An array or picture cannot be used, and there is no `failures`.
    InputError
        Something is no image.
    """
    sources = items_of(images)
    if isinstance(images, np.ndarray) and 1 < images.ndim < 4:
        sources = (images,)
    with tempfile.TemporaryDirectory(prefix="bchisto-") as folder:

        def relative(text: str) -> str:
            return text.replace(f"{folder}{os.sep}", "")

        given: list[Path | ImageRecord] = []
        with reworded(relative):
            for number, image in enumerate(sources):
                if not isinstance(image, np.ndarray) and not hasattr(image, "getbands"):
                    given.append(converted(image, "images", Path))
                    continue
                file = Path(folder) / f"array{number}"
                try:
                    given.append(save_image(image, file))
                except ImageError as error:
                    if failures is None:
                        raise
                    failures[file.name] = message_of(error)
            yield given, relative
