"""The images of a session: kept in a folder, predicted one after the other, listed the least confident first."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..formats import limits
from ..jobs import ensure_folder
from .engine import Engine

_log = logging.getLogger(__name__)

_IMAGES = "images"
"""Folder of images that are kept."""

_MOST_PARTS = 10
"""Folders of a name, and the name."""


class Refused(Exception):
    """An image that is not taken.

    Attributes
    ----------
    status : int
        Of HTTP.
    reason : str
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Item:
    """An image.

    Attributes
    ----------
    number : int
    name : str
    model : int
        Of the page's models.
    path : Path
        The file.
    mpp : float or None
        Micrometres per pixel, as its owner has them.
    state : {"waiting", "working", "done", "failed"}
    row : dict
        What the worker answered.
    error : str
        Why it cannot be used.
    notes : list of str
        What was warned of.
    shown : dict
        Pictures that were made of it, with what stands beside them.
    """

    number: int
    name: str
    model: int
    path: Path
    mpp: float | None = None
    state: str = "waiting"
    row: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    notes: list[str] = field(default_factory=list)
    shown: dict[tuple[str, int | None, str], dict[str, Any]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Where what is made of it lies."""
        return self.path.parent

    @property
    def task(self) -> dict[str, Any]:
        """What the worker is told of it."""
        return {"name": self.name, "path": str(self.path), "mpp": self.mpp}


class Session:
    """The images, and what predicts them.

    Parameters
    ----------
    engine : Engine
    models : sequence of dict
        As `load_models` returns them.
    folder : Path
        Where files lie while the page is up.
    keep : Path, optional
        Where they stay.

    Attributes
    ----------
    version : int
        Changes with what is shown.
    """

    def __init__(
        self, engine: Engine, models: Sequence[dict[str, Any]], folder: Path, *, keep: Path | None = None
    ) -> None:
        self.engine, self.models, self.version = engine, models, 0
        self.folder, self._keep = folder, keep
        self._items: dict[int, Item] = {}
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._coming = self._next = self._held = 0

    def items(self, model: int | None = None) -> list[Item]:
        """Return the images of a model, or all, in the order in which they came."""
        return [item for item in self._items.values() if model in (None, item.model)]

    def item(self, number: int) -> Item:
        """Return an image by its number.

        Raises
        ------
        Refused
            There is none.
        """
        if number not in self._items:
            raise Refused(404, "there is no such image; it may have been removed")
        return self._items[number]

    def check_model(self, model: int) -> None:
        """Refuse a number that no model has."""
        if not 0 <= model < len(self.models):
            raise Refused(404, "there is no such model")

    def counts(self, model: int | None = None) -> dict[str, int]:
        """Return how many images are in which state."""
        states = [item.state for item in self.items(model)]
        return {state: states.count(state) for state in ("waiting", "working", "done", "failed")}

    def room(self) -> None:
        """Refuse an image for which there is no room.

        Raises
        ------
        Refused
        """
        waiting = self.counts()["waiting"] + self._coming
        if waiting >= limits.SERVED_WAITING:
            raise Refused(429, f"{waiting} images wait already; try again when some are done")
        if len(self._items) + self._coming >= limits.SERVED_IMAGES:
            raise Refused(507, f"the page holds {limits.SERVED_IMAGES:,} images; remove some first")
        if self._held >= limits.SERVED_HELD_BYTES:
            raise Refused(507, "the images on the page fill the room that it has; remove some first")

    async def add(self, name: str, content: AsyncIterator[bytes], *, model: int, mpp: float | None = None) -> Item:
        """Take in an image, and let it wait for its turn.

        Raises
        ------
        Refused
            There is no room, or it is too large, empty or too slow.
        """
        self.room()
        self._coming += 1
        self._next += 1
        number = self._next
        name = self._distinct(_readable(name) or f"image {number}", model)
        folder = self.folder / str(number)
        try:
            folder.mkdir()
            item = Item(number, name, model, folder / _file_name(name), mpp)
            async with asyncio.timeout(limits.SERVED_UPLOAD_SECONDS):
                await _receive(content, item.path)
        except (TimeoutError, Refused) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Refused):
                raise
            raise Refused(408, f"{name}: did not arrive in time; try again") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._coming -= 1
        if self._keep is not None:
            await asyncio.to_thread(_copy, item.path, self._keep / _IMAGES / item.name)
        self._held += item.path.stat().st_size
        self._items[number] = item
        self._queue.put_nowait(item)
        self.version += 1
        return item

    def _distinct(self, name: str, model: int) -> str:
        """Return a name that no other image of the model has."""
        taken = {item.name for item in self.items(model)}
        if name not in taken:
            return name
        path = PurePosixPath(name)
        numbered = (str(path.with_name(f"{path.stem} ({count}){path.suffix}")) for count in range(2, len(taken) + 3))
        return next(other for other in numbered if other not in taken)

    def remove(self, number: int) -> None:
        """Remove an image, and all that was made of it."""
        item = self._items.pop(number)
        self._held -= item.path.stat().st_size if item.path.is_file() else 0
        shutil.rmtree(item.work, ignore_errors=True)
        if self._keep is not None:
            (self._keep / _IMAGES / item.name).unlink(missing_ok=True)
        self.version += 1

    async def run(self) -> None:
        """Predict what waits, for as long as the page is up."""
        while True:
            item = await self._queue.get()
            if item.number not in self._items:
                continue
            item.state = "working"
            self.version += 1
            model = self.models[item.model]
            task = {"do": "predict", "model": model, "image": item.task, "thumbnail": str(item.work / "small.jpg")}
            answer = await self.engine.ask(task)
            item.notes, item.error = answer.pop("notes"), answer.pop("error", "")
            item.row, item.state = answer, "failed" if item.error else "done"
            self.version += 1
            if self._queue.empty():
                await self.keep()

    async def keep(self) -> None:
        """Write the tables and reports that are to stay."""
        for number in range(len(self.models) if self._keep is not None else 0):
            assert self._keep is not None
            name = "predictions" if len(self.models) == 1 else f"predictions-{number + 1}"
            if any(item.state == "done" for item in self.items(number)):
                answer = await self.write(number, self._keep / f"{name}.csv", self._keep / f"{name}.html")
                if "error" in answer:
                    _log.warning("%s", answer["error"])

    async def show(self, item: Item, kind: str, *, part: int | None, target: str = "") -> tuple[Path, dict[str, Any]]:
        """Have a picture of an image made, unless it is there; return it with what stands beside it.

        Raises
        ------
        Refused
            The image is not predicted, or the model has no such class.
        Busy
            Many wait for pictures.
        """
        classes = self.models[item.model]["classes"]
        if item.state != "done":
            raise Refused(409, f"{item.name}: is not predicted")
        if target and target not in classes:
            raise Refused(404, f"{target}: is not a class of this model")
        key = (kind, part, target)
        path = item.work / f"{kind}-{part}-{classes.index(target) if target else ''}.jpg"
        if key not in item.shown:
            task = {"do": "explain" if kind == "map" else "show", "kind": kind, "model": self.models[item.model],
                    "image": item.task, "part": part, "target": target, "out": str(path)}  # fmt: skip
            answer = await self.engine.ask(task, view=True)
            if "error" in answer:
                return path, answer
            item.shown[key] = answer
        return path, item.shown[key]

    async def write(self, model: int, out: Path, html: Path | None = None) -> dict[str, Any]:
        """Write the table of a model's images, and the sheet; return what went wrong."""
        images = [
            {**item.task, "kept": item.row.get("kept"), "error": item.error}
            for item in self.items(model)
            if item.state in ("done", "failed")
        ]
        task = {"do": "write", "model": self.models[model], "images": images, "out": str(out)}
        return await self.engine.ask({**task, "html": None if html is None else str(html)}, view=True)


def _copy(source: Path, target: Path) -> None:
    ensure_folder(target.parent)
    shutil.copyfile(source, target)


async def _receive(content: AsyncIterator[bytes], path: Path) -> None:
    """Write what comes, as long as it comes and is no more than a picture."""
    size = 0
    with path.open("xb") as handle:
        while True:
            chunk = await asyncio.wait_for(anext(content, None), limits.SERVED_IDLE_SECONDS)
            if chunk is None:
                break
            size += len(chunk)
            if size > limits.SERVED_BYTES:
                raise Refused(413, f"{path.name}: is larger than {limits.SERVED_BYTES >> 20} MB")
            handle.write(chunk)
    if not size:
        raise Refused(400, f"{path.name}: is empty; download it again")


def _readable(name: str) -> str:
    """Return a name as it is shown: of any alphabet, in one line, and below the folder that was given.

    Examples
    --------
    >>> _readable("../slide/./a.png")
    'slide/a.png'
    """
    text = "".join(sign for sign in unicodedata.normalize("NFC", name) if sign.isprintable())
    parts = [part for part in text.replace("\\", "/").split("/") if part.strip(" .")]
    return "/".join(part[-limits.SERVED_NAME :] for part in parts[-_MOST_PARTS:]).strip()


def _file_name(name: str) -> str:
    """Return a name for the file of an image: what it is called, as any file system takes it."""
    path = PurePosixPath(name)
    stem, suffix = (re.sub(r"[^\w.-]+", "_", part, flags=re.ASCII) for part in (path.stem, path.suffix))
    return f"{stem.strip('.')[:80] or 'image'}{suffix[:12]}"
