"""Data frames in place of files: they are written for readers of files, whose errors then name rows of the frame."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import InputError, items_of, reworded
from ..core.formats import FOLD
from ..core.jobs import atomic_output, ensure_folder

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
